#include <doctest/doctest.h>
#include <flatland/dr/parametric_dr.h>
#include <flatland/dr/pca.h>
#include <flatland/dr/spectral.h>
#include <flatland/engine/ops.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/tensors.h"
#include "tests/support/ulps.h"

#include <algorithm>
#include <cmath>

using namespace flatland;
using namespace flatland::test;

namespace {

RelationData golden_graph() {
  return RelationData(SparseRelations{golden("neighbors/conn_sym_indptr").to(Dtype::int64),
                                      golden("neighbors/conn_sym_indices"),
                                      golden("neighbors/conn_sym_data")})
      .marked_symmetric();
}

RelationData neighbor_graph(const Tensor& x, std::int64_t k) {
  return NeighborBasedPDist{.n_neighbors = k,
                            .transforms = {ConnectivityBasedRescale{.n_neighbors = static_cast<double>(k)},
                                           Symmetrize{.subtract_product = true}}}(x, {});
}

void check_finite_map(const Tensor& y, std::int64_t n, std::int64_t dims) {
  CHECK(y.shape() == Shape({n, dims}));
  for (const double v : y.to_vector<double>()) CHECK(std::isfinite(v));
}

// |L y - lambda D y| of each column, by the dense definition; a row an item.
double worst_residual(const RelationData& graph, const Tensor& y) {
  const Tensor w = graph.to_square().values();
  const std::int64_t n = w.size(0);
  double worst = 0;
  for (std::int64_t c = 0; c < y.size(1); ++c) {
    double above = 0, below = 0;
    std::vector<double> degree(static_cast<std::size_t>(n)), product(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        if (i == j) continue;
        degree[static_cast<std::size_t>(i)] += w.at(i, j);
        product[static_cast<std::size_t>(i)] += w.at(i, j) * y.at(j, c);
      }
    for (std::int64_t i = 0; i < n; ++i) {
      above += y.at(i, c) * product[static_cast<std::size_t>(i)];
      below += y.at(i, c) * y.at(i, c) * degree[static_cast<std::size_t>(i)];
    }
    for (std::int64_t i = 0; i < n; ++i)
      worst = test::worse(worst, std::abs(product[static_cast<std::size_t>(i)] -
                                          above / below * degree[static_cast<std::size_t>(i)] * y.at(i, c)) /
                                     std::sqrt(below));
  }
  return worst;
}

}  // namespace

TEST_CASE("spectral coordinates are scikit-learn's, whatever their length and sign") {
  const std::optional<Tensor> y = spectral_embedding(golden_graph(), 2);
  REQUIRE(y);
  const Tensor want = golden("spectral/raw");
  for (std::int64_t c = 0; c < 2; ++c) {
    const Tensor own = column(*y, c), other = column(want, c);
    const double factor = (sum(own * other) / sum(own * own)).item();
    CHECK(std::abs(factor) > 0);
    check_close(own * factor, other, 1e-7, 0.1);
  }
}

TEST_CASE("the spectral start is ParaDime's, up to sign") {
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 5}),
                   .global_relations = Precomputed{golden_graph()},
                   .derived_data = {{"spectral", spectral_of()}},
                   .losses = PositionLoss{.position_key = "spectral"}});
  dr.prepare(golden("neighbors/X"));
  const Tensor got = dr.dataset()["spectral"], want = golden("spectral/standardised_ddof1");
  for (std::int64_t c = 0; c < 2; ++c) {
    const Tensor own = column(got, c), other = column(want, c).to(own.dtype());
    check_close(own * (sum(own * other).item() < 0 ? -1.0 : 1.0), other, 1e-5, 1);
  }
}

TEST_CASE(
    "large graphs are solved step by step, to the same end, with the same bits for any number of threads") {
  const Tensor x = random_tensor({700, 3}, 5, Dtype::float64);
  const RelationData graph = neighbor_graph(x, 10);
  Tensor first;
  for (const int threads : {1, 2, 3, 8}) {
    kernels::Exec exec(Device::cpu, threads);
    const ExecScope scope(exec);
    const std::optional<Tensor> y = spectral_embedding(graph, 3);
    REQUIRE(y);
    if (threads == 1) {
      first = *y;
      CHECK(worst_residual(graph, first) < 1e-5);
    } else {
      CHECK(same_bits(*y, first));
    }
  }
}

TEST_CASE("a graph of several parts has finite coordinates, and parts apart") {
  for (const std::int64_t groups : {2, 3, 7}) {
    const std::int64_t n = 40 * groups;
    const Tensor x = clouds(n, 8, groups, 3) * 1000.0;
    const RelationData graph = neighbor_graph(x, 5);
    for (const std::int64_t dims : {1, 2, 3, 10}) {
      const std::optional<Tensor> y = spectral_embedding(graph, dims);
      REQUIRE(y);
      check_finite_map(*y, n, dims);
      double nearest = HUGE_VAL;
      for (std::int64_t i = 0; i < groups; ++i)
        for (std::int64_t j = 0; j < n; ++j) {
          double d2 = 0;
          for (std::int64_t c = 0; c < dims; ++c) d2 += std::pow(y->at(i, c) - y->at(j, c), 2);
          if (j % groups != i % groups) nearest = std::min(nearest, d2);
        }
      CHECK(nearest > 5e-4);  // squared
    }
  }
}

TEST_CASE("graphs without edges, tiny ones, and what is wrong") {
  const RelationData none(SparseRelations{Tensor::zeros({6}, Dtype::int64), Tensor::zeros({0}, Dtype::int32),
                                          Tensor::zeros({0}, Dtype::float64)});
  check_finite_map(*spectral_embedding(none, 2), 5, 2);
  const RelationData two(SquareRelations{Tensor::from(std::vector<double>{0, 1, 1, 0}, {2, 2})});
  check_finite_map(*spectral_embedding(two, 2), 2, 2);
  const RelationData negative(SquareRelations{Tensor::from(std::vector<double>{0, -1, -1, 0}, {2, 2})});
  CHECK(error_of([&] { static_cast<void>(spectral_embedding(negative, 2)); }) ==
        "spectral_embedding: the relation of items 0 and 1 is -1; they must be finite and not negative, as "
        "affinities are");
  const RelationData one_way(SquareRelations{Tensor::from(std::vector<double>{0, 1, 0, 0}, {2, 2})});
  check_finite_map(*spectral_embedding(one_way, 2), 2, 2);
  for (const double big : {1e308, 1e-308}) {
    const Tensor w = Tensor::full({5, 5}, big, Dtype::float64);
    const auto embed = [&] {
      return *spectral_embedding(RelationData(SquareRelations{w}).marked_symmetric(), 1);
    };
    if (big > 1)
      CHECK(contains(error_of(embed), "the relations of item 0 add up to inf; scale them down"));
    else
      check_finite_map(embed(), 5, 1);
  }
  CHECK(contains(error_of([&] { static_cast<void>(spectral_embedding(two, 0)); }), "ask for 1 or more"));
}

TEST_CASE("relations that are marked symmetric and are not are found") {
  const auto embed = [](const std::vector<double>& w, std::int64_t n) {
    const RelationData marked = RelationData(SquareRelations{Tensor::from(w, {n, n})}).marked_symmetric();
    return error_of([&] { static_cast<void>(spectral_embedding(marked, 1)); });
  };
  CHECK(contains(embed({0, 0, 1, 0}, 2), "items 1 and 0 are related by 1 one way and 0 the other"));
  CHECK(contains(embed({0, 1, 0, 0}, 2), "items 0 and 1 are related by 1 one way and 0 the other"));
  CHECK(contains(embed({5, 1, 2, 5}, 2), "items 0 and 1 are related by 1 one way and 2 the other"));
  // A ring that leads one way.
  constexpr std::int64_t n = 9;
  std::vector<double> ring(n * n, 0);
  for (std::size_t i = 0; i < n; ++i) ring[i * n + (i + 1) % n] = 1;
  CHECK(contains(embed(ring, n), "items 0 and 1 are related by 1 one way and 0 the other"));
  // Loops, zeros and differences by rounding are no faults.
  CHECK(embed({7, 1, 0, 1 + 1e-7, 0, 1, 0, 1, 7}, 3) == "");
}

namespace {

#ifdef FLATLAND_SANITIZED
constexpr int k_cube_dims = 13;
#else
constexpr int k_cube_dims = 16;
#endif

// Corners of a cube of many dimensions, joined along each with its own weight: the eigenvectors tell the two
// sides of a dimension apart, those of the smallest weights first. Cut in two at one dimension, the upper
// half has its smallest weights elsewhere.
struct Cube {
  static constexpr int dims = k_cube_dims, cut_dim = 9;
  static constexpr std::int64_t corners = std::int64_t{1} << dims;
  bool cut;

  // The first corner of a corner's part.
  std::int64_t part(std::int64_t i) const { return cut ? i & std::int64_t{1} << cut_dim : 0; }
  // The dimension that component c shows there.
  int shown(std::int64_t i, int c) const { return (c == 0) == (part(i) == 0) ? 3 : 12; }
  float weight(std::int64_t i, int d) const {
    if (cut && d == cut_dim) return 0;
    return d == shown(i, 0) ? 0.1f : d == shown(i, 1) ? 0.3f : 1;
  }
  RelationData graph() const {
    std::vector<std::int64_t> offset{0};
    std::vector<std::int32_t> col;
    std::vector<float> weights;
    for (std::int64_t i = 0; i < corners; ++i) {
      std::vector<std::pair<std::int64_t, float>> row;
      for (int d = 0; d < dims; ++d) row.emplace_back(i ^ std::int64_t{1} << d, weight(i, d));
      std::ranges::sort(row);
      for (const auto& [j, w] : row) {
        col.push_back(static_cast<std::int32_t>(j));
        weights.push_back(w);
      }
      offset.push_back(std::ssize(col));
    }
    return RelationData(SparseRelations{Tensor::from(offset), Tensor::from(col), Tensor::from(weights)})
        .marked_symmetric();
  }
};

}  // namespace

TEST_CASE(
    "the sides of a cube of many corners are found, in one part and in two, for any number of threads") {
  for (const bool cut : {false, true}) {
    const Cube cube{cut};
    const RelationData graph = cube.graph();
    Tensor y;
    for (const int threads : {1, 2, 3}) {
      kernels::Exec exec(Device::cpu, threads);
      const ExecScope scope(exec);
      const std::optional<Tensor> again = spectral_embedding(graph, 2, {.max_products = 600});
      REQUIRE(again);
      if (threads == 1) y = *again;
      CHECK(same_bits(*again, y));
    }
    double wrong = 0;
    for (std::int64_t i = 0; i < Cube::corners; ++i)
      for (const int c : {0, 1}) {
        const std::int64_t first = cube.part(i);
        const double centre = !cut || c != 0 ? 0 : first == 0 ? 1 : -1;
        const double side = (i ^ first) >> cube.shown(i, c) & 1 ? -1 : 1;
        wrong = test::worse(wrong, std::abs(side * (y.at(i, c) - centre) / (y.at(first, c) - centre) - 1));
      }
    CHECK(wrong < 1e-3);  // the tolerance of 1e-7 over gaps of some 0.01, times the root of the corners
  }
}

TEST_CASE("where the spectral start is not found PCA takes its place, loudly") {
  const Tensor x = random_tensor({400, 3}, 5);
  const SpectralOptions hopeless{.max_products = 1, .tolerance = 1e-300};
  const RelationData graph = neighbor_graph(x, 10);
  CHECK(!spectral_embedding(graph, 2, hopeless));
  std::vector<std::string> warnings;
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 3}),
                   .global_relations = Precomputed{graph},
                   .derived_data = {{"spectral", spectral_of("rel", 2, "main", hopeless)}},
                   .losses = PositionLoss{.position_key = "spectral"},
                   .on_event = [&](const Event& event) {
                     if (event.kind == Event::Kind::warning) warnings.push_back(event.text);
                   }});
  dr.prepare(x);
  REQUIRE(warnings.size() == 1);
  CHECK(
      contains(warnings[0], "was not found within 1 products (max_products); PCA of 'main' takes its place"));
  const Tensor y = dr.dataset()["spectral"], want = Pca::fit(x, 2).transform(x);
  for (std::int64_t c = 0; c < 2; ++c)
    check_close(column(y, c) * std_dev(column(want, c)), column(want, c), 1e-4, 0.1);
}

TEST_CASE("a fallback of more coordinates than columns fills up with zeros, and needs an entry") {
  const Tensor x = random_tensor({200, 3}, 5);
  const DerivedData start = spectral_of("rel", 5, "main", {.max_products = 1, .tolerance = 1e-300});
  const RelationDataMap relations{{"rel", neighbor_graph(x, 10)}};
  const Tensor y = start.from_relations(x, relations, {});
  CHECK(y.shape() == Shape({200, 5}));
  for (std::int64_t c = 0; c < 5; ++c) CHECK(std_dev(column(y, c)).item() == doctest::Approx(c < 3 ? 1 : 0));
  CHECK(contains(error_of([&] {
                   static_cast<void>(start.from_relations(Dataset{{"other", x}}, relations, {}));
                 }),
                 "there is no entry 'main' whose PCA could take its place; name one as fallback_key"));
}
