#include <doctest/doctest.h>
#include <flatland/dr/draw.h>
#include <flatland/dr/parametric_dr.h>
#include <flatland/engine/ops.h>
#include <flatland/models/classifier.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

#include <cmath>
#include <limits>

using namespace flatland;
using namespace flatland::test;

namespace {

constexpr std::int64_t k_items = 6;

// A routine with one phase and given relations, whose loss counts its calls and breaks off at the third.
struct Draws {
  int calls = 0, stages = 0;
  ParametricDR dr;
  explicit Draws(TrainingPhase phase, Tensor square = Tensor::ones({k_items, k_items}))
      : dr({.model = FullyConnectedEmbedder({.in_dim = 2}),
            .global_relations = {{"kin", Precomputed{RelationData(SquareRelations{square})}}},
            .losses =
                [this](const LossInput& input) {
                  if (++calls == 3) throw Error("enough");
                  return mean(flatland::square(input.embed()));
                },
            .on_event = [this](const Event&) { ++stages; }}) {
    phase.name = "main";
    phase.edge_rel_key = "kin";
    dr.add_training_phase(std::move(phase));
  }
};

Dataset data_with(const Tensor& weights) {
  return {{"main", random_tensor({k_items, 2}, 1)}, {"weights", weights}};
}

std::string edges_error(const Tensor& square) {
  return error_of([&] {
    Draws scene({.epochs = 1, .batch_size = 4, .sampling = Sampling::negative_edge}, square);
    scene.dr.train(data_with(Tensor::ones({k_items})));
  });
}

std::string weights_error(const Tensor& weights) {
  return error_of([&] {
    Draws scene({.epochs = 1, .batch_size = 4, .sampling = Sampling::weighted});
    try {
      scene.dr.train(data_with(weights));
    } catch (...) {
      CHECK(scene.stages == 0);
      throw;
    }
  });
}

}  // namespace

TEST_CASE("relations that cannot be drawn from name the phase, their key and the items") {
  Tensor square = Tensor::ones({k_items, k_items});
  square.mutable_data<float>()[2 * k_items + 5] = -0.5f;
  CHECK(edges_error(square) ==
        "training phase 'main': the relations 'kin': the relation of items 2 and 5 is -0.5; it must be "
        "finite and "
        "not negative, for it is what draws go by");
  CHECK(edges_error(Tensor::zeros({k_items, k_items})) ==
        "training phase 'main': the relations 'kin' have no entries, so there are no edges to draw");
}

TEST_CASE(
    "weights that cannot be drawn from name the phase, their entry and the item, before relations are "
    "computed") {
  Tensor weights = Tensor::ones({k_items});
  weights.mutable_data<float>()[4] = -2;
  CHECK(weights_error(weights) ==
        "training phase 'main': entry 'weights': the weight of item 4 is -2; it must be finite and not "
        "negative, "
        "for it is what draws go by");
  CHECK(contains(weights_error(Tensor::zeros({k_items})),
                 "'main': entry 'weights': the 6 weights add up to 0; at least one must be above 0"));
  CHECK(contains(weights_error(Tensor::arange(k_items)),
                 "'main': entry 'weights': there must be a floating weight an item; got (6) of int64"));
  CHECK(contains(error_of([&] { static_cast<void>(weighted_items(weights, 3, 1)); }),
                 "weighted_items: the weight of item 4 is -2"));
}

TEST_CASE("a step draws what it needs and no more, however many follow") {
  for (const Sampling sampling : {Sampling::negative_edge, Sampling::weighted}) {
    Draws scene(
        {.epochs = 1, .batch_size = 1000, .batches_per_epoch = std::int64_t{1} << 30, .sampling = sampling});
    CHECK(error_of([&] { scene.dr.train(data_with(Tensor::ones({k_items}))); }) == "enough");
  }
}

TEST_CASE("sizes beyond all bounds are named when the phase is added") {
  const std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  const auto error = [](const TrainingPhase& phase) { return error_of([&] { Draws scene(phase); }); };
  for (const Sampling sampling : {Sampling::negative_edge, Sampling::weighted})
    CHECK(contains(error({.batches_per_epoch = huge, .sampling = sampling}),
                   "training phase 'main': batches_per_epoch is 9223372036854775807"));
  CHECK(contains(error({.batch_size = huge, .sampling = Sampling::negative_edge}),
                 "training phase 'main': batch_size is 9223372036854775807 edges"));
  CHECK(contains(
      error({.batch_size = 1000000, .batches_per_epoch = 10000000, .sampling = Sampling::negative_edge}),
      "batch_size is 1000000 edges and batches_per_epoch 10000000"));
  CHECK(contains(
      error({.sampling = Sampling::negative_edge, .neg_sampling_rate = std::numeric_limits<int>::max()}),
      "neg_sampling_rate is 2147483647; it must be 0 to 100000"));
  CHECK(error({.batch_size = huge, .sampling = Sampling::weighted}) == "");
}

// The same items are drawn on every device, so that losses differ by rounding alone.
TEST_CASE("weighted items train as on the CPU, step by step and recorded, on every device") {
  const std::int64_t n = 60;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(i % 3);
  const Dataset data{
      {"main", clouds(n, 4, 3, 1)}, {"labels", Tensor::from(labels)}, {"weights", random_tensor({n}, 2)}};
  const auto losses = [&](Device device) {
    ParametricDR dr({.model = Classifier({.in_dim = 4, .n_classes = 3, .hidden_dims = {8}}),
                     .losses = ClassificationLoss{},
                     .device = device});
    dr.add_training_phase({.epochs = 5, .batch_size = 16, .sampling = Sampling::weighted});
    dr.train(data);
    return dr.history()[0].loss;
  };
  const std::vector<double> want = losses(Device::cpu);
  CHECK(want[4] < 0.9 * want[0]);
  for (const Device device : devices()) {
    const std::vector<double> got = losses(device);
    for (std::size_t e = 0; e < 5; ++e) CHECK(got[e] == doctest::Approx(want[e]).epsilon(1e-4));
  }
}
