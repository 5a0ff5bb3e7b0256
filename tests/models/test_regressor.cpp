#include <doctest/doctest.h>
#include <flatland/engine/optim.h>
#include <flatland/models/regressor.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/support/device_steps.h"
#include "tests/support/errors.h"
#include "tests/support/parameter_names.h"
#include "tests/support/random_tensor.h"

using namespace flatland;
using test::contains;
using test::error_of;

namespace {

LabelEmbeddingRegressor onto_labels(bool learned, double max_norm = 0) {
  return LabelEmbeddingRegressor({.in_dim = 4,
                                  .n_classes = 3,
                                  .hidden_dims = {8},
                                  .activation = activation::relu,
                                  .learned = learned,
                                  .max_norm = max_norm});
}

const Tensor k_labels = Tensor::from<std::int64_t>({2, 0, 1, 2, 2, 0});

Tensor items() {
  return test::random_tensor({6, 4}, -1, 1, 0, Dtype::float32);
}

// The smallest distance between two labels after some steps on a loss.
template <class Loss>
double apart_after_training(LabelEmbeddingRegressor& model, Loss loss) {
  const auto sgd = make_optimizer(SGD{}, tensors_of(model.parameters()), 0.1);
  for (int step = 0; step < 2000; ++step) {
    sgd->zero_grad();
    loss(model).backward();
    sgd->step();
  }
  const std::vector<double> t = model.table().to_vector<double>();
  return std::min({std::hypot(t[0] - t[2], t[1] - t[3]), std::hypot(t[0] - t[4], t[1] - t[5]),
                   std::hypot(t[2] - t[4], t[3] - t[5])});
}

}  // namespace

TEST_CASE("a mean and a variance come from one trunk") {
  const MeanVarianceRegressor model({.in_dim = 4, .hidden_dims = {6, 5}, .activation = activation::relu});
  CHECK(test::parameter_names(model) ==
        std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias",
                                 "mean.weight", "mean.bias", "variance.weight", "variance.bias"});
  const auto [mean, variance] = model.predict(items());
  CHECK(mean.shape() == Shape{6, 2});
  CHECK(variance.shape() == Shape{6, 2});
  CHECK(mean.to_vector<double>() == model.embed(items()).to_vector<double>());
  for (const double v : variance.to_vector<double>()) CHECK(v > 0);
  gaussian_nll_loss(mean, Tensor::zeros({6, 2}), variance).backward();
  for (const NamedTensor& p : model.parameters()) CHECK(p.tensor.grad().defined());
}

TEST_CASE("a regressor learns how far its mean is off") {
  // Targets of +-1 and of +-3 that nothing tells apart: variances 1 and 9.
  MeanVarianceRegressor model({.in_dim = 1, .hidden_dims = {4}, .activation = activation::tanh});
  const Tensor x = Tensor::of({{0}, {0}, {1}, {1}});
  const Tensor y = Tensor::of({{1, 1}, {-1, -1}, {3, 3}, {-3, -3}});
  const auto adam = make_optimizer(Adam{}, tensors_of(model.parameters()), 0.02);
  for (int step = 0; step < 3000; ++step) {
    adam->zero_grad();
    const auto [mean, variance] = model.predict(x);
    gaussian_nll_loss(mean, y, variance).backward();
    adam->step();
  }
  const auto [mean, variance] = model.predict(x);
  for (std::int64_t i = 0; i < 4; ++i) {
    CHECK(std::abs(mean.at(i, 0)) < 0.1);
    CHECK(variance.at(i, 0) == doctest::Approx(i < 2 ? 1 : 9).epsilon(0.05));
  }
}

TEST_CASE("the nearest label has the largest logit") {
  const LabelEmbeddingRegressor model = onto_labels(false);
  const Tensor places = model.embed(items()), logits = model.classify(items());
  REQUIRE(logits.shape() == Shape{6, 3});
  for (std::int64_t i = 0; i < 6; ++i) {
    for (std::int64_t c = 0; c < 3; ++c) {
      const double dx = places.at(i, 0) - model.table().at(c, 0),
                   dy = places.at(i, 1) - model.table().at(c, 1);
      CHECK(logits.at(i, c) == doctest::Approx(-(dx * dx + dy * dy)).epsilon(1e-5));
    }
  }
}

TEST_CASE("a label embedding is fixed, or learned along") {
  const LabelEmbeddingRegressor fixed = onto_labels(false), learned = onto_labels(true);
  CHECK(test::parameter_names(fixed).back() == "labels.weight");
  CHECK(fixed.targets(k_labels).at(0, 1) == fixed.table().at(2, 1));
  for (const LabelEmbeddingRegressor* model : {&fixed, &learned}) {
    mse_loss(model->embed(items()), model->targets(k_labels)).backward();
    cross_entropy(model->classify(items()), k_labels).backward();
    CHECK(model->parameters()[0].tensor.grad().defined());
    CHECK(model->table().grad().defined() == (model == &learned));
  }
  const LabelEmbeddingRegressor shortened = onto_labels(true, 0.5);
  const Tensor targets = shortened.targets(k_labels);
  for (std::int64_t i = 0; i < 6; ++i) CHECK(std::hypot(targets.at(i, 0), targets.at(i, 1)) < 0.501);
}

TEST_CASE("a learned table shrinks where nothing holds its labels apart") {
  const auto pull = [](const LabelEmbeddingRegressor& model) {
    return mse_loss(model.embed(items()), model.targets(k_labels));
  };
  const auto pull_and_push = [&](const LabelEmbeddingRegressor& model) {
    return pull(model) + cross_entropy(model.classify(items()), k_labels);
  };
  // Items that nothing tells apart: the best place for all is one.
  const auto alike = [](const LabelEmbeddingRegressor& model) {
    return mse_loss(model.embed(Tensor::ones({6, 4})), model.targets(k_labels));
  };
  LabelEmbeddingRegressor shrunk = onto_labels(true), bounded = onto_labels(true, 1),
                          held = onto_labels(true);
  CHECK(apart_after_training(shrunk, alike) < 1e-3);
  CHECK(apart_after_training(bounded, alike) < 1e-3);
  CHECK(apart_after_training(held, pull_and_push) > 1);
}

TEST_CASE("regressors train as on the CPU on every device") {
  test::check_steps(
      [](Device) {
        return MeanVarianceRegressor({.in_dim = 4, .hidden_dims = {8, 5}});
      },
      [](const MeanVarianceRegressor& model, Device device) {
        const auto [mean, variance] = model.predict(items().to(device));
        return gaussian_nll_loss(mean, Tensor::ones({6, 2}).to(device), variance);
      });
  for (const double max_norm : {0.0, 0.5}) {
    for (const bool learned : {false, true}) {
      test::check_steps([&](Device) { return onto_labels(learned, max_norm); },
                        [](const LabelEmbeddingRegressor& model, Device device) {
                          const Tensor places = model.shared(items().to(device)),
                                       labels = k_labels.to(device);
                          return mse_loss(places, model.targets(labels)) +
                                 cross_entropy(model.classify_shared(places), labels);
                        });
    }
  }
}

TEST_CASE("bad sizes of regressors are errors") {
  CHECK(contains(error_of([] { MeanVarianceRegressor({}); }), "MeanVarianceRegressor: in_dim is 0"));
  CHECK(contains(error_of([] { MeanVarianceRegressor({.in_dim = 4, .hidden_dims = {}}); }),
                 "hidden_dims is empty"));
  CHECK(contains(error_of([] { MeanVarianceRegressor({.in_dim = 4, .out_dim = 0}); }), "out_dim is 0"));
  CHECK(contains(error_of([] { LabelEmbeddingRegressor({.in_dim = 4}); }), "n_classes is 0"));
  CHECK(contains(error_of([] { LabelEmbeddingRegressor({.n_classes = 4}); }), "in_dim is 0"));
}
