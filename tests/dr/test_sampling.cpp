#include <doctest/doctest.h>
#include <flatland/dr/draw.h>
#include <flatland/dr/routines.h>
#include <flatland/engine/ops.h>
#include <flatland/models/coordinate_table.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

using namespace flatland;
using namespace flatland::test;

namespace {

// Trains one phase for its epochs and gives each of its batches to `look`.
template <class Look>
void look_at_batches(const Dataset& data, TrainingPhase phase, Look look, RelationMap relations = {},
                     Device device = Device::cpu) {
  const auto loss = [look](const LossInput& input) {
    look(input.batch);
    return mean(square(input.embed()));
  };
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = data["main"].size(1)}),
                   .global_relations = std::move(relations),
                   .losses = Loss(loss),
                   .device = device});
  dr.add_training_phase(std::move(phase));
  dr.train(data);
}

RelationMap neighbor_graph(std::int64_t k) {
  return NeighborBasedPDist{.n_neighbors = k,
                            .transforms = {ConnectivityBasedRescale{.n_neighbors = static_cast<double>(k)},
                                           Symmetrize{.subtract_product = true}}};
}

}  // namespace

TEST_CASE("sampled edges are edges, labelled, with their items once each in ascending order") {
  const Dataset data(clouds(60, 4, 3, 1));
  const RelationData graph = neighbor_graph(5).entries()[0].second(data["main"]);
  const Tensor square = graph.to_square().values();
  int batches = 0;
  std::set<std::vector<double>> seen;
  look_at_batches(
      data,
      {.epochs = 3,
       .batch_size = 20,
       .batches_per_epoch = 4,
       .sampling = Sampling::negative_edge,
       .neg_sampling_rate = 2},
      [&](const Batch& batch) {
        ++batches;
        const BatchEdges* edges = batch.edges();
        REQUIRE(edges != nullptr);
        CHECK(edges->size() == 60);
        CHECK(edges->rate == 2);
        const auto items = batch.index().to_vector<std::int64_t>();
        CHECK(std::ranges::adjacent_find(items, std::greater_equal<>{}) == items.end());
        CHECK(same_bits(batch["main"], gather_rows(data["main"], batch.index())));
        const auto ends = edges->ends.to_vector<std::int64_t>();
        std::set<std::int64_t> used(ends.begin(), ends.end());
        CHECK(used.size() == items.size());
        std::vector<double> all;
        for (std::size_t e = 0; e < 60; ++e) {
          const std::int64_t i = items.at(static_cast<std::size_t>(ends[e]));
          const std::int64_t j = items.at(static_cast<std::size_t>(ends[60 + e]));
          CHECK(edges->labels.at(static_cast<std::int64_t>(e)) == (e % 3 == 0 ? 1 : 0));
          if (e % 3 == 0) CHECK(square.at(i, j) > 0);
          all.push_back(static_cast<double>(i * 60 + j));
        }
        CHECK(seen.insert(all).second);  // other edges each time
      },
      neighbor_graph(5));
  CHECK(batches == 12);
}

TEST_CASE("an epoch of edges has as many as ParaDime's, and the last batch may be short") {
  std::vector<std::int64_t> sizes;
  const auto look = [&](const Batch& batch) { sizes.push_back(batch.edges()->size()); };
  const Dataset data(clouds(100, 4, 2, 1));
  TrainingPhase phase{
      .epochs = 1, .batch_size = 12, .sampling = Sampling::negative_edge, .neg_sampling_rate = 3};
  look_at_batches(data, phase, look, neighbor_graph(5));
  CHECK(sizes == std::vector<std::int64_t>{48, 48, 4});
  sizes.clear();
  phase.batch_size = 40;
  look_at_batches(data, phase, look, neighbor_graph(5));
  CHECK(sizes == std::vector<std::int64_t>{160});
}

TEST_CASE("weighted sampling draws items by their weights, with replacement") {
  const std::int64_t n = 30;
  std::vector<float> weights;
  for (std::int64_t i = 0; i < n; ++i) weights.push_back(i % 3 == 0 ? 0.0f : i % 3 == 1 ? 1.0f : 3.0f);
  const Dataset data{{"main", clouds(n, 4, 2, 1)}, {"weights", Tensor::from(weights)}};
  std::map<std::int64_t, double> drawn;
  look_at_batches(data, {.epochs = 400, .batch_size = 20, .sampling = Sampling::weighted},
                  [&](const Batch& batch) {
                    CHECK(batch.repeats());
                    for (const std::int64_t i : batch.index().to_vector<std::int64_t>()) drawn[i] += 1;
                  });
  const double total = 400 * 30;
  for (std::int64_t i = 0; i < n; ++i) {
    const double p = static_cast<double>(weights[static_cast<std::size_t>(i)]) / 40;
    CHECK(std::abs(drawn[i] / total - p) <= 5 * std::sqrt(p / total));
  }
}

TEST_CASE("the same items and edges are drawn on every device") {
  const Dataset data{{"main", clouds(60, 4, 3, 1)}, {"weights", random_tensor({60}, 2)}};
  for (const Sampling sampling : {Sampling::standard, Sampling::weighted, Sampling::negative_edge}) {
    const auto drawn = [&](Device device) {
      std::vector<std::int64_t> all;
      const auto add = [&](const Tensor& t) {
        CHECK(t.device() == device);
        const auto values = t.to_vector<std::int64_t>();
        all.insert(all.end(), values.begin(), values.end());
      };
      const auto look = [&](const Batch& batch) {
        add(batch.index());
        if (const BatchEdges* edges = batch.edges()) add(edges->ends), add(edges->labels);
      };
      look_at_batches(data, {.epochs = 3, .batch_size = 16, .sampling = sampling, .neg_sampling_rate = 3},
                      look, neighbor_graph(5), device);
      return all;
    };
    const auto want = drawn(Device::cpu);
    CHECK(want.size() >= 180);
    for (const Device device : devices()) CHECK(drawn(device) == want);
  }
}

TEST_CASE("relations of items that repeat are those of the items") {
  const Dataset data(clouds(40, 4, 2, 1));
  const RelationDataMap global{
      {"rel", NeighborBasedPDist{.transforms = {PerplexityBasedRescale{.perplexity = 5}, Symmetrize{},
                                                Normalize{}}}(data["main"], {})}};
  const RelationMap relations = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}}};
  const Tensor square = global[0].second.to_square().values();
  const RelationContext context;
  const std::vector<std::int64_t> items{9, 3, 3, 7, 9, 5, 1};
  Batch batch(data);
  batch.select_repeated(Tensor::from(items));
  for (const bool normalize : {false, true}) {
    Tensor block;
    const auto look = [&](const Tensor& p, const Tensor& q) {
      block = p;
      return sum(q);
    };
    FullyConnectedEmbedder own({.in_dim = 4});
    RelationLoss{.f = look, .normalize_sub = normalize}(LossInput{own, batch, global, relations, context});
    double total = 0;
    for (const std::int64_t i : items)
      for (const std::int64_t j : items) total += square.at(i, j);
    for (std::size_t i = 0; i < items.size(); ++i)
      for (std::size_t j = 0; j < items.size(); ++j)
        CHECK(block.at(static_cast<std::int64_t>(i), static_cast<std::int64_t>(j)) ==
              doctest::Approx(square.at(items[i], items[j]) / (normalize ? total : 1)).epsilon(1e-6));
  }
}

TEST_CASE("other data in the middle of a phase is what the phase goes on with") {
  for (const Sampling sampling :
       {Sampling::standard, Sampling::weighted, Sampling::whole, Sampling::negative_edge})
    for (const std::int64_t n : {40, 90, 60}) {
      std::set<std::int64_t> seen;
      const auto loss = [&](const LossInput& input) {
        for (const std::int64_t i : input.batch.index().to_vector<std::int64_t>()) seen.insert(i);
        return mean(square(input.embed()));
      };
      ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 4}),
                       .global_relations = neighbor_graph(5),
                       .losses = Loss(loss)});
      dr.add_training_phase({.epochs = 40, .batch_size = 20, .sampling = sampling});
      const auto data = [](std::int64_t items, std::uint64_t seed) {
        return Dataset{{"main", clouds(items, 4, 2, seed)}, {"weights", Tensor::ones({items})}};
      };
      dr.prepare(data(60, 1));
      dr.run_epochs(2);
      dr.prepare(data(n, 2));
      seen.clear();
      dr.run_epochs(38);
      CHECK(static_cast<std::int64_t>(seen.size()) == n);
      CHECK(*seen.rbegin() == n - 1);
    }
}

TEST_CASE("whole sampling trains on the exact objective, as one batch of all items does, on every device") {
  const Tensor x = clouds(90, 5, 3, 1);
  const auto train = [&](Sampling sampling, Device device) {
    ParametricDR dr(
        {.model = FullyConnectedEmbedder({.in_dim = 5}),
         .global_relations = NeighborBasedPDist{.transforms = {PerplexityBasedRescale{.perplexity = 5},
                                                               Symmetrize{}, Normalize{}}},
         .batch_relations = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}}},
         .losses = RelationLoss{kullback_leibler_div},
         .device = device});
    dr.add_training_phase(
        {.epochs = 5, .batch_size = sampling == Sampling::whole ? 7 : 90, .sampling = sampling});
    dr.train(x);
    return dr.history()[0].loss;
  };
  const std::vector<double> want = train(Sampling::standard, Device::cpu);
  for (const Device device : devices()) {
    const std::vector<double> got = train(Sampling::whole, device);
    REQUIRE(got.size() == 5);
    for (std::size_t e = 0; e < 5; ++e) CHECK(got[e] == doctest::Approx(want[e]).epsilon(1e-4));
  }
}

TEST_CASE("a table of coordinates is trained in place of a network") {
  const Tensor x = clouds(120, 6, 3, 1);
  ParametricTSNE tsne({.perplexity = 10,
                       .epochs = 150,
                       .init_epochs = 50,
                       .batch_size = 120,
                       .learning_rate = 0.1,
                       .model = CoordinateTable({.items = 120})});
  tsne.train(x);
  const Tensor y = tsne.apply(Dataset{{"main", x}});
  CHECK(y.shape() == Shape({120, 2}));
  double inside = 0, across = HUGE_VAL;
  for (std::int64_t i = 0; i < 120; ++i) {
    double same = HUGE_VAL;
    for (std::int64_t j = 0; j < 120; ++j) {
      const double d = std::hypot(y.at(i, 0) - y.at(j, 0), y.at(i, 1) - y.at(j, 1));
      if (i != j && i % 3 == j % 3) same = std::min(same, d);
      if (i % 3 != j % 3) across = std::min(across, d);
    }
    inside = std::max(inside, same);
  }
  CHECK(inside < across);
  CHECK(contains(error_of([&] { static_cast<void>(tsne.apply(x)); }),
                 "CoordinateTable: it takes item numbers"));
  CHECK(contains(error_of([] { CoordinateTable({}); }), "items is 0"));
  CHECK(contains(error_of([&] { static_cast<void>(tsne.apply(Dataset(x).slice(100, 120))); }),
                 "the data has 20 items but the CoordinateTable holds 120; it places no others"));
  CHECK(same_bits(tsne.apply(Tensor::from(std::vector<std::int64_t>{119})), slice_rows(y, 119, 120)));
  CHECK(
      contains(error_of([&] { static_cast<void>(tsne.apply(Tensor::from(std::vector<std::int64_t>{120}))); }),
               "apply: item 120, but the CoordinateTable holds items 0 to 119 only"));
  ParametricTSNE other({.perplexity = 10, .model = CoordinateTable({.items = 100})});
  CHECK(contains(error_of([&] { other.train(x); }),
                 "the data has 120 items but the CoordinateTable holds 100"));
}

TEST_CASE("parametric UMAP separates clouds, seen and unseen, with the same bits for any number of threads") {
  const Tensor x = clouds(150, 8, 3, 1);
  Tensor first;
  for (const int threads : {1, 2, 3, 8}) {
    ParametricUMAP umap({.in_dim = 8,
                         .n_neighbors = 10,
                         .epochs = 20,
                         .batch_size = 50,
                         .batches_per_epoch = 4,
                         .init_learning_rate = 0.01,
                         .threads = threads,
                         .seed = 3});
    umap.train(x);
    const Tensor y = umap.apply(x);
    if (threads > 1) {
      CHECK(same_bits(y, first));
      continue;
    }
    first = y;
    const Tensor other = umap.apply(clouds(60, 8, 3, 2));
    for (std::int64_t i = 0; i < 60; ++i) {
      double best = HUGE_VAL;
      std::int64_t nearest = 0;
      for (std::int64_t j = 0; j < 150; ++j) {
        const double d = std::hypot(other.at(i, 0) - y.at(j, 0), other.at(i, 1) - y.at(j, 1));
        if (d < best) best = d, nearest = j;
      }
      CHECK(nearest % 3 == i % 3);
    }
    CHECK(umap.training_phases()[0].name == "spectral_init");
    CHECK(umap.training_phases()[1].sampling == Sampling::negative_edge);
  }
}

TEST_CASE("ParaDime's defaults of parametric UMAP") {
  const ParametricUMAP umap({.in_dim = 8});
  const auto& phases = umap.training_phases();
  CHECK((phases[0].epochs == 5 && phases[0].batch_size == 100 && phases[0].learning_rate == 0.05));
  CHECK((phases[1].epochs == 30 && phases[1].batch_size == 10 && phases[1].learning_rate == 0.005));
  CHECK(phases[1].neg_sampling_rate == 5);
}

TEST_CASE("t-SNE and UMAP in 1, 3 and 10 dimensions, with and without a start") {
  const Tensor x = clouds(60, 12, 3, 1);
  for (const std::int64_t dims : {1, 3, 10})
    for (const bool start : {true, false}) {
      ParametricTSNE tsne({.in_dim = 12,
                           .perplexity = 5,
                           .out_dim = dims,
                           .pca_initialization = start,
                           .epochs = 2,
                           .batch_size = 30});
      tsne.train(x);
      ParametricUMAP umap({.in_dim = 12,
                           .n_neighbors = 6,
                           .out_dim = dims,
                           .spectral_initialization = start,
                           .epochs = 2,
                           .batch_size = 30});
      umap.train(x);
      for (const ParametricDR* dr : {static_cast<ParametricDR*>(&tsne), static_cast<ParametricDR*>(&umap)}) {
        const Tensor y = dr->apply(x);
        CHECK(y.shape() == Shape({60, dims}));
        for (const double v : y.to_vector<double>()) CHECK(std::isfinite(v));
        CHECK(dr->training_phases().size() == (start ? 2 : 1));
      }
    }
}

// The same edges are drawn on every device, so that losses differ by rounding alone.
TEST_CASE("parametric UMAP trains as on the CPU, step by step and recorded, on every device") {
  const Tensor x = clouds(90, 6, 3, 1);
  const auto train = [&](Device device) {
    std::vector<std::string> warnings;
    ParametricUMAP umap({.in_dim = 6,
                         .n_neighbors = 6,
                         .hidden_dims = {20, 10},
                         .epochs = 5,
                         .init_epochs = 3,
                         .batch_size = 16,
                         .batches_per_epoch = 3,
                         .negative_sampling_rate = 3,
                         .device = device,
                         .seed = 3,
                         .on_event = [&](const Event& event) {
                           if (event.kind == Event::Kind::warning) warnings.push_back(event.text);
                         }});
    umap.train(x);
    CHECK(warnings == std::vector<std::string>{});
    return umap.history();
  };
  const auto want = train(Device::cpu);
  for (const Device device : devices()) {
    INFO(std::string(name(device)));
    const auto got = train(device);
    for (std::size_t phase = 0; phase < 2; ++phase)
      for (std::size_t epoch = 0; epoch < want[phase].loss.size(); ++epoch)
        CHECK(got[phase].loss.at(epoch) == doctest::Approx(want[phase].loss[epoch]).epsilon(1e-3));
  }
}

TEST_CASE("items drawn class by class, and weights that even classes out") {
  std::vector<std::int64_t> labels;
  for (int i = 0; i < 100; ++i) labels.push_back(i % 10 == 0 ? 7 : i % 3);
  const Tensor items = balanced_items(Tensor::from(labels), 9, 1);
  std::map<std::int64_t, int> count;
  std::set<std::int64_t> distinct;
  for (const std::int64_t i : items.to_vector<std::int64_t>()) {
    ++count[labels[static_cast<std::size_t>(i)]];
    distinct.insert(i);
  }
  CHECK(count == std::map<std::int64_t, int>{{0, 9}, {1, 9}, {2, 9}, {7, 9}});
  CHECK(distinct.size() == 36);
  CHECK(same_bits(items, balanced_items(Tensor::from(labels), 9, 1)));
  CHECK(!same_bits(items, balanced_items(Tensor::from(labels), 9, 2)));
  CHECK(error_of([&] { static_cast<void>(balanced_items(Tensor::from(labels), 11, 1)); }) ==
        "balanced_items: class 7 has 10 items, but 11 are asked for");
  std::map<std::int64_t, double> total, drawn;
  const Tensor draws = weighted_items(class_weights(Tensor::from(labels)), 40000, 1);
  for (const std::int64_t i : draws.to_vector<std::int64_t>())
    drawn[labels.at(static_cast<std::size_t>(i))] += 1;
  for (const auto& [label, times] : drawn) CHECK(std::abs(times / 40000 - 0.25) < 0.011);
  const Tensor weights = class_weights(Tensor::from(labels).to(Dtype::int32));
  for (std::size_t i = 0; i < 100; ++i) total[labels[i]] += weights.at(static_cast<std::int64_t>(i));
  for (const auto& [label, sum] : total) CHECK(sum == doctest::Approx(1));
}

TEST_CASE("errors of sampling") {
  const Dataset data(clouds(30, 4, 2, 1));
  const auto nothing = [](const Batch&) {};
  CHECK(contains(error_of([&] { look_at_batches(data, {.sampling = Sampling::negative_edge}, nothing); }),
                 "no global relations 'rel' to sample edges from; the routine has none; set edge_rel_key"));
  CHECK(contains(error_of([&] { look_at_batches(data, {.sampling = Sampling::weighted}, nothing); }),
                 "weighted sampling needs the data entry 'weights'"));
  CHECK(contains(error_of([&] {
                   look_at_batches(data, {.sampling = Sampling::negative_edge, .neg_sampling_rate = -1},
                                   nothing, neighbor_graph(5));
                 }),
                 "neg_sampling_rate is -1"));
  CHECK(contains(error_of([&] {
                   ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 4}),
                                    .global_relations = neighbor_graph(5),
                                    .batch_relations = DistsFromTo{},
                                    .losses = RelationLoss{cross_entropy_loss}});
                   dr.add_training_phase({});
                   dr.train(data);
                 }),
                 "are DistsFromTo, which relates sampled pairs"));
}

// As ParaDime's example of t-SNE with triplets has it.
TEST_CASE("a phase that samples edges relates all items of a batch where the relation is of all") {
  const Dataset data(clouds(60, 4, 3, 1));
  const RelationMap affinities =
      NeighborBasedPDist{.transforms = {PerplexityBasedRescale{.perplexity = 5}, Symmetrize{}, Normalize{}}};
  const RelationMap relations = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}, ToSquare{}}};
  std::vector<std::pair<double, double>> losses;
  const auto both = [&](const LossInput& input) {
    const Tensor over_batch = RelationLoss{kullback_leibler_div}(input);
    Batch plain(data, input.batch.index());
    const LossInput alone{input.model, plain, input.global_relations, input.batch_relations, input.context};
    losses.emplace_back(over_batch.item(), RelationLoss{kullback_leibler_div}(alone).item());
    return over_batch + TripletLoss{}(input);
  };
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 4}),
                   .global_relations = affinities,
                   .batch_relations = relations,
                   .losses = Loss(both)});
  dr.add_training_phase(
      {.epochs = 2, .batch_size = 10, .sampling = Sampling::negative_edge, .neg_sampling_rate = 1});
  dr.train(data);
  CHECK(losses.size() == 6);
  for (const auto& [edges, items] : losses) CHECK((edges == items && edges > 0));
}
