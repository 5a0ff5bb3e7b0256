#include <doctest/doctest.h>
#include <flatland/dr/routines.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

#include <iostream>
#include <sstream>

using namespace flatland;
using namespace flatland::test;

namespace {

// Of 40 items in each cloud, how many have their nearest embedded neighbour in the same cloud.
double neighbour_purity(const Tensor& y, std::int64_t groups) {
  std::int64_t same = 0;
  for (std::int64_t i = 0; i < y.size(0); ++i) {
    double best = HUGE_VAL;
    std::int64_t nearest = 0;
    for (std::int64_t j = 0; j < y.size(0); ++j) {
      const double d = std::hypot(y.at(i, 0) - y.at(j, 0), y.at(i, 1) - y.at(j, 1));
      if (j != i && d < best) {
        best = d;
        nearest = j;
      }
    }
    same += nearest % groups == i % groups;
  }
  return static_cast<double>(same) / static_cast<double>(y.size(0));
}

}  // namespace

TEST_CASE("parametric t-SNE separates clouds, seen and unseen") {
  ParametricTSNE tsne({.in_dim = 8, .perplexity = 10, .epochs = 40, .batch_size = 200, .seed = 3});
  tsne.train(clouds(200, 8, 4, 1));
  CHECK(neighbour_purity(tsne.apply(clouds(200, 8, 4, 1)), 4) > 0.95);
  CHECK(neighbour_purity(tsne.apply(clouds(100, 8, 4, 2)), 4) > 0.95);
  const auto& phases = tsne.training_phases();
  REQUIRE(phases.size() == 2);
  CHECK(phases[0].name == "pca_init");
  CHECK(phases[0].epochs == 10);
  CHECK(phases[0].batch_size == 200);
  CHECK(phases[1].name == "embedding");
}

TEST_CASE("the defaults are ParaDime's") {
  const ParametricTSNE tsne({.in_dim = 8});
  const auto& phases = tsne.training_phases();
  CHECK(phases[0].epochs == 10);
  CHECK(phases[0].batch_size == 500);
  CHECK(phases[0].learning_rate == 0.01);
  CHECK(phases[1].epochs == 30);
  CHECK(phases[1].batch_size == 500);
  CHECK(phases[1].learning_rate == 0.01);
  std::vector<Shape> shapes;
  for (const NamedTensor& p : tsne.model().parameters()) shapes.push_back(p.tensor.shape());
  CHECK(shapes == std::vector<Shape>{{100, 8}, {100}, {50, 100}, {50}, {2, 50}, {2}});
}

TEST_CASE("without initialization there is one phase") {
  ParametricTSNE tsne({.in_dim = 8, .perplexity = 5, .pca_initialization = false, .epochs = 1});
  CHECK(tsne.training_phases().size() == 1);
  tsne.train(clouds(40, 8, 2, 1));
  CHECK(!tsne.dataset().contains("pca"));
}

// The program of the design's chapter on the routine layer, in its t-SNE variant, word by word.
TEST_CASE("a port of a ParaDime program reads line by line the same") {
  std::ostringstream log;
  const Dataset mnist = random_tensor({600, 784}, 5);
  ParametricDR tsne(
      {.model = FullyConnectedEmbedder({.in_dim = 784, .hidden_dims = {100, 100, 100}}),
       .global_relations = NeighborBasedPDist{.transforms = {PerplexityBasedRescale{.perplexity = 30},
                                                             Symmetrize{}, Normalize{}}},
       .batch_relations = DifferentiablePDist{.transforms = {StudentT{.alpha = 1}, Normalize{}, ToSquare{}}},
       .derived_data = {{"pca", pca_of("main")}},
       .losses = {{"init", PositionLoss{.position_key = "pca"}},
                  {"main", RelationLoss{kullback_leibler_div}}},
       .device = best_device(),
       .seed = 42,
       .on_event = log_to(log)});
  tsne.add_training_phase({.name = "pca_init", .epochs = 2, .batch_size = 500, .loss_keys = {"init"}});
  tsne.add_training_phase({.name = "main_embedding", .epochs = 2, .batch_size = 500, .loss_keys = {"main"}});
  tsne.train(mnist.first(500));
  const Tensor everything = tsne.apply(mnist);
  CHECK(everything.shape() == Shape({600, 2}));
  CHECK(contains(log.str(), ": beginning training phase 'main_embedding'\n"));
  CHECK(contains(log.str(), ": loss after epoch 1: "));
}

TEST_CASE("a single relation, loss and transform need no key") {
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 3}),
                   .global_relations = PDist{.transforms = {StudentT{}, Normalize{}}},
                   .batch_relations = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}}},
                   .losses = RelationLoss{kullback_leibler_div}});
  dr.add_training_phase({.epochs = 2});
  dr.train(random_tensor({30, 3}, 5));
  CHECK(dr.trained());
}

TEST_CASE("ready-made routines take all from the entry with the data") {
  const Tensor x = clouds(40, 8, 2, 1), other = random_tensor({40, 8}, 5);
  const auto tsne = [](const std::string& key, const Dataset& data) {
    ParametricTSNE routine({.in_dim = 8, .perplexity = 5, .epochs = 2, .init_epochs = 2, .data_key = key});
    routine.train(data);
    return routine.apply(data);
  };
  const auto umap = [](const std::string& key, const Dataset& data) {
    ParametricUMAP routine({.in_dim = 8, .n_neighbors = 5, .epochs = 2, .init_epochs = 2, .data_key = key});
    routine.train(data);
    return routine.apply(data);
  };
  const Dataset both{{"main", other}, {"pixels", x}};
  CHECK(same_bits(tsne("pixels", both), tsne("main", x)));
  CHECK(same_bits(umap("pixels", both), umap("main", x)));
  CHECK(!same_bits(umap("main", both), umap("main", x)));
}

TEST_CASE("parametric UMAP takes its kernel as it is given") {
  const Tensor x = clouds(40, 8, 2, 1);
  const auto loss = [&](ParametricUMAP::Options options) {
    options.in_dim = 8;
    options.n_neighbors = 5;
    options.spectral_initialization = false;
    options.epochs = 1;
    ParametricUMAP umap(options);
    umap.train(x);
    return umap.history()[0].loss[0];
  };
  // The kernel that is fitted to the defaults, to its printed digits.
  CHECK(loss({.a = 1.8956, .b = 0.8006}) == doctest::Approx(loss({})).epsilon(1e-3));
  CHECK(loss({.a = 0.5, .b = 1.5}) != doctest::Approx(loss({})).epsilon(1e-2));
  CHECK(contains(error_of([&] { loss({.a = 1}); }), "give both above 0"));
}

TEST_CASE("errors of parametric t-SNE") {
  CHECK(contains(error_of([] { ParametricTSNE({}); }), "in_dim"));
  CHECK(contains(error_of([] { ParametricTSNE({.in_dim = 3, .out_dim = 0}); }), "out_dim"));
  CHECK(contains(error_of([] { ParametricTSNE({.in_dim = 3, .data_key = "pca"}); }),
                 "data_key is 'pca', where the start is put"));
  CHECK(error_of([] { ParametricTSNE({.in_dim = 3, .pca_initialization = false, .data_key = "pca"}); }) ==
        "");
  CHECK(contains(error_of([] { ParametricUMAP({.in_dim = 3, .data_key = "spectral"}); }), "data_key"));
  CHECK(
      contains(error_of([] { ParametricUMAP({.in_dim = 3, .a = 1}); }), "a is 1 and b 0; give both above 0"));
}

// The same numbers are drawn on every device, so that losses differ by rounding alone.
TEST_CASE("parametric t-SNE trains as on the CPU, step by step and recorded, on every device") {
  const Tensor x = clouds(130, 8, 4, 1);
  const auto train = [&](Device device, LearningRateSchedule schedule) {
    std::vector<std::string> warnings;
    ParametricTSNE tsne({.in_dim = 8,
                         .perplexity = 10,
                         .epochs = 6,
                         .init_epochs = 3,
                         .batch_size = 50,
                         .schedule = schedule,
                         .device = device,
                         .seed = 3,
                         .on_event = [&](const Event& event) {
                           if (event.kind == Event::Kind::warning) warnings.push_back(event.text);
                         }});
    tsne.train(x);
    CHECK(warnings == std::vector<std::string>{});
    return std::pair(tsne.history(), tsne.apply(x));
  };
  for (const auto kind : {LearningRateSchedule::Kind::constant, LearningRateSchedule::Kind::cosine}) {
    const auto [want, want_map] = train(Device::cpu, {.kind = kind});
    for (const Device device : test::devices()) {
      INFO(std::string(name(device)));
      const auto [got, got_map] = train(device, {.kind = kind});
      for (std::size_t phase = 0; phase < want.size(); ++phase) {
        REQUIRE(got[phase].loss.size() == want[phase].loss.size());
        for (std::size_t epoch = 0; epoch < want[phase].loss.size(); ++epoch) {
          CAPTURE(phase);
          CAPTURE(epoch);
          CHECK(got[phase].loss[epoch] == doctest::Approx(want[phase].loss[epoch]).epsilon(1e-4));
        }
      }
      CHECK(got_map.device() == Device::cpu);
      check_close(got_map, want_map, 1e-2, 1);
      const auto [again, again_map] = train(device, {.kind = kind});
      CHECK(same_bits(again_map, got_map));
    }
  }
}
