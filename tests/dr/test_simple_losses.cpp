#include <doctest/doctest.h>
#include <flatland/dr/losses.h>
#include <flatland/engine/ops.h>

#include "tests/support/devices.h"
#include "tests/support/mirror_model.h"
#include "tests/support/tensors.h"

#include <utility>

using namespace flatland;
using namespace flatland::test;

namespace {

Tensor correlation_loss(const Tensor& attribute, const Tensor& coordinate) {
  MirrorModel model;
  const Dataset data{{"main", coordinate.detach()}, {"attribute", attribute}};
  Batch batch(data, Tensor::arange(attribute.size(0)).to(attribute.device()));
  batch.replace("main", coordinate);
  return CorrelationLoss{.data_key = "attribute"}(LossInput{model, batch, {}, {}, {}});
}

}  // namespace

// Against the same values in float64, near 0 and of deviation 1.
TEST_CASE("correlations in float32 are right at any scale and distance from 0, on every device") {
  const std::int64_t n = 500;
  const Tensor u = random_tensor({n, 1}, 3, Dtype::float64), v = random_tensor({n, 1}, 4, Dtype::float64);
  struct Move {
    double factor, offset;
  };
  for (const Device device : devices())
    for (const Move& move :
         {Move{1, 0}, Move{1, 1e6}, Move{1e20, 0}, Move{1.5e38, 0}, Move{1e-30, 0}, Move{1e-3, -1e4}}) {
      const auto moved = [&](const Tensor& t) {
        return (t * move.factor + move.offset).to(Dtype::float32).to(device);
      };
      const auto back = [&](const Tensor& t) {
        return ((t.detach().to(Dtype::float64) - move.offset) / move.factor).detach();
      };
      const Tensor x = moved(u);
      Tensor y = moved(u + v);
      y.requires_grad(true);
      Tensor near = back(y);
      near.requires_grad(true);
      const Tensor loss = correlation_loss(x, y), want = correlation_loss(back(x), near);
      loss.backward();
      want.backward();
      CAPTURE(move.factor);
      CAPTURE(move.offset);
      CHECK(want.item() < 0.8);
      CHECK(loss.item() == doctest::Approx(want.item()).epsilon(1e-6));
      if (move.factor > 1e30) continue;  // the gradient is too small for float32
      check_close(y.grad().to(Dtype::float64) * move.factor, near.grad(), 1e-5, 1e-4);
    }
}

TEST_CASE("a column of one value has no correlation and no gradient in float32, on every device") {
  for (const Device device : devices())
    for (const bool attribute : {false, true}) {
      const Tensor constant = Tensor::full({333, 1}, 3.3, Dtype::float32, device);
      const Tensor varies = random_tensor({333, 1}, 3).to(device);
      Tensor y = (attribute ? varies : constant).clone();
      y.requires_grad(true);
      const Tensor loss = correlation_loss(attribute ? constant : varies, y);
      loss.backward();
      CHECK(loss.item() == 1);
      for (const double g : y.grad().to_vector<double>()) CHECK(g == 0);
    }
}
