#include <doctest/doctest.h>
#include <flatland/dr/parametric_dr.h>
#include <flatland/dr/relations.h>
#include <flatland/engine/ops.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/tensors.h"

#include <cmath>
#include <limits>

using namespace flatland;
using namespace flatland::test;

namespace {

std::int64_t neighbors(const NeighborBasedPDist& relation, std::int64_t items,
                       std::vector<std::string>* warnings = nullptr) {
  RelationContext context;
  context.warn = [&](const std::string& text) {
    if (warnings) warnings->push_back(text);
  };
  return relation.neighbors_for(items, context);
}

}  // namespace

TEST_CASE("the whole chain from data to probabilities equals the golden values on every device") {
  const Relation relation =
      NeighborBasedPDist{.transforms = {PerplexityBasedRescale{.perplexity = 10}, Symmetrize{}, Normalize{}}};
  for (const Device device : devices()) {
    const Tensor x = golden("neighbors/X").to(device);
    const RelationData p = relation(x);
    const auto* rows = p.get_if<SparseRelations>();
    REQUIRE(rows != nullptr);
    CHECK(rows->values.device() == device);
    CHECK(rows->col.to_vector<int>() == golden("neighbors/perp_norm_indices").to_vector<int>());
    check_close(rows->values, golden("neighbors/perp_norm_data"), 1e-8);
    // In float32 the same, to rounding.
    const RelationData single = relation(x.to(Dtype::float32));
    CHECK(single.get_if<SparseRelations>()->col.to_vector<int>() == rows->col.to_vector<int>());
    check_close(single.values(), golden("neighbors/perp_norm_data"), 1e-4);
  }
}

TEST_CASE("neighbours are exact, without self, on every device") {
  const Tensor index = golden("neighbors/knn_idx"), dist = golden("neighbors/knn_dist");
  for (const Device device : devices()) {
    const RelationData found =
        NeighborBasedPDist{.n_neighbors = 30}(golden("neighbors/X").to(device), {}).to(Device::cpu);
    const auto* form = found.get_if<NeighborRelations>();
    REQUIRE(form != nullptr);
    for (std::int64_t i = 0; i < 64; ++i) {
      for (std::int64_t j = 0; j < 30; ++j) {
        CHECK(form->index.at(i, j) == index.at(i, j + 1));
        CHECK(form->values.at(i, j) == doctest::Approx(dist.at(i, j + 1)).epsilon(1e-14));
      }
    }
  }
}

namespace {

// As a routine holds relations: triangles as squares on a GPU.
RelationData held(const RelationData& relations, Device device) {
  const bool triangle = relations.get_if<TriangularRelations>() != nullptr;
  return triangle && device == Device::cuda ? relations.to_square() : relations;
}

}  // namespace

// What a routine computes from its data; on the device where its transforms allow that, else on the CPU.
TEST_CASE("a routine's global relations are the same on every device") {
  const Transform mine = [](const RelationData& data) {
    CHECK(data.values().device() == Device::cpu);  // a user's function may look at values
    return data.with_values(data.values() * 2.0);
  };
  const RelationMap relations{
      {"tsne", NeighborBasedPDist{.transforms = {PerplexityBasedRescale{.perplexity = 8}, Symmetrize{},
                                                 Normalize{}}}},
      {"umap", NeighborBasedPDist{.transforms = {ConnectivityBasedRescale{.n_neighbors = 12},
                                                 Symmetrize{.subtract_product = true}}}},
      {"rows",
       NeighborBasedPDist{
           .n_neighbors = 9, .metric = metric::manhattan, .transforms = {ZeroDiagonal{}, NormalizeRows{}}}},
      {"near", NeighborBasedPDist{.n_neighbors = 5}},
      {"mine", NeighborBasedPDist{.n_neighbors = 5, .transforms = {mine}}},
      {"all", PDist{.transforms = {StudentT{}, Normalize{}}}}};
  const Tensor x = clouds(211, 9, 5, 1);
  const auto computed = [&](Device device, Dtype dtype) {
    const ModelHandle model = FullyConnectedEmbedder({.in_dim = 9});
    model->to(dtype);
    ParametricDR dr({.model = model, .global_relations = relations, .device = device});
    dr.prepare(x);
    RelationDataMap all = dr.global_relation_data();
    for (auto& [key, data] : all) {
      CHECK(data.values().device() == device);
      data = data.to(Device::cpu);
    }
    return all;
  };
  for (const Dtype dtype : {Dtype::float32, Dtype::float64}) {
    const RelationDataMap want = computed(Device::cpu, dtype);
    for (const Device device : devices()) {
      const RelationDataMap got = computed(device, dtype);
      REQUIRE(got.size() == want.size());
      for (std::size_t r = 0; r < want.size(); ++r) {
        INFO(want[r].first, " of ", std::string(name(dtype)), " on ", std::string(name(device)));
        const RelationData &g = got[r].second, w = held(want[r].second, device);
        REQUIRE(g.form_name() == w.form_name());
        CHECK(g.symmetric() == w.symmetric());
        if (const auto* rows = w.get_if<SparseRelations>()) {
          CHECK(same_bits(g.get_if<SparseRelations>()->row_offset, rows->row_offset));
          CHECK(same_bits(g.get_if<SparseRelations>()->col, rows->col));
        }
        if (const auto* near = w.get_if<NeighborRelations>())
          CHECK(same_bits(g.get_if<NeighborRelations>()->index, near->index));
        // The search for the weights ends where its sums in T say so.
        check_close(g.values(), w.values(), dtype == Dtype::float32 ? 2e-5 : 1e-11, 1e-9);
      }
    }
  }
}

namespace {

// Items' sums of an entry that it chooses.
struct RowSums {
  std::string data_key = "wide";
  RelationData operator()(const Tensor& x) const {
    const Tensor total = sum(x, 1);
    return SquareRelations{reshape(total, {x.size(0), 1}) + reshape(total, {1, x.size(0)})};
  }
};

ParametricDR with_relations(RelationMap relations, Device device = Device::cpu) {
  return ParametricDR(
      {.model = FullyConnectedEmbedder({.in_dim = 4}),
       .global_relations = std::move(relations),
       .derived_data = {{"halves", {.from_data = [](const Dataset& d) { return d["wide"] / 2.0; }}},
                        {"late", spectral_of("pairs")}},
       .device = device});
}

}  // namespace

TEST_CASE("relations are computed from the entry that they name, on every device") {
  const Tensor main = clouds(60, 4, 3, 1), wide = clouds(60, 9, 2, 2);
  for (const Device device : devices()) {
    ParametricDR dr = with_relations({{"pairs", PDist{.data_key = "wide"}},
                                      {"near", NeighborBasedPDist{.n_neighbors = 5, .data_key = "wide"}},
                                      {"half", PDist{.data_key = "halves"}},
                                      {"sums", RowSums{}},
                                      {"plain", PDist{}}},
                                     device);
    dr.prepare({{"main", main}, {"wide", wide}});
    const auto values = [&](std::string_view key) {
      return at(dr.global_relation_data(), key).values().to(Device::cpu);
    };
    check_close(values("pairs"), held(PDist{}(wide, {}), device).values(), 1e-5, 1);
    check_close(values("near"), NeighborBasedPDist{.n_neighbors = 5}(wide, {}).values(), 1e-5, 1);
    check_close(values("half") * 2.0, held(PDist{}(wide, {}), device).values(), 1e-5, 1);
    check_close(values("sums"), RowSums{}(wide).values(), 1e-5);
    check_close(values("plain"), held(PDist{}(main, {}), device).values(), 1e-5, 1);
    CHECK(contains(error_of([&] { values("other"); }),
                   "no global relations 'other'; there are 'pairs', 'near', 'half', 'sums', 'plain'"));
  }
}

TEST_CASE("an entry that relations cannot be computed from is named before anything is computed") {
  const Dataset data{{"main", clouds(60, 4, 3, 1)}, {"labels", Tensor::arange(60)}};
  const auto message = [&](Relation relation) {
    return error_of([&] { with_relations({{"pairs", std::move(relation)}}).prepare(data); });
  };
  CHECK(
      contains(message(PDist{.data_key = "mian"}),
               "the recipe of global relations 'pairs' needs the data entry 'mian', which is neither in the "
               "data set nor derived; the data set has 'main', 'indices', 'labels'"));
  CHECK(contains(message(NeighborBasedPDist{.data_key = "late"}), "derived from relations and comes after"));
  CHECK(contains(message(RowSums{}), "'wide'"));
}

TEST_CASE("an entry that is no matrix of numbers is named") {
  CHECK(contains(error_of([] { PDist{.data_key = "labels"}(Tensor::arange(60), {}); }),
                 "PDist: the data 'labels' must be a floating matrix with a row an item; it is int64 (60)"));
}

TEST_CASE("given relations need no entry, and relations that were handed on none either") {
  const Tensor wide = clouds(60, 9, 2, 2);
  ParametricDR given({.model = FullyConnectedEmbedder({.in_dim = 9, .input_key = "wide"}),
                      .global_relations = Precomputed{PDist{}(wide, {})}});
  given.prepare({{"wide", wide}});
  CHECK(given.global_relation_data()[0].second.items() == 60);
  ParametricDR handed_on({.model = FullyConnectedEmbedder({.in_dim = 9, .input_key = "wide"}),
                          .global_relations = PDist{.data_key = "gone"}});
  handed_on.set_global_relation_data(given.global_relation_data());
  CHECK(error_of([&] { handed_on.prepare({{"wide", wide}}); }) == "");
}

TEST_CASE("the number of neighbours follows the transforms") {
  const PerplexityBasedRescale perplexity{.perplexity = 30};
  CHECK(neighbors({.transforms = {perplexity}}, 1000) == 90);
  CHECK(neighbors({.transforms = {perplexity}}, 50) == 49);
  CHECK(neighbors({.transforms = {PerplexityBasedRescale{.perplexity = 33.4}}}, 1000) == 100);
  CHECK(neighbors({.transforms = {ConnectivityBasedRescale{.n_neighbors = 15}}}, 1000) == 15);
  CHECK(neighbors({.transforms = {ConnectivityBasedRescale{.n_neighbors = 200}, perplexity}}, 1000) == 200);
  CHECK(neighbors({}, 1000) == 50);
  CHECK(neighbors({}, 10) == 1);
  CHECK(neighbors({.n_neighbors = 7}, 1000) == 7);
  CHECK(neighbors({.n_neighbors = 5000}, 1000) == 999);
  CHECK(neighbors({.n_neighbors = 120, .transforms = {perplexity}}, 1000) == 120);
  CHECK(neighbors({.transforms = {PerplexityBasedRescale{.perplexity = 1e300}}}, 1000) == 999);
}

TEST_CASE("too small a number is raised, with one warning") {
  std::vector<std::string> warnings;
  const PerplexityBasedRescale perplexity{.perplexity = 30};
  CHECK(neighbors({.n_neighbors = 20, .transforms = {perplexity}}, 1000, &warnings) == 90);
  REQUIRE(warnings.size() == 1);
  CHECK(contains(warnings[0], "20"));
  CHECK(contains(warnings[0], "90"));
  CHECK(neighbors({.n_neighbors = 20, .transforms = {perplexity}}, 50, &warnings) == 49);
  CHECK(warnings.size() == 2);
  CHECK(neighbors({.n_neighbors = 90, .transforms = {perplexity}}, 1000, &warnings) == 90);
  CHECK(neighbors({.n_neighbors = 49, .transforms = {perplexity}}, 50, &warnings) == 49);
  CHECK(warnings.size() == 2);
  CHECK(neighbors({.n_neighbors = 10, .transforms = {ConnectivityBasedRescale{}}}, 1000, &warnings) == 15);
  CHECK(warnings.size() == 3);
}

TEST_CASE("errors of neighbours") {
  CHECK(contains(error_of([] { neighbors({.n_neighbors = -1}, 10); }), "-1"));
  CHECK(contains(error_of([] { neighbors({}, 1); }), "1 item has no neighbours"));
  Tensor x = Tensor::zeros({5, 2});
  x.mutable_data<float>()[3] = std::numeric_limits<float>::infinity();
  CHECK(contains(error_of([&] { NeighborBasedPDist{}(x, {}); }), "row 1, column 1"));
  CHECK(contains(error_of([&] { PDist{}(Tensor::arange(4), {}); }), "floating matrix"));
}

TEST_CASE("all pairs, built-in and user's metric") {
  const Tensor x = random_tensor({12, 4}, 1, Dtype::float64);
  const RelationData built_in = PDist{.metric = metric::manhattan}(x, {});
  const RowMetric manhattan = [](std::span<const double> a, std::span<const double> b) {
    double total = 0;
    for (std::size_t i = 0; i < a.size(); ++i) total += std::abs(a[i] - b[i]);
    return total;
  };
  check_close(PDist{.metric = manhattan}(x, {}).values(), built_in.values(), 1e-14);
  CHECK(built_in.items() == 12);
  const RelationData near = NeighborBasedPDist{.n_neighbors = 5, .metric = metric::manhattan}(x, {});
  const RelationData user = NeighborBasedPDist{.n_neighbors = 5, .metric = manhattan}(x, {});
  CHECK(user.get_if<NeighborRelations>()->index.to_vector<int>() ==
        near.get_if<NeighborRelations>()->index.to_vector<int>());
  check_close(user.values(), near.values(), 1e-14);
  CHECK(contains(error_of([&] {
                   PDist{.metric = [](std::span<const double>, std::span<const double>) {
                     return std::nan("");
                   }}(x, {});
                 }),
                 "user's metric"));
}

TEST_CASE("batch relations carry gradients, built-in and user's metric") {
  Tensor x = random_tensor({9, 2}, 2, Dtype::float64);
  x.requires_grad(true);
  const std::vector<Transform> transforms = {StudentT{}, Normalize{}, ToSquare{}};
  const RelationData q = DifferentiablePDist{.transforms = transforms}(x, {});
  CHECK(q.form_name() == "square");
  CHECK(sum(q.values()).item() == doctest::Approx(1).epsilon(1e-14));
  sum(square(q.values())).backward();
  const Tensor expected = x.grad().clone();
  x.zero_grad();
  const TensorMetric euclidean = [](const Tensor& a, const Tensor& b) { return sqrt(sum(square(a - b), 1)); };
  sum(square(DifferentiablePDist{.metric = euclidean, .transforms = transforms}(x, {}).values())).backward();
  check_close(x.grad(), expected, 1e-12, 1e-6);
}

TEST_CASE("distances of given pairs") {
  Tensor pairs = random_tensor({2, 5, 3}, 3, Dtype::float64);
  pairs.requires_grad(true);
  const RelationData d = DistsFromTo{}(pairs, {});
  CHECK(d.form_name() == "flat");
  double first = 0;
  for (std::int64_t k = 0; k < 3; ++k) first += std::pow(pairs.at(k) - pairs.at(15 + k), 2);
  CHECK(d.values().at(0) == doctest::Approx(std::sqrt(first)).epsilon(1e-14));
  sum(d.values()).backward();
  CHECK(pairs.grad().defined());
  CHECK(contains(error_of([] { DistsFromTo{}(Tensor::ones({3, 2, 2}), {}); }), "(2, n, d)"));
}

TEST_CASE("given relations are checked") {
  const RelationData square = SquareRelations{Tensor::ones({4, 4})};
  const Tensor x = random_tensor({4, 2}, 1);
  CHECK(Precomputed{.relations = square, .transforms = {Normalize{}}}(x, {}).values().at(0) == 1 / 16.0);
  CHECK(contains(error_of([&] {
                   Precomputed{.relations = square}(random_tensor({5, 2}, 1), {});
                 }),
                 "4 items"));
  Tensor bad = Tensor::ones({4, 4});
  bad.mutable_data<float>()[6] = std::nanf("");
  CHECK(
      contains(error_of([&] { Precomputed{.relations = SquareRelations{bad}}(x, {}); }), "row 1, column 2"));
}

TEST_CASE("a function of the data is a relation") {
  const RelationMap map{
      {"mine", [](const Tensor& x) { return RelationData(SquareRelations{matmul(x, transpose(x))}); }},
      {"near", NeighborBasedPDist{}}};
  REQUIRE(map.find("mine") != nullptr);
  CHECK((*map.find("mine"))(Tensor::ones({3, 2})).values().at(0) == 2);
  CHECK(map.find("near")->target<NeighborBasedPDist>() != nullptr);
  CHECK(map.find("other") == nullptr);
  CHECK(RelationMap(PDist{}).find("rel") != nullptr);
}

TEST_CASE("an approximate search is asked for, or announced above 100,000 items") {
  const Tensor x = random_tensor({6000, 12}, 5, Dtype::float64);
  std::vector<std::string> stages, warnings;
  RelationContext context;
  context.stage = [&](const std::string& text) { stages.push_back(text); };
  context.warn = [&](const std::string& text) { warnings.push_back(text); };
  NeighborBasedPDist relation{.n_neighbors = 10, .search = NeighborSearch::approximate};
  const RelationData approximate = relation(x, context);
  CHECK(warnings.empty());
  REQUIRE(stages.size() == 2);
  CHECK(stages[1].starts_with("nearest neighbours found with a recall of "));
  CHECK(std::stod(stages[1].substr(42)) >= 0.9);
  relation.search = NeighborSearch::exact;
  const RelationData exact = relation(x, context);
  CHECK(stages.size() == 3);
  const auto values = [](const RelationData& data) { return data.values().to_vector<double>(); };
  CHECK(values(approximate) != values(exact));  // few are missed, but some
  relation.search = NeighborSearch::automatic;
  CHECK(values(relation(x, context)) == values(exact));
  CHECK(warnings.empty());

  const Tensor many = random_tensor({k_exact_items + 1, 2}, 6);
  relation(many, context);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].starts_with(
      "NeighborBasedPDist: the neighbours of 100001 items are searched approximately"));

  relation.metric = RowMetric([](auto, auto) { return 1.; });
  relation.search = NeighborSearch::approximate;
  CHECK_THROWS_WITH_AS(relation(x, context),
                       "NeighborBasedPDist: an approximate search knows no metric of a user; use "
                       "NeighborSearch::exact",
                       Error);
}
