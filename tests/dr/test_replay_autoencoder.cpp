// An epoch of the autoencoder course's main model on digits 3 and 7, step by step, under three optimizers.
#include <doctest/doctest.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/optim.h>
#include <flatland/models/autoencoder.h>

#include "tests/support/replay.h"
#include "tests/support/tensors.h"
#include "tests/support/ulps.h"

#include <algorithm>
#include <cmath>

using namespace flatland;
using namespace flatland::test;

namespace {

Tensor images_of_3_and_7(const Dataset& mnist) {
  const std::vector<std::int64_t> labels = mnist["labels"].to_vector<std::int64_t>();
  std::vector<std::int64_t> items;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == 3 || labels[i] == 7) items.push_back(static_cast<std::int64_t>(i));
  }
  return gather_rows(mnist["main"], Tensor::from(items));
}

// The largest relative deviation from the reference's losses, which PyTorch 1.13 found in float64.
double worst_deviation(Optimizer& optimizer, const Autoencoder& model, const Tensor& images,
                       const std::string& expected_losses) {
  constexpr std::int64_t k_batch = 64;
  const Tensor order = golden("replay_autoencoder/perm").to(Dtype::int64);
  const Tensor expected = golden("replay_autoencoder/" + expected_losses);
  double worst = 0;
  for (std::int64_t step = 0; step < expected.numel(); ++step) {
    const std::int64_t end = std::min((step + 1) * k_batch, order.numel());
    const Tensor x = gather_rows(images, slice_rows(order, step * k_batch, end));
    optimizer.zero_grad();
    const Tensor loss = mse_loss(model.reconstruct(x), x);
    loss.backward();
    optimizer.step();
    worst = test::worse(worst, std::abs(loss.item() / expected.at(step) - 1));
  }
  return worst;
}

}  // namespace

TEST_CASE("an autoencoder follows the reference's losses step by step") {
  const std::optional<Dataset> mnist = replayed_mnist(20000);
  if (!mnist) return;
  const Tensor images = images_of_3_and_7(*mnist);
  REQUIRE(images.size(0) == 4169);
  Autoencoder model({.in_dim = 784});
  const auto worst = [&](const auto& recipe, double learning_rate, const std::string& losses) {
    load_first_weights(model, "replay_autoencoder");
    const auto optimizer = make_optimizer(recipe, tensors_of(model.parameters()), learning_rate);
    return worst_deviation(*optimizer, model, images, losses);
  };
  // float32 against float64.
  CHECK(worst(SGD{}, 0.25, "sgd_loss") < 1e-5);
  CHECK(worst(RMSprop{}, 0.001, "rmsprop_loss") < 1e-5);
  CHECK(worst(Adam{}, 0.001, "adam_loss") < 1e-5);
  const NoGrad no_grad;
  check_close(model.encode(slice_rows(images, 0, 200)), golden("replay_autoencoder/z_after_adam"), 1e-3, 1);
}
