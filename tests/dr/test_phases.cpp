// What phases and their losses see of the data, of noise and of a listener's stop.
#include <doctest/doctest.h>
#include <flatland/dr/routines.h>
#include <flatland/engine/ops.h>
#include <flatland/models/autoencoder.h>
#include <flatland/models/classifier.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

#include <memory>
#include <string>
#include <vector>

using namespace flatland;
using namespace flatland::test;

namespace {

Dataset some_data(std::int64_t n) {
  return {{"main", random_tensor({n, 4}, 1)}, {"target", random_tensor({n, 2}, 2)}};
}

// Calls of an autoencoder's encoder.
class Counting : public Autoencoder {
 public:
  Counting() : Autoencoder({.in_dim = 4, .hidden_dims = {3}}) {}
  Tensor encode(const Tensor& x) const override {
    ++calls;
    return Autoencoder::encode(x);
  }
  mutable int calls = 0;
};

}  // namespace

TEST_CASE("what a loss computes without gradients, later losses compute with them") {
  HybridEmbedder model({.in_dim = 4, .n_classes = 3, .hidden_dims = {5}});
  const Dataset data{{"main", random_tensor({9, 4}, 1)},
                     {"target", random_tensor({9, 2}, 2)},
                     {"labels", Tensor::zeros({9}, Dtype::int64)}};
  const Batch batch(data, Tensor::arange(9));
  const auto gradients = [&](bool look_first) {
    const RelationDataMap global;
    const RelationMap relations;
    const RelationContext context;
    const LossInput input{model, batch, global, relations, context};
    if (look_first) {
      const NoGrad no_grad;
      input.embed();
      input.embed("encode");
      input.classify();
    }
    const PositionLoss position{.position_key = "target"},
        code{.position_key = "target", .embedding_method = "encode"};
    model.zero_grad();
    (position(input) + code(input) + ClassificationLoss{}(input)).backward();
    std::vector<double> all;
    for (const NamedTensor& p : model.parameters()) {
      REQUIRE(p.tensor.grad().defined());
      for (const double g : p.tensor.grad().to_vector<double>()) all.push_back(g);
    }
    return all;
  };
  CHECK(gradients(true) == gradients(false));
}

TEST_CASE("a reconstruction shares the encoder's run with the other losses") {
  const auto model = std::make_shared<Counting>();
  ParametricDR dr({.model = model,
                   .losses = CompoundLoss{
                       {{"again", ReconstructionLoss{}}, {"near", PositionLoss{.position_key = "target"}}}}});
  dr.add_training_phase({.epochs = 1, .batch_size = 30});
  dr.train(some_data(30));
  CHECK(model->calls == 1);
}

TEST_CASE("noise is added to what the model takes and to nothing that its output is compared with") {
  const Dataset data = some_data(30);
  for (const Device device : devices()) {
    int calls = 0;
    const auto clean = [&](const Tensor&, const Tensor& x) {
      ++calls;
      return same_bits(x, data["main"]);
    };
    const auto loss = [&](const LossInput& input) {
      CHECK(!same_bits(input.items(), data["main"]));
      CHECK(same_bits(input.batch["main"], data["main"]));
      return ReconstructionLoss{.f = [&](const Tensor& again, const Tensor& x) {
        CHECK(clean(again, x));
        CHECK(same_bits(again, input.model.decode(input.model.encode(input.items()))));
        return mse_loss(again, x);
      }}(input);
    };
    ParametricDR dr(
        {.model = Autoencoder({.in_dim = 4, .hidden_dims = {3}}), .losses = Loss(loss), .device = device});
    dr.add_training_phase({.epochs = 2, .sampling = Sampling::whole, .input_noise = 0.1});
    dr.train(data);
    CHECK(calls == 2);
  }
}

TEST_CASE("a batch of all items is the data set itself") {
  const Dataset data = some_data(30);
  const auto loss = [&](const LossInput& input) {
    CHECK(input.batch["main"].data<float>() == data["main"].data<float>());
    return mean(square(input.embed()));
  };
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 4}), .losses = Loss(loss)});
  dr.add_training_phase({.epochs = 2, .sampling = Sampling::whole});
  dr.train(data);
}

TEST_CASE("a falling learning rate goes on where it was when the data changes") {
  // Plain SGD on a gradient of 1: each step moves the bias by its learning rate.
  std::vector<double> bias;
  const auto loss = [&](const LossInput& input) {
    const Tensor b = input.model.parameters()[1].tensor;
    bias.push_back(b.item());
    return sum(b);
  };
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 4, .hidden_dims = {}, .out_dim = 1}),
                   .losses = Loss(loss)});
  dr.add_training_phase({.epochs = 10,
                         .batch_size = 20,
                         .optimizer = SGD{},
                         .learning_rate = 1,
                         .schedule = {.kind = LearningRateSchedule::Kind::cosine}});
  dr.prepare(some_data(60));
  dr.run_epochs(5);
  bias.clear();
  dr.prepare(some_data(120));
  dr.run_epochs(5);
  REQUIRE(bias.size() == 30);
  CHECK(bias[0] - bias[1] == doctest::Approx(0.5).epsilon(1e-5));
  CHECK(bias[28] - bias[29] < 0.02);
}

TEST_CASE("derived entries come to the model's type and device, and are as wide as it takes") {
  for (const Device device : devices()) {
    FullyConnectedEmbedder model({.in_dim = 4});
    model.to(Dtype::float64);
    const auto narrow = [](const Dataset& data) {
      return column(data["raw"].to(Dtype::float32).to(Device::cpu), 0);
    };
    const auto wide = [](const Dataset& data) { return data["raw"].to(Dtype::float32).to(Device::cpu); };
    ParametricDR dr({.model = std::move(model),
                     .derived_data = {{"main", {.from_data = wide}}, {"first", {.from_data = narrow}}},
                     .losses = PositionLoss{.position_key = "target"},
                     .device = device});
    dr.add_training_phase({.epochs = 1});
    const Tensor raw = random_tensor({30, 4}, 1), target = random_tensor({30, 2}, 2);
    dr.train({{"raw", raw}, {"target", target}});
    for (const char* key : {"main", "first"}) {
      CHECK(dr.dataset()[key].dtype() == Dtype::float64);
      CHECK(dr.dataset()[key].device() == device);
    }
    CHECK(contains(error_of([&] {
                     dr.prepare({{"raw", random_tensor({30, 5}, 1)}, {"target", target}});
                   }),
                   "train: the data 'main' is (30, 5) but the model takes 4 columns"));
  }
}

TEST_CASE("triangular relations become square once on a GPU, not in each step") {
  for (const Device device : devices()) {
    ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 4}),
                     .global_relations = {{"near", PDist{}}, {"given", PDist{}}},
                     .losses = PositionLoss{.position_key = "target"},
                     .device = device});
    const RelationData given = TriangularRelations{random_tensor({30 * 29 / 2}, 3), 30};
    dr.set_global_relation_data({{"given", given}});
    dr.prepare(some_data(30));
    for (const auto& [key, relations] : dr.global_relation_data()) {
      CHECK((relations.get_if<SquareRelations>() != nullptr) == (device == Device::cuda));
      CHECK(relations.symmetric());
      const Tensor square = relations.to_square().values();
      if (key == "given") CHECK(same_bits(square, given.to_square().values()));
    }
  }
}

TEST_CASE("derived data does not replace what is given") {
  int stages = 0;
  const auto with_pca = [](const Tensor& x) {
    return Dataset{{"main", x}, {"pca", random_tensor({x.size(0), 2}, 5)}};
  };
  ParametricTSNE tsne({.in_dim = 4, .perplexity = 5, .on_event = [&](const Event&) { ++stages; }});
  CHECK(contains(error_of([&] { tsne.train(with_pca(clouds(40, 4, 2, 1))); }),
                 "train: the data set has an entry 'pca', which derived data would replace"));
  CHECK(stages == 0);
}

TEST_CASE("a stop while a routine prepares ends the call before the first epoch, once") {
  bool asked = false;
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 4}),
                   .global_relations = PDist{},
                   .losses = PositionLoss{.position_key = "target"},
                   .on_event = [&](const Event& e) {
                     if (asked || e.text != "computing global relations 'rel'") return true;
                     asked = true;
                     return false;
                   }});
  dr.add_training_phase({.epochs = 3});
  dr.train(some_data(30));
  CHECK(asked);
  CHECK(!dr.trained());
  CHECK(dr.history().empty());
  dr.train(some_data(30));
  CHECK(dr.trained());
  CHECK(dr.history()[0].loss.size() == 3);
}
