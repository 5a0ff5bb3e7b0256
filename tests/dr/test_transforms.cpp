#include <doctest/doctest.h>
#include <flatland/dr/relations.h>
#include <flatland/dr/transforms.h>
#include <flatland/engine/ops.h>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/tensors.h"

#include <cmath>

using namespace flatland;
using namespace flatland::test;

// Golden values: tests/golden/neighbors and tests/golden/normalize, made by ParaDime 1.1.0 and scipy 1.10.1.

namespace {

// Keeps what a transform tells.
struct Told {
  std::vector<std::string> stages, warnings;
  RelationContext context() {
    RelationContext c;
    c.stage = [this](const std::string& text) { stages.push_back(text); };
    c.warn = [this](const std::string& text) { warnings.push_back(text); };
    return c;
  }
};

RelationData golden_neighbors() {
  const Tensor index = golden("neighbors/knn_idx"), dist = golden("neighbors/knn_dist");
  Tensor i = Tensor::empty({64, 30}, Dtype::int32), d = Tensor::empty({64, 30}, Dtype::float64);
  for (std::int64_t r = 0; r < 64; ++r) {
    for (std::int64_t c = 0; c < 30; ++c) {
      i.mutable_data<std::int32_t>()[r * 30 + c] = static_cast<std::int32_t>(index.at(r, c + 1));
      d.mutable_data<double>()[r * 30 + c] = dist.at(r, c + 1);
    }
  }
  return NeighborRelations{i, d};
}

void check_rows(const RelationData& data, const std::string& group, double tolerance) {
  const auto* rows = data.get_if<SparseRelations>();
  REQUIRE(rows != nullptr);
  CHECK(rows->row_offset.to_vector<std::int64_t>() == golden(group + "_indptr").to_vector<std::int64_t>());
  CHECK(rows->col.to_vector<int>() == golden(group + "_indices").to_vector<int>());
  check_close(rows->values, golden(group + "_data"), tolerance);
}

}  // namespace

TEST_CASE("perplexity, symmetrize and normalize equal the golden values on every device") {
  for (const Device device : devices()) {
    const RelationData p = PerplexityBasedRescale{.perplexity = 10}(golden_neighbors().to(device), {});
    check_close(p.values(), golden("neighbors/perp_p"), 1e-9, 1e-9);
    CHECK(!p.symmetric());
    const RelationData s = Symmetrize{}(p);
    CHECK(s.symmetric());
    check_rows(s, "neighbors/perp_sym", 1e-8);
    const RelationData n = Normalize{}(s);
    CHECK(n.symmetric());
    check_rows(n, "neighbors/perp_norm", 1e-8);
    const Tensor index = golden("neighbors/sub_idx").to(Dtype::int64).to(device);
    check_close(n.sub(index), golden("neighbors/sub_block"), 1e-8);
    check_close(n.sub(index, true), golden("neighbors/sub_block_normalised"), 1e-8);
  }
}

TEST_CASE("connectivity and the fuzzy union equal the golden values on every device") {
  for (const Device device : devices()) {
    const RelationData w = ConnectivityBasedRescale{.n_neighbors = 30}(golden_neighbors().to(device), {});
    check_close(w.values(), golden("neighbors/conn_w"), 1e-8, 1e-9);
    check_rows(Symmetrize{.subtract_product = true}(w), "neighbors/conn_sym", 1e-8);
  }
}

TEST_CASE("normalize and its rows equal the golden values on every device") {
  for (const Device device : devices()) {
    const RelationData triangle = TriangularRelations{golden("normalize/tri_in").to(device), 9};
    check_close(Normalize{}(triangle).values(), golden("normalize/tri_out"), 1e-14);
    const RelationData square = SquareRelations{golden("normalize/square_in").to(device)};
    check_close(Normalize{}(square).values(), golden("normalize/square_out"), 1e-14);
    check_close(NormalizeRows{}(square).values(), golden("normalize/square_rows"), 1e-14);
    // perp_p scaled row by row, and back.
    const Tensor scale = reshape(Tensor::arange(64).to(Dtype::float64) + 1, {64, 1}).to(device);
    const RelationData p = PerplexityBasedRescale{.perplexity = 10}(golden_neighbors().to(device), {});
    check_close(NormalizeRows{}(p.with_values(p.values() * scale)).values(), golden("neighbors/rows_p"), 1e-8,
                1e-9);
  }
  const RelationData triangle = TriangularRelations{golden("normalize/tri_in"), 9};
  check_close(triangle.to_square().values(), golden("normalize/tri_square"), 1e-15);
}

TEST_CASE("a normalized relation sums to 1, differentiably") {
  Tensor x = random_tensor({10}, 1, Dtype::float64);
  x.requires_grad(true);
  const RelationData q = Normalize{}(TriangularRelations{x, 5});
  CHECK(std::abs(sum(q.to_square().values()).item() - 1) < 1e-14);
  sum(square(q.values())).backward();
  // The sum cannot change with the scale of x, so the gradient is orthogonal to x.
  CHECK(std::abs(sum(x.grad() * x.detach()).item()) < 1e-14);
}

TEST_CASE("zeros stay finite on every device") {
  for (const Device device : devices()) {
    const RelationData zeros = SquareRelations{Tensor::zeros({3, 3}, Dtype::float32, device)};
    for (const RelationData& r : {Normalize{}(zeros), NormalizeRows{}(zeros), Symmetrize{}(zeros)}) {
      CHECK(max_value(abs(r.values())) == 0);
    }
    for (const Transform& normalize : {Transform(Normalize{}), Transform(NormalizeRows{})}) {
      Tensor x = zeros.values().clone();
      x.requires_grad(true);
      const RelationData r = normalize(SquareRelations{x});
      CHECK(max_value(abs(r.values())) == 0);
      sum(r.values()).backward();
      CHECK(std::isfinite(max_value(abs(x.grad()))));
    }
    const Tensor index = Tensor::arange(2).to(device);
    CHECK(max_value(abs(zeros.sub(index, true))) == 0);
    CHECK(Normalize{}(RelationData(TriangularRelations{Tensor::zeros({0}), 1}).to(device)).values().numel() ==
          0);
  }
}

TEST_CASE("symmetrize makes every form equal to its transpose on every device") {
  const Tensor m = random_tensor({6, 6}, 5, Dtype::float64);
  for (const Device device : devices()) {
    for (const bool product : {false, true}) {
      const Tensor expected = product ? m + transpose(m) - m * transpose(m) : (m + transpose(m)) / 2.0;
      const Symmetrize symmetrize{.subtract_product = product};
      const RelationData square = SquareRelations{m.to(device)};
      check_close(symmetrize(square).values(), expected, 1e-15);
      check_close(symmetrize(square.to_sparse()).to_square().values(), expected, 1e-15);
      CHECK(symmetrize(square).symmetric());
      CHECK(symmetrize(square.to_sparse()).values().device() == device);
    }
    const RelationData triangle =
        RelationData(TriangularRelations{Tensor::from({0.5, 0.25, 1.0}), 3}).to(device);
    CHECK(Symmetrize{}(triangle).values().to_vector<double>() == std::vector<double>{0.5, 0.25, 1});
    CHECK(Symmetrize{.subtract_product = true}(triangle).values().to_vector<double>() ==
          std::vector<double>{0.75, 0.4375, 1});
  }
}

TEST_CASE("the diagonal can be cleared in every form on every device") {
  const Tensor m = random_tensor({4, 4}, 6, Dtype::float64) + 1.0;
  for (const Device device : devices()) {
    const RelationData square = RelationData(SquareRelations{m}).to(device);
    for (const RelationData& form : {square, square.to_sparse()}) {
      const Tensor cleared = ZeroDiagonal{}(form).to_square().values().to(Device::cpu);
      for (std::int64_t i = 0; i < 4; ++i) {
        for (std::int64_t j = 0; j < 4; ++j) CHECK(cleared.at(i, j) == (i == j ? 0 : m.at(i, j)));
      }
    }
  }
}

TEST_CASE("similarities and user functions act on the values") {
  const RelationData d = TriangularRelations{Tensor::from({0.0, 1.0, 3.0}), 3};
  check_close(StudentT{}(d).values(), Tensor::from({1.0, 0.5, 0.1}), 1e-14);
  check_close(StudentT{.alpha = 2}(d).values(), Tensor::from({1.0, std::pow(1.5, -1.5), std::pow(5.5, -1.5)}),
              1e-14);
  check_close(ModifiedCauchy{.a = 2, .b = 0.5}(d).values(), Tensor::from({1.0, 1 / 3.0, 1 / 7.0}), 1e-14);
  const double fitted = ModifiedCauchy{.min_dist = 0.1, .spread = 1}(d).values().at(1);
  CHECK(fitted == doctest::Approx(1 / (1 + 1.576943613401783)).epsilon(1e-6));
  CHECK(Functional{[](const Tensor& v) { return v * 2; }}(d).values().at(2) == 6);
  Tensor alpha = Tensor::scalar(1, Dtype::float64);
  alpha.requires_grad(true);
  CHECK(StudentT{.trained_alpha = alpha}(d).values().requires_grad());
}

TEST_CASE("built-in transforms can be recognised, and lambdas are transforms") {
  const Transform student = StudentT{.alpha = 2.5};
  REQUIRE(student.target<StudentT>() != nullptr);
  CHECK(student.target<StudentT>()->alpha == 2.5);
  CHECK(student.target<Normalize>() == nullptr);
  const Transform perplexity = PerplexityBasedRescale{.perplexity = 7};
  REQUIRE(perplexity.target<PerplexityBasedRescale>() != nullptr);
  CHECK(perplexity.target<PerplexityBasedRescale>()->perplexity == 7);
  const Transform mine = [](const RelationData& data) { return data.with_values(data.values() + 1.0); };
  CHECK(mine(RelationData(FlatRelations{Tensor::zeros({2})})).values().at(1) == 1);
}

TEST_CASE("targets that cannot be reached are counted in one warning") {
  // All distances equal: every affinity is 1/k whatever beta.
  const RelationData equal =
      RelationData(SquareRelations{Tensor::ones({20, 20}, Dtype::float64)}).to_neighbor();
  Told told;
  const RelationData p = PerplexityBasedRescale{.perplexity = 5}(equal, told.context());
  CHECK(told.stages == std::vector<std::string>{"calculating probabilities"});
  REQUIRE(told.warnings.size() == 1);
  CHECK(contains(told.warnings[0], "20 of 20 rows"));
  check_close(p.values(), Tensor::full({20, 19}, 1 / 19.0, Dtype::float64), 1e-12);
}

TEST_CASE("settings without a meaning are errors") {
  const RelationData d = golden_neighbors();
  CHECK(contains(error_of([&] { PerplexityBasedRescale{.perplexity = 1}(d, {}); }), "larger than 1"));
  CHECK(contains(error_of([&] { PerplexityBasedRescale{.perplexity = 31}(d, {}); }), "has 30"));
  CHECK(contains(error_of([&] { PerplexityBasedRescale{.perplexity = std::nan("")}(d, {}); }), "perplexity"));
  CHECK(contains(error_of([&] { ConnectivityBasedRescale{.n_neighbors = 1}(d, {}); }), "larger than 1"));
  CHECK(contains(error_of([&] { StudentT{.alpha = 0}(d); }), "above 0"));
  CHECK(contains(error_of([&] { ModifiedCauchy{.a = 1}(d); }), "both"));
  CHECK(contains(error_of([&] { Functional{}(d); }), "no function"));
  const RelationData flat = FlatRelations{Tensor::ones({3})};
  CHECK(contains(error_of([&] { Symmetrize{}(flat); }), "flat"));
  CHECK(contains(error_of([&] { NormalizeRows{}(flat); }), "flat"));
  CHECK(contains(error_of([&] { PerplexityBasedRescale{}(flat, {}); }), "flat"));
  Told told;
  PerplexityBasedRescale{.perplexity = 20}(d, told.context());
  REQUIRE(told.warnings.size() == 1);
  CHECK(contains(told.warnings[0], "wants 60"));
}
