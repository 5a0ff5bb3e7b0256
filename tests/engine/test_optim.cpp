#include <doctest/doctest.h>
#include <flatland/engine/optim.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/ulps.h"

using namespace flatland;
using test::contains;
using test::error_of;
using test::golden;

namespace {

// Parameters as one list, in the order W1, b1, W2, b2.
std::vector<double> flat(const Module& net) {
  std::vector<double> all;
  for (const NamedTensor& p : net.parameters()) {
    const std::vector<double> values = p.tensor.to_vector<double>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

void set_flat(Module& net, const Tensor& values) {
  std::vector<NamedTensor> state = net.state();
  std::int64_t at = 0;
  for (NamedTensor& p : state) {
    const std::int64_t n = p.tensor.numel();
    p.tensor = reshape(slice_rows(values, at, at + n), p.tensor.shape()).to(p.tensor.dtype());
    at += n;
  }
  net.load_state(state);
}

// Fixture "optimizers": MLP 4-8-3, tanh, MSE, 50 full-batch steps of torch 1.13 in float64.
template <class Recipe>
void follows_torch(const std::string& name, const Recipe& recipe, double lr, Dtype dtype, double tolerance) {
  INFO(name << ' ' << flatland::name(dtype));
  Sequential net({4, 8, 3}, activation::tanh);
  net.to(dtype);
  set_flat(net, golden("optimizers/init"));
  const Tensor x = golden("optimizers/X").to(dtype), y = golden("optimizers/Y").to(dtype);
  const Tensor trajectory = golden("optimizers/traj_" + name), losses = golden("optimizers/loss_" + name);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(recipe, tensors_of(net.parameters()), lr);
  double worst = 0;
  for (std::int64_t step = 0; step < 50; ++step) {
    const Tensor loss = mse_loss(net.forward(x), y);
    worst = test::worse(worst, std::abs(loss.item() - losses.at(step)) / losses.at(step));
    optimizer->zero_grad();
    loss.backward();
    optimizer->step();
    const std::vector<double> now = flat(net);
    for (std::size_t i = 0; i < now.size(); ++i) {
      worst = test::worse(worst, std::abs(now[i] - trajectory.at(step + 1, static_cast<std::int64_t>(i))));
    }
  }
  CHECK(worst < tolerance);
  CHECK(optimizer->steps() == 50);
}

}  // namespace

TEST_CASE("optimizers follow PyTorch's trajectories") {
  for (const auto& [dtype, tolerance] : {std::pair{Dtype::float64, 1e-10}, {Dtype::float32, 1e-4}}) {
    follows_torch("sgd", SGD{}, 0.1, dtype, tolerance);
    follows_torch("sgd_momentum", SGD{.momentum = 0.9}, 0.05, dtype, tolerance);
    follows_torch("sgd_momentum_dampening", SGD{.momentum = 0.9, .dampening = 0.3}, 0.05, dtype, tolerance);
    follows_torch("sgd_nesterov", SGD{.momentum = 0.9, .nesterov = true}, 0.05, dtype, tolerance);
    follows_torch("sgd_weight_decay", SGD{.weight_decay = 0.05}, 0.1, dtype, tolerance);
    follows_torch("adam", Adam{}, 0.01, dtype, tolerance);
    follows_torch("adam_weight_decay", Adam{.weight_decay = 0.05}, 0.01, dtype, tolerance);
    follows_torch("adam_betas", Adam{.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6}, 0.02, dtype, tolerance);
  }
}

TEST_CASE("parameters without a gradient stay, and count their own steps") {
  Tensor a = Tensor::of({{1, 2}}).requires_grad(true), b = Tensor::of({{1, 2}}).requires_grad(true);
  Tensor alone = Tensor::of({{1, 2}}).requires_grad(true);
  const auto both = make_optimizer(Adam{}, {a, b}, 0.1);
  const auto one = make_optimizer(Adam{}, {alone}, 0.1);
  for (int step = 0; step < 3; ++step) {
    both->zero_grad();
    sum(square(a)).backward();
    both->step();
  }
  CHECK(b.to_vector<float>() == std::vector<float>{1, 2});
  for (int step = 0; step < 2; ++step) {  // b's first steps are as if it had been alone
    both->zero_grad();
    one->zero_grad();
    (sum(square(a)) + sum(square(b))).backward();
    sum(square(alone)).backward();
    both->step();
    one->step();
  }
  CHECK(b.to_vector<float>() == alone.to_vector<float>());
}

TEST_CASE("the learning rate can change") {
  Tensor a = Tensor::of({{1}}).requires_grad(true);
  const auto optimizer = make_optimizer(SGD{}, {a}, 0.5);
  sum(a).backward();
  optimizer->step();
  CHECK(a.at(0) == 0.5);
  optimizer->set_learning_rate(0.25);
  optimizer->step();
  CHECK(a.at(0) == 0.25);
  CHECK(optimizer->learning_rate() == 0.25);
}

TEST_CASE("bad recipes and parameters are errors") {
  Tensor a = Tensor::of({{1}}).requires_grad(true);
  const Tensor d = Tensor::of({{1}}, Dtype::float64).requires_grad(true);
  CHECK(contains(error_of([&] { make_optimizer(SGD{}, {}, 1); }), "no parameters"));
  CHECK(contains(error_of([&] { make_optimizer(SGD{}, {a.detach()}, 1); }), "require a gradient"));
  CHECK(contains(error_of([&] { make_optimizer(SGD{}, {a, d}, 1); }), "must have one type"));
  CHECK(contains(error_of([&] { make_optimizer(SGD{}, {a}, -1); }), "learning rate is -1"));
  CHECK(contains(error_of([&] { make_optimizer(SGD{.nesterov = true}, {a}, 1); }), "nesterov"));
  CHECK(contains(error_of([&] { make_optimizer(Adam{.beta1 = 1}, {a}, 1); }), "betas"));
}
