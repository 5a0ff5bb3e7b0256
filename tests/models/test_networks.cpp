#include <doctest/doctest.h>
#include <flatland/models/autoencoder.h>
#include <flatland/models/classifier.h>
#include <flatland/models/coordinate_table.h>
#include <flatland/models/fully_connected_embedder.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/parameter_names.h"
#include "tests/support/random_tensor.h"

using namespace flatland;
using test::contains;
using test::error_of;

TEST_CASE("the fully connected embedder has ParaDime's layers and names") {
  const FullyConnectedEmbedder model({.in_dim = 784});
  CHECK(test::parameter_names(model) == std::vector<std::string>{"layers.0.weight", "layers.0.bias",
                                                                 "layers.1.weight", "layers.1.bias",
                                                                 "layers.2.weight", "layers.2.bias"});
  CHECK(model.parameter_count() == 784 * 100 + 100 + 100 * 50 + 50 + 50 * 2 + 2);
  CHECK(model.in_dim() == 784);
  const Tensor x = Tensor::ones({3, 784});
  CHECK(model.embed(x).shape() == Shape{3, 2});
  CHECK(model.embed(x).to_vector<float>() == model.encode(x).to_vector<float>());
  CHECK(contains(error_of([&] { model.classify(x); }), "FullyConnectedEmbedder: has no classify role"));
  const FullyConnectedEmbedder deep(
      {.in_dim = 4, .hidden_dims = {5, 6, 7}, .out_dim = 3, .activation = activation::relu});
  CHECK(deep.parameters().size() == 8);
  const FullyConnectedEmbedder linear_only({.in_dim = 4, .hidden_dims = {}});
  CHECK(linear_only.embed(Tensor::ones({1, 4})).shape() == Shape{1, 2});
}

TEST_CASE("every parameter starts from its own draws") {
  const FullyConnectedEmbedder model({.in_dim = 6, .hidden_dims = {6, 6}, .out_dim = 6});
  const auto all = model.parameters();
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(all[i].tensor.at(0) != all[j].tensor.at(0));
  }
}

TEST_CASE("the hybrid shares its trunk between embedding and classes") {
  HybridEmbedder model({.in_dim = 12, .n_classes = 10, .hidden_dims = {9, 5}});
  CHECK(test::parameter_names(model) == std::vector<std::string>{"layers.0.weight", "layers.0.bias",
                                                                 "layers.1.weight", "layers.1.bias",
                                                                 "emb_layer.weight", "emb_layer.bias",
                                                                 "class_layer.weight", "class_layer.bias"});
  const Tensor x = Tensor::ones({3, 12});
  CHECK(model.embed(x).shape() == Shape{3, 2});
  CHECK(model.classify(x).shape() == Shape{3, 10});
  sum(model.classify(x)).backward();
  CHECK(model.parameters()[0].tensor.grad().defined());
  CHECK(!model.parameters()[4].tensor.grad().defined());
  // The trunk ends with its activation: softplus keeps the heads' inputs positive.
  std::vector<NamedTensor> state = model.state();
  for (NamedTensor& p : state) {
    if (p.name == "emb_layer.weight") p.tensor.fill(1);
    if (p.name == "emb_layer.bias") p.tensor.fill(0);
  }
  model.load_state(state);
  CHECK(model.embed(x).at(0) > 0);
}

TEST_CASE("the classifier gives logits") {
  const Classifier model({.in_dim = 12, .n_classes = 3, .hidden_dims = {9}});
  CHECK(model.classify(Tensor::ones({3, 12})).shape() == Shape{3, 3});
  CHECK(contains(error_of([&] { model.embed(Tensor::ones({3, 12})); }), "Classifier: has no embed"));
}

TEST_CASE("models move into handles") {
  const ModelHandle handle = FullyConnectedEmbedder({.in_dim = 4});
  CHECK(handle->embed(Tensor::ones({1, 4})).shape() == Shape{1, 2});
  CHECK(handle->parameters().size() == 6);
}

TEST_CASE("roles of networks and their gradients are those of the CPU on every device") {
  struct Case {
    std::string name;
    std::function<ModelHandle()> model;
    Tensor (Model::*role)(const Tensor&) const;
    Tensor input;
  };
  const Tensor x = test::random_tensor({21, 7}, -1, 1, 0, Dtype::float32);
  const Tensor items = Tensor::from(std::vector<std::int64_t>{4, 0, 4, 2, 4});
  const auto embedder = [] { return ModelHandle(FullyConnectedEmbedder({.in_dim = 7})); };
  const auto classifier = [] { return ModelHandle(Classifier({.in_dim = 7, .n_classes = 3})); };
  const auto hybrid = [] { return ModelHandle(HybridEmbedder({.in_dim = 7, .n_classes = 3})); };
  const auto table = [] { return ModelHandle(CoordinateTable({.items = 5})); };
  const auto run = [](const Case& c, Device device) {
    const ModelHandle model = c.model();
    model->initialize(3);
    model->to(device);
    const Tensor y = ((*model).*c.role)(c.input.to(device));
    CHECK(y.device() == device);
    sum(y * y).backward();
    std::vector<double> all = y.to_vector<double>();
    for (const NamedTensor& p : model->parameters()) {
      if (!p.tensor.grad().defined()) continue;
      const auto grad = p.tensor.grad().to_vector<double>();
      all.insert(all.end(), grad.begin(), grad.end());
    }
    return all;
  };
  for (const Case& c : {Case{"embedder", embedder, &Model::embed, x},
                        {"classifier", classifier, &Model::classify, x},
                        {"hybrid", hybrid, &Model::embed, x},
                        {"hybrid's classes", hybrid, &Model::classify, x},
                        {"coordinates of items that repeat", table, &Model::embed, items}}) {
    const std::vector<double> want = run(c, Device::cpu);
    for (const Device device : test::devices()) {
      INFO(c.name, " on ", std::string(name(device)));
      const std::vector<double> got = run(c, device);
      REQUIRE(got.size() == want.size());
      for (std::size_t i = 0; i < want.size(); ++i)
        CHECK(std::abs(got[i] - want[i]) <= 1e-5 * std::max(1.0, std::abs(want[i])));
    }
  }
}

TEST_CASE("models are replayed, but classes derived from them only where they say so") {
  struct Mine : FullyConnectedEmbedder {
    Mine() : FullyConnectedEmbedder({.in_dim = 4}) {}
  };
  struct MyClassifier : Classifier {
    MyClassifier() : Classifier({.in_dim = 4, .n_classes = 2}) {}
  };
  struct MyTable : CoordinateTable {
    MyTable() : CoordinateTable({.items = 3}) {}
  };
  struct MyAutoencoder : Autoencoder {
    MyAutoencoder() : Autoencoder({.in_dim = 4}) {}
  };
  CHECK(FullyConnectedEmbedder({.in_dim = 4}).replayable());
  CHECK(Classifier({.in_dim = 4, .n_classes = 2}).replayable());
  CHECK(CoordinateTable({.items = 3}).replayable());
  CHECK(Autoencoder({.in_dim = 4}).replayable());
  CHECK(SemiSupervisedAutoencoder({.in_dim = 4}, 2).replayable());
  CHECK(!Mine().replayable());
  CHECK(!MyClassifier().replayable());
  CHECK(!MyTable().replayable());
  CHECK(!MyAutoencoder().replayable());
}

TEST_CASE("bad sizes are errors") {
  CHECK(contains(error_of([] { FullyConnectedEmbedder({}); }), "in_dim is 0"));
  CHECK(contains(error_of([] { FullyConnectedEmbedder({.in_dim = 4, .hidden_dims = {0}}); }), "0 outputs"));
  CHECK(contains(error_of([] { Classifier({.in_dim = 4}); }), "0 outputs"));
  CHECK(contains(error_of([] { HybridEmbedder({.in_dim = 4}); }), "n_classes 0"));
  CHECK(contains(error_of([] { HybridEmbedder({.in_dim = 4, .n_classes = 2, .hidden_dims = {}}); }),
                 "hidden_dims is empty"));
}
