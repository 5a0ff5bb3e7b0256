#include <doctest/doctest.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/optim.h>
#include <flatland/models/autoencoder.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/device_steps.h"
#include "tests/support/errors.h"
#include "tests/support/parameter_names.h"

using namespace flatland;
using test::contains;
using test::error_of;

namespace {

Tensor some_data(std::int64_t rows, std::int64_t columns) {
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7 % 11) / 10;
  return Tensor::from(values, {rows, columns});
}

std::shared_ptr<const Autoencoder> small_autoencoder() {
  return std::make_shared<Autoencoder>(Autoencoder::Options{.in_dim = 6, .hidden_dims = {4}});
}

}  // namespace

TEST_CASE("an autoencoder's decoder mirrors its encoder") {
  const Autoencoder model({.in_dim = 12, .hidden_dims = {9, 5}, .latent_dim = 3});
  const auto all = model.parameters();
  REQUIRE(all.size() == 12);
  CHECK(all[0].name == "encoder.0.weight");
  CHECK(all[6].name == "decoder.0.weight");
  const std::vector<Shape> weights = {{9, 12}, {5, 9}, {3, 5}, {5, 3}, {9, 5}, {12, 9}};
  for (std::size_t i = 0; i < weights.size(); ++i) CHECK(all[2 * i].tensor.shape() == weights[i]);
  const Tensor x = some_data(4, 12);
  CHECK(model.embed(x).shape() == Shape{4, 3});
  CHECK(model.reconstruct(x).to_vector<float>() == model.decode(model.encode(x)).to_vector<float>());
  CHECK(contains(error_of([&] { model.classify(x); }), "Autoencoder: has no classify role"));
  CHECK(Autoencoder({.in_dim = 4, .hidden_dims = {}}).reconstruct(some_data(2, 4)).shape() == Shape{2, 4});
}

TEST_CASE("activations of an autoencoder stand after hidden layers, latent values and output") {
  const Tensor x = some_data(5, 6);
  const auto latent = [&](Activation activation) {
    return Autoencoder({.in_dim = 6, .hidden_dims = {4}, .latent_activation = activation}).encode(x);
  };
  // Equal weights: only the last activation tells them apart.
  const Tensor plain = latent({});
  CHECK(latent(activation::tanh).to_vector<float>() == tanh(plain).to_vector<float>());
  CHECK(latent(activation::sigmoid).to_vector<float>() == sigmoid(plain).to_vector<float>());
  CHECK(plain.to_vector<float>() != tanh(plain).to_vector<float>());

  const auto decoded = [&](Activation activation) {
    return Autoencoder({.in_dim = 6, .hidden_dims = {4}, .output_activation = activation}).decode(plain);
  };
  CHECK(decoded(activation::sigmoid).to_vector<float>() == sigmoid(decoded({})).to_vector<float>());

  // A chain of linear layers adds: f(a + b) + f(0) = f(a) + f(b).
  const auto bends = [&](Activation activation) {
    const Autoencoder model({.in_dim = 6, .hidden_dims = {4}, .activation = activation});
    const Tensor zero = model.encode(Tensor::zeros({5, 6}));
    return max_value(abs(model.encode(x * 2) + zero - model.encode(x) * 2));
  };
  CHECK(bends({}) < 1e-5);
  CHECK(bends(activation::tanh) > 1e-3);
}

TEST_CASE("a semi-supervised autoencoder classifies by its latent values") {
  const SemiSupervisedAutoencoder model({.in_dim = 6, .hidden_dims = {4}, .latent_dim = 3}, 2);
  const auto names = test::parameter_names(model);
  REQUIRE(names.size() == 10);
  CHECK(names[0] == "encoder.0.weight");
  CHECK(names[8] == "class_layer.weight");
  const Tensor x = some_data(5, 6);
  CHECK(model.classify(x).shape() == Shape{5, 2});
  CHECK(model.classify_shared(model.shared(x)).to_vector<float>() == model.classify(x).to_vector<float>());
  CHECK(model.embed_shared(model.shared(x)).to_vector<float>() == model.embed(x).to_vector<float>());
  // The labels' loss reaches the encoder, but not the decoder.
  cross_entropy(model.classify(x), Tensor::from<std::int64_t>({0, 1, 0, 1, 1})).backward();
  CHECK(max_value(abs(model.parameters()[0].tensor.grad())) > 0);
  CHECK(!model.parameters()[4].tensor.grad().defined());
  CHECK(contains(error_of([] { SemiSupervisedAutoencoder({.in_dim = 6}, 0); }), "n_classes is 0"));
}

TEST_CASE("a classifier sees the features it is asked to") {
  const auto autoencoder = small_autoencoder();
  const Tensor x = some_data(5, 6);
  const auto features = [&](Features which) {
    return FeatureClassifier({.autoencoder = autoencoder, .features = which, .n_classes = 3}).shared(x);
  };
  const Tensor z = autoencoder->encode(x), reconstruction = autoencoder->decode(z);
  CHECK(features(Features::raw).to_vector<float>() == x.to_vector<float>());
  CHECK(features(Features::latent).to_vector<float>() == z.to_vector<float>());
  CHECK(features(Features::reconstruction).to_vector<float>() == reconstruction.to_vector<float>());
  const Tensor all = features(Features::all);
  CHECK(all.shape() == Shape{5, 14});
  CHECK(column(all, 5).to_vector<float>() == column(x, 5).to_vector<float>());
  CHECK(column(all, 6).to_vector<float>() == column(z, 0).to_vector<float>());
  CHECK(column(all, 8).to_vector<float>() == column(reconstruction, 0).to_vector<float>());
}

TEST_CASE("a classifier of features leaves the autoencoder as it is") {
  const auto autoencoder = small_autoencoder();
  FeatureClassifier model({.autoencoder = autoencoder, .n_classes = 3, .hidden_dims = {7}, .dropout = 0.5});
  CHECK(model.parameter_count() == 14 * 7 + 7 + 7 * 3 + 3);
  const Tensor x = some_data(5, 6);
  sum(model.classify(x)).backward();
  CHECK(model.parameters()[0].tensor.grad().defined());
  CHECK(!autoencoder->parameters()[0].tensor.grad().defined());
  const std::vector<float> before = autoencoder->encode(x).to_vector<float>();
  model.initialize(9);
  CHECK(autoencoder->encode(x).to_vector<float>() == before);
}

TEST_CASE("a classifier of features drops hidden values only while it trains") {
  FeatureClassifier model({.autoencoder = small_autoencoder(), .n_classes = 3, .dropout = 0.5});
  const Tensor x = some_data(5, 6);
  CHECK(model.classify(x).to_vector<float>() != model.classify(x).to_vector<float>());
  model.eval();
  const Tensor logits = model.classify(x);
  CHECK(logits.to_vector<float>() == model.classify(x).to_vector<float>());
  CHECK(model.classify_shared(model.shared(x)).to_vector<float>() == logits.to_vector<float>());
  // Without a hidden layer there is nothing to drop.
  const FeatureClassifier linear({.autoencoder = small_autoencoder(),
                                  .features = Features::latent,
                                  .n_classes = 3,
                                  .hidden_dims = {},
                                  .dropout = 0.5});
  CHECK(linear.parameter_count() == 2 * 3 + 3);
}

TEST_CASE("autoencoders and their classifiers train as on the CPU on every device") {
  const Tensor x = some_data(21, 6);
  std::vector<std::int64_t> classes;
  for (std::int64_t i = 0; i < 21; ++i) classes.push_back(i * i % 3);
  const Tensor labels = Tensor::from(classes);
  const Autoencoder::Options options{.in_dim = 6,
                                     .hidden_dims = {5, 4},
                                     .activation = activation::elu(),
                                     .latent_activation = activation::tanh};
  test::check_steps([&](Device) { return Autoencoder(options); },
                    [&](const Autoencoder& model, Device device) {
                      return mse_loss(model.reconstruct(x.to(device)), x.to(device));
                    });
  test::check_steps([&](Device) { return SemiSupervisedAutoencoder(options, 3); },
                    [&](const SemiSupervisedAutoencoder& model, Device device) {
                      const Tensor data = x.to(device), z = model.encode(data);
                      return bce_loss(model.decode(z), data) +
                             0.1 * cross_entropy(model.classify_shared(z), labels.to(device));
                    });
  for (const Features features : {Features::raw, Features::latent, Features::reconstruction, Features::all}) {
    test::check_steps(
        [&](Device device) {
          const auto autoencoder = std::make_shared<Autoencoder>(options);
          autoencoder->to(device);
          return FeatureClassifier({.autoencoder = autoencoder,
                                    .features = features,
                                    .n_classes = 3,
                                    .hidden_dims = {7},
                                    .dropout = 0.3});
        },
        [&](const FeatureClassifier& model, Device device) {
          return cross_entropy(model.classify(x.to(device)), labels.to(device));
        });
  }
}

TEST_CASE("bad options of autoencoders and their classifiers are errors") {
  CHECK(contains(error_of([] { Autoencoder({}); }), "Autoencoder: in_dim is 0"));
  CHECK(contains(error_of([] { Autoencoder({.in_dim = 4, .latent_dim = 0}); }), "0 outputs"));
  CHECK(contains(error_of([] { FeatureClassifier({.n_classes = 2}); }), "autoencoder is missing"));
  CHECK(contains(error_of([] { FeatureClassifier({.autoencoder = small_autoencoder()}); }), "0 outputs"));
}
