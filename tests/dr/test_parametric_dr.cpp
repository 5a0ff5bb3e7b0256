#include <doctest/doctest.h>
#include <flatland/dr/parametric_dr.h>
#include <flatland/dr/streams.h>
#include <flatland/models/coordinate_table.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/errors.h"
#include "tests/support/tensors.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numbers>
#include <thread>

using namespace flatland;
using namespace flatland::test;

namespace {

struct Setup {
  std::uint64_t seed = 1;
  int threads = 0;
  Listener on_event = {};
  bool fuse = true;
  LearningRateSchedule schedule = {};
  int epochs = 6;
};

// Two phases over 90 items in batches of 40: the last batch is short.
ParametricDR routine(const Setup& s = {}) {
  ParametricDR dr(
      {.model = FullyConnectedEmbedder({.in_dim = 6, .hidden_dims = {16, 8}}),
       .global_relations = NeighborBasedPDist{.transforms = {PerplexityBasedRescale{.perplexity = 8},
                                                             Symmetrize{}, Normalize{}}},
       .batch_relations = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}, ToSquare{}}},
       .derived_data = {{"pca", pca_of("main", 2)}},
       .losses = {{"init", PositionLoss{.position_key = "pca"}},
                  {"main", RelationLoss{.f = kullback_leibler_div, .fuse = s.fuse}}},
       .threads = s.threads,
       .seed = s.seed,
       .on_event = s.on_event});
  dr.add_training_phase({.name = "first", .epochs = 4, .batch_size = 40, .loss_keys = {"init"}});
  dr.add_training_phase({.name = "second",
                         .epochs = s.epochs,
                         .batch_size = 40,
                         .loss_keys = {"main"},
                         .schedule = s.schedule});
  return dr;
}

const Dataset& data() {
  static const Dataset dataset = clouds(90, 6, 3, 7);
  return dataset;
}

std::vector<Tensor> parameters(const ParametricDR& dr) {
  std::vector<Tensor> all;
  for (const NamedTensor& p : dr.model().parameters()) all.push_back(p.tensor.detach().clone());
  return all;
}

bool same_parameters(const ParametricDR& a, const ParametricDR& b) {
  const std::vector<Tensor> x = parameters(a), y = parameters(b);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!same_bits(x[i], y[i])) return false;
  }
  return x.size() == y.size() && !x.empty();
}

}  // namespace

TEST_CASE("training lowers the loss and keeps its history") {
  ParametricDR dr = routine({.epochs = 40});
  CHECK(!dr.trained());
  dr.train(data());
  CHECK(dr.trained());
  REQUIRE(dr.history().size() == 2);
  CHECK(dr.history()[0].name == "first");
  CHECK(dr.history()[0].loss.size() == 4);
  CHECK(dr.history()[0].loss.back() < dr.history()[0].loss.front());
  CHECK(dr.history()[1].loss.size() == 40);
  CHECK(dr.history()[1].loss.back() < 0.9 * dr.history()[1].loss.front());
  REQUIRE(dr.history()[1].components.size() == 1);
  CHECK(dr.history()[1].components[0].first == "main");
  CHECK(dr.history()[1].components[0].second == dr.history()[1].loss);
  CHECK(dr.dataset().contains("pca"));
  CHECK(dr.global_relation_data().size() == 1);
}

TEST_CASE("one seed gives the same bits for any number of threads, another seed does not") {
  const ParametricDR first = [] {
    ParametricDR dr = routine({.threads = 1});
    dr.train(data());
    return dr;
  }();
  for (const int threads : {2, 3, 8}) {
    ParametricDR dr = routine({.threads = threads});
    dr.train(data());
    CHECK(same_parameters(first, dr));
    CHECK(dr.history()[1].loss == first.history()[1].loss);
  }
  ParametricDR other = routine({.seed = 2});
  CHECK(!same_parameters(other, routine({.seed = 1})));
  other.train(data());
  CHECK(!same_parameters(first, other));
}

TEST_CASE("a run in parts has the bits of one run") {
  for (const auto kind : {LearningRateSchedule::Kind::constant, LearningRateSchedule::Kind::cosine}) {
    const Setup setup{.schedule = {.kind = kind, .final_fraction = 0.1}, .epochs = 16};
    ParametricDR whole = routine(setup);
    whole.train(data());
    SUBCASE("run_epochs") {
      ParametricDR parts = routine(setup);
      parts.prepare(data());
      CHECK(parts.run_epochs(10));  // ends inside the second phase
      CHECK(!same_parameters(whole, parts));
      CHECK(parts.run_epochs(0));
      CHECK(!parts.run_epochs(100));
      CHECK(same_parameters(whole, parts));
      CHECK(parts.history()[1].loss == whole.history()[1].loss);
      CHECK(!parts.run_epochs(5));
    }
    SUBCASE("a listener stops, train goes on") {
      int seen = 0;
      Setup stopping = setup;
      stopping.on_event = [&](const Event& e) {
        return e.kind != Event::Kind::epoch_finished || ++seen % 7 != 0;
      };
      ParametricDR parts = routine(stopping);
      parts.train(data());
      CHECK(seen == 7);
      CHECK(parts.trained());
      parts.train(data());
      CHECK(seen == 14);
      parts.train(data());
      CHECK(seen == 20);
      CHECK(same_parameters(whole, parts));
    }
    SUBCASE("a phase added in the middle changes nothing before it") {
      ParametricDR parts = routine(setup);
      parts.prepare(data());
      parts.run_epochs(9);
      parts.add_training_phase({.epochs = 1, .loss_keys = {"main"}});
      CHECK(parts.run_epochs(11));
      CHECK(same_parameters(whole, parts));
      CHECK(!parts.run_epochs(1));
      CHECK(parts.history().back().name == "phase 3");
    }
  }
}

TEST_CASE("the fused loss trains as the composed one does") {
  ParametricDR fused = routine({.epochs = 2}), composed = routine({.fuse = false, .epochs = 2});
  fused.train(data());
  composed.train(data());
  for (std::size_t e = 0; e < 2; ++e) {
    CHECK(fused.history()[1].loss[e] == doctest::Approx(composed.history()[1].loss[e]).epsilon(1e-4));
  }
}

TEST_CASE("relations can be shared between routines") {
  ParametricDR first = routine();
  first.train(data());
  std::vector<std::string> stages;
  ParametricDR second = routine({.on_event = [&](const Event& e) {
    if (e.kind == Event::Kind::stage_started) stages.push_back(e.text);
  }});
  second.set_global_relation_data(first.global_relation_data());
  second.train(data());
  CHECK(stages == std::vector<std::string>{"data set initialised", "computing derived data 'pca'"});
  CHECK(same_parameters(first, second));
  ParametricDR third = routine();
  third.set_global_relation_data(first.global_relation_data());
  CHECK(contains(error_of([&] { third.train(data().first(50)); }), "90 items but the data has 50"));
  RelationDataMap wrong = first.global_relation_data();
  wrong[0].first = "knn";
  CHECK(contains(error_of([&] { third.set_global_relation_data(wrong); }), "'knn'"));
}

TEST_CASE("events tell what happens, in order") {
  std::vector<Event> events;
  ParametricDR dr = routine({.on_event = [&](const Event& e) { events.push_back(e); }, .epochs = 7});
  dr.train(data());
  std::vector<std::string> started, finished;
  std::vector<int> reported;
  for (const Event& e : events) {
    if (e.kind == Event::Kind::stage_started) started.push_back(e.text);
    if (e.kind == Event::Kind::stage_finished) finished.push_back(e.text);
    if (e.kind == Event::Kind::phase_started) started.push_back("phase " + e.text);
    if (e.kind == Event::Kind::phase_finished) finished.push_back("phase " + e.text);
    CHECK(e.seconds >= 0);
    if (e.kind == Event::Kind::epoch_finished && e.text == "second") {
      CHECK(e.epochs == 7);
      CHECK(e.loss == dr.history()[1].loss[static_cast<std::size_t>(e.epoch) - 1]);
      REQUIRE(e.components.size() == 1);
      CHECK(e.components[0].name == "main");
      if (e.report) reported.push_back(e.epoch);
    }
  }
  CHECK(started == std::vector<std::string>{"data set initialised", "computing derived data 'pca'",
                                            "computing global relations 'rel'", "indexing nearest neighbours",
                                            "calculating probabilities", "phase first", "phase second"});
  CHECK(finished == std::vector<std::string>{"data set initialised", "computing derived data 'pca'",
                                             "indexing nearest neighbours", "calculating probabilities",
                                             "computing global relations 'rel'", "phase first",
                                             "phase second"});
  CHECK(reported == std::vector<int>{1, 6, 7});
}

TEST_CASE("a row alone gives the bits it gives in a batch") {
  ParametricDR dr = routine();
  dr.train(data());
  const Tensor x = clouds(70, 6, 3, 99);
  const Tensor all = dr.apply(x);
  REQUIRE(all.shape() == Shape({70, 2}));
  CHECK(!all.requires_grad());
  for (const std::int64_t size : {1, 3, 64, 69, 70}) {
    CHECK(same_bits(dr.apply(x, {.batch_size = size}), all));
  }
  for (std::int64_t i = 0; i < 70; ++i) {
    const Tensor row = slice_rows(x, i, i + 1);
    CHECK(same_bits(dr.apply(row), slice_rows(all, i, i + 1)));
    CHECK(same_bits(dr.apply(reshape(row, {6})), slice_rows(all, i, i + 1)));
  }
  CHECK(same_bits(dr.apply(Dataset{{"features", x}}, {.key = "features"}), all));
  CHECK(same_bits(dr.apply(x.to(Dtype::float64)), all));
  CHECK(same_bits(dr.apply(x, {.method = "encode"}), all));
}

TEST_CASE("apply works from several threads and while training") {
  const Tensor x = clouds(30, 6, 3, 99);
  int during = 0;
  ParametricDR* self = nullptr;
  ParametricDR dr = routine({.on_event = [&](const Event& e) {
    if (e.kind == Event::Kind::epoch_finished) during += self->apply(x).size(0) == 30;
  }});
  self = &dr;
  dr.train(data());
  CHECK(during == 10);
  const Tensor expected = dr.apply(x);
  std::atomic<int> equal = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) equal += same_bits(dr.apply(x), expected);
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(equal == 40);
}

TEST_CASE("defaults fill what a phase leaves open") {
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 6}),
                   .losses = PositionLoss{.position_key = "main"},
                   .training_defaults = {.epochs = 3, .batch_size = 7, .optimizer = SGD{.momentum = 0.5}}});
  dr.add_training_phase({});
  dr.add_training_phase({.name = "own", .epochs = 9, .learning_rate = 0.5});
  const auto& phases = dr.training_phases();
  REQUIRE(phases.size() == 2);
  CHECK(phases[0].name == "phase 1");
  CHECK(phases[0].epochs == 3);
  CHECK(phases[0].batch_size == 7);
  CHECK(phases[0].learning_rate == 0.01);
  CHECK(phases[0].loss_keys == std::vector<std::string>{"loss"});
  CHECK(phases[1].name == "own");
  CHECK(phases[1].epochs == 9);
  CHECK(std::get<SGD>(phases[1].optimizer).momentum == 0.5);
}

TEST_CASE("phases and defaults may come with the options, and defaults may change on the way") {
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 6}),
                   .losses = PositionLoss{.position_key = "main"},
                   .training_defaults = {.batch_size = 7, .report_interval = 2},
                   .training_phases = {{.name = "init", .epochs = 3}, {.epochs = 4, .batch_size = 9}}});
  dr.set_training_defaults({.epochs = 8, .learning_rate = 0.02});
  dr.add_training_phase({});
  dr.set_training_defaults({.batch_size = 11});
  dr.add_training_phase({.learning_rate = 0.5});
  const auto& phases = dr.training_phases();
  REQUIRE(phases.size() == 4);
  CHECK(phases[0].name == "init");
  CHECK(phases[0].batch_size == 7);
  CHECK(phases[1].name == "phase 2");
  CHECK(phases[1].batch_size == 9);
  CHECK(phases[1].learning_rate == 0.01);  // added before the defaults changed
  CHECK(phases[2].epochs == 8);
  CHECK(phases[2].batch_size == 7);  // left open by the new defaults
  CHECK(phases[2].learning_rate == 0.02);
  CHECK(phases[3].batch_size == 11);
  CHECK(phases[3].epochs == 8);
  CHECK(phases[3].learning_rate == 0.5);
  CHECK(phases[3].report_interval == 2);
  CHECK(contains(error_of([] {
                   ParametricDR({.model = FullyConnectedEmbedder({.in_dim = 6}),
                                 .losses = PositionLoss{},
                                 .training_phases = {{.loss_keys = {"main"}}}});
                 }),
                 "training phase 'phase 1': no loss 'main'; the routine has 'loss'"));
}

TEST_CASE("a model may take another entry than 'main', and noise goes where it looks") {
  const Tensor x = clouds(90, 6, 3, 7), other = random_tensor({90, 6}, 8);
  const auto trained = [&](const std::string& key, const Dataset& dataset, double noise) {
    ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 6, .input_key = key}),
                     .derived_data = {{"pca", pca_of(key)}},
                     .losses = PositionLoss{},
                     .training_phases = {{.epochs = 2, .batch_size = 40, .input_noise = noise}}});
    dr.train(dataset);
    return dr.apply(dataset);
  };
  for (const double noise : {0.0, 0.5}) {
    const Tensor want = trained("main", x, noise);
    CHECK(same_bits(trained("pixels", {{"main", other}, {"pixels", x}}, noise), want));
    CHECK(same_bits(trained("pixels", {{"pixels", x}}, noise), want));
  }
  CHECK(!same_bits(trained("main", x, 0.5), trained("main", x, 0)));
  CHECK(contains(error_of([&] {
                   trained("pixel", {{"pixels", x}}, 0);
                 }),
                 "the FullyConnectedEmbedder needs the data entry 'pixel'"));
}

TEST_CASE("each epoch is the sum over its batches, each item once") {
  std::vector<std::int64_t> seen;
  int batches = 0;
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 6}), .losses = [&](const LossInput& input) {
                     ++batches;
                     for (const std::int64_t i : input.batch.index().to_vector<std::int64_t>())
                       seen.push_back(i);
                     return sum(input.embed()) * 0.0 + 1.0;
                   }});
  dr.add_training_phase({.epochs = 2, .batch_size = 40});
  dr.train(data());
  CHECK(batches == 6);
  CHECK(dr.history()[0].loss == std::vector<double>{3, 3});
  std::vector<std::int64_t> first(seen.begin(), seen.begin() + 90), second(seen.begin() + 90, seen.end());
  CHECK(first != second);
  // The order is the documented draw and nothing else.
  std::vector<std::int64_t> expected(90);
  kernels::random_permutation(kernels::Exec(), stream_of(42, StreamDomain::order, 0, 1), expected);
  CHECK(second == expected);
  std::ranges::sort(first);
  CHECK(first == Tensor::arange(90).to_vector<std::int64_t>());
}

TEST_CASE("batches per epoch limit an epoch") {
  int batches = 0;
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 6}), .losses = [&](const LossInput& input) {
                     ++batches;
                     return sum(input.embed());
                   }});
  dr.add_training_phase({.epochs = 1, .batch_size = 10, .batches_per_epoch = 4});
  dr.add_training_phase({.epochs = 1, .batch_size = 10, .batches_per_epoch = 400});
  dr.train(data());
  CHECK(batches == 13);
}

TEST_CASE("the cosine schedule falls from the learning rate to its fraction") {
  // Plain SGD on a gradient of 1: each step moves the bias by its learning rate.
  std::vector<double> bias;
  struct Bias : Model {
    Tensor b;
    Bias() { b = add_parameter("b", {1}, {}); }
    Tensor encode(const Tensor&) const override { return b * 1.0; }
    std::string name() const override { return "Bias"; }
    std::int64_t in_dim() const override { return -1; }
  };
  ParametricDR dr({.model = Bias(), .losses = [&](const LossInput& input) {
                     bias.push_back(input.model.parameters()[0].tensor.item());
                     return sum(input.embed());
                   }});
  dr.add_training_phase({.epochs = 2,
                         .batch_size = 45,
                         .optimizer = SGD{},
                         .learning_rate = 1,
                         .schedule = {.kind = LearningRateSchedule::Kind::cosine, .final_fraction = 0.5}});
  dr.train(data());
  bias.push_back(dr.model().parameters()[0].tensor.item());
  REQUIRE(bias.size() == 5);
  for (int s = 0; s < 4; ++s) {
    const double expected = 0.5 + 0.5 * (1 + std::cos(std::numbers::pi * s / 4)) / 2;
    CHECK(bias[static_cast<std::size_t>(s)] - bias[static_cast<std::size_t>(s) + 1] ==
          doctest::Approx(expected).epsilon(1e-5));
  }
}

TEST_CASE("derived data may use relations, and runs after them") {
  std::vector<std::string> stages;
  ParametricDR dr(
      {.model = FullyConnectedEmbedder({.in_dim = 6}),
       .global_relations = PDist{},
       .derived_data = {{"mean_dist",
                         {.from_relations =
                              [](const Dataset&, const RelationDataMap& relations, const RelationContext&) {
                                return flatland::mean(relations[0].second.to_square().values(), 1);
                              }}},
                        {"pca", pca_of("main", 2)}},
       .losses = PositionLoss{},
       .on_event = [&](const Event& e) {
         if (e.kind == Event::Kind::stage_started) stages.push_back(e.text);
       }});
  dr.add_training_phase({.epochs = 1});
  dr.train(data());
  CHECK(stages == std::vector<std::string>{"data set initialised", "computing derived data 'pca'",
                                           "computing global relations 'rel'",
                                           "computing derived data 'mean_dist'"});
  CHECK(dr.dataset()["mean_dist"].shape() == Shape({90}));
}

TEST_CASE("weights can be kept, and loaded after construction") {
  FullyConnectedEmbedder model({.in_dim = 6});
  model.initialize(77);
  const auto before = model.state();
  std::vector<Tensor> copies;
  for (const NamedTensor& p : before) copies.push_back(p.tensor.clone());
  const ParametricDR kept({.model = std::move(model), .initialize = false});
  for (std::size_t i = 0; i < copies.size(); ++i)
    CHECK(same_bits(kept.model().parameters()[i].tensor, copies[i]));
}

TEST_CASE("a batch of one item is no problem for a relation loss") {
  for (const bool fuse : {true, false}) {
    ParametricDR dr = routine({.fuse = fuse});
    dr.add_training_phase({.epochs = 1, .batch_size = 89, .loss_keys = {"main"}});  // 89 and 1
    dr.add_training_phase({.epochs = 1, .batch_size = 1, .loss_keys = {"main"}});
    dr.train(data());
    CHECK(std::isfinite(dr.history().back().loss.back()));
    for (const Tensor& p : parameters(dr)) CHECK(std::isfinite(sum(p).item()));
  }
}
