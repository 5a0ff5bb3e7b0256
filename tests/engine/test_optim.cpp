#include <doctest/doctest.h>
#include <flatland/engine/optim.h>
#include <flatland/engine/schedule.h>

#include <array>
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
    follows_torch("adam_amsgrad", Adam{.amsgrad = true}, 0.01, dtype, tolerance);
    follows_torch("sgd_all", SGD{.momentum = 0.9, .weight_decay = 0.05, .nesterov = true}, 0.05, dtype,
                  tolerance);
    follows_torch("adamw", AdamW{}, 0.01, dtype, tolerance);
    follows_torch("adamw_decay", AdamW{.weight_decay = 0.2}, 0.01, dtype, tolerance);
    follows_torch("rmsprop", RMSprop{}, 0.01, dtype, tolerance);
    follows_torch("rmsprop_momentum", RMSprop{.momentum = 0.9}, 0.005, dtype, tolerance);
    follows_torch("rmsprop_centered", RMSprop{.centered = true}, 0.005, dtype, tolerance);
    follows_torch("rmsprop_weight_decay", RMSprop{.weight_decay = 0.05}, 0.01, dtype, tolerance);
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

TEST_CASE("parameter groups go their own ways") {
  const auto fresh = [] { return Tensor::of({{1, -2}}, Dtype::float64).requires_grad(true); };
  Tensor a = fresh(), b = fresh(), alone = fresh(), decayed = fresh();
  const auto both = make_optimizer(
      AdamW{.weight_decay = 0},
      std::vector<ParameterGroup>{{.parameters = {a}},
                                  {.parameters = {b}, .learning_rate = 0.02, .weight_decay = 0.3}},
      0.1);
  const auto one = make_optimizer(AdamW{.weight_decay = 0}, {alone}, 0.1);
  const auto two = make_optimizer(AdamW{.weight_decay = 0.3}, {decayed}, 0.02);
  CHECK(both->learning_rate(0) == 0.1);
  CHECK(both->learning_rate(1) == doctest::Approx(0.02));
  for (int step = 0; step < 6; ++step) {
    if (step == 3) {  // all groups in proportion
      both->set_learning_rate(0.05);
      one->set_learning_rate(0.05);
      two->set_learning_rate(0.01);
    }
    for (const auto& optimizer : {both.get(), one.get(), two.get()}) optimizer->zero_grad();
    for (const Tensor& p : {a, b, alone, decayed}) sum(exp(p)).backward();
    for (const auto& optimizer : {both.get(), one.get(), two.get()}) optimizer->step();
  }
  CHECK(a.to_vector<double>() == alone.to_vector<double>());
  for (std::int64_t i = 0; i < 2; ++i) CHECK(b.at(i) == doctest::Approx(decayed.at(i)).epsilon(1e-14));
  CHECK(a.at(0) != b.at(0));
  CHECK(contains(error_of([&] {
                   make_optimizer(SGD{}, std::vector<ParameterGroup>{{.parameters = {a}, .learning_rate = 1}},
                                  0);
                 }),
                 "beside the optimizer's, 0"));
}

TEST_CASE("gradients are bounded by norm and by value") {
  Tensor a = Tensor::of({{1, 2}}, Dtype::float64).requires_grad(true);
  Tensor b = Tensor::of({{2}}, Dtype::float64).requires_grad(true);
  const Tensor without = Tensor::of({{5}}, Dtype::float64).requires_grad(true);
  (0.5 * sum(square(a)) + 0.5 * sum(square(b))).backward();
  CHECK(clip_grad_norm({a, without, b}, 6).item() == 3);
  CHECK(a.grad().to_vector<double>() == std::vector<double>{1, 2});
  CHECK(clip_grad_norm({a, without, b}, 1.5).item() == 3);
  const double factor = 1.5 / (3 + 1e-6);  // PyTorch's
  CHECK(a.grad().to_vector<double>() == std::vector<double>{factor, 2 * factor});
  CHECK(b.grad().item() == 2 * factor);
  clip_grad_value({a, without, b}, 0.75);
  CHECK(a.grad().to_vector<double>() == std::vector<double>{factor, 0.75});
  CHECK(contains(error_of([&] { clip_grad_norm({a}, 0); }), "max_norm is 0"));
  CHECK(contains(error_of([&] { clip_grad_norm({}, 1); }), "there are no parameters"));
  CHECK(contains(error_of([&] { clip_grad_value({a}, -1); }), "the limit is -1"));
}

// What torch.optim.lr_scheduler gives.
TEST_CASE("learning rates follow their schedules") {
  Tensor a = Tensor::of({{1}}).requires_grad(true), b = Tensor::of({{1}}).requires_grad(true);
  const auto rates = [&](const Schedule& schedule, int epochs) {
    const auto optimizer = make_optimizer(
        SGD{}, std::vector<ParameterGroup>{{.parameters = {a}}, {.parameters = {b}, .learning_rate = 2}},
        0.5);
    LearningRateScheduler scheduler(*optimizer, schedule);
    std::vector<double> all{optimizer->learning_rate()};
    for (int e = 0; e < epochs; ++e) {
      scheduler.step();
      all.push_back(optimizer->learning_rate());
      CHECK(optimizer->learning_rate(1) == doctest::Approx(schedule(2, e + 1)));
    }
    CHECK(scheduler.epoch() == epochs);
    return all;
  };
  const auto close = [](const std::vector<double>& got, const std::vector<double>& want) {
    REQUIRE(got.size() == want.size());
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-14));
  };
  close(rates(StepLR{.step_size = 2, .gamma = 0.1}, 5), {0.5, 0.5, 0.05, 0.05, 0.005, 0.005});
  close(rates(ExponentialLR{.gamma = 0.5}, 3), {0.5, 0.25, 0.125, 0.0625});
  close(rates(CosineAnnealingLR{.t_max = 4, .eta_min = 0.1}, 5),
        {0.5, 0.1 + 0.2 * (1 + std::sqrt(0.5)), 0.3, 0.1 + 0.2 * (1 - std::sqrt(0.5)), 0.1,
         0.1 + 0.2 * (1 - std::sqrt(0.5))});
  close(rates([](double initial, std::int64_t e) { return initial / static_cast<double>(1 + e); }, 2),
        {0.5, 0.25, 0.5 / 3});
  CHECK(contains(error_of([&] { rates(StepLR{.step_size = 0}, 1); }), "step_size is 0"));
  CHECK(contains(error_of([&] { rates(CosineAnnealingLR{.t_max = 0}, 1); }), "t_max is 0"));
  CHECK(contains(error_of([&] { rates({}, 1); }), "the schedule is empty"));
}

TEST_CASE("each group's cosine runs from its own rate to eta_min") {
  Tensor a = Tensor::zeros({1}).requires_grad(true), b = Tensor::zeros({1}).requires_grad(true);
  const auto optimizer = make_optimizer(
      SGD{}, std::vector<ParameterGroup>{{.parameters = {a}}, {.parameters = {b}, .learning_rate = 2}}, 0.5);
  LearningRateScheduler scheduler(*optimizer, CosineAnnealingLR{.t_max = 2, .eta_min = 0.25});
  const auto step = [&] {
    optimizer->zero_grad();
    const std::array before{a.item(), b.item()};
    (sum(a) + sum(b)).backward();
    optimizer->step();
    return std::vector{before[0] - a.item(), before[1] - b.item()};
  };
  for (const std::vector<double>& want : {std::vector{0.5, 2.0}, {0.375, 1.125}, {0.25, 0.25}}) {
    const std::vector<double> moved = step();
    for (std::size_t g = 0; g < 2; ++g) CHECK(moved[g] == doctest::Approx(want[g]).epsilon(1e-6));
    scheduler.step();
  }
}

TEST_CASE("bad recipes and parameters are errors") {
  Tensor a = Tensor::of({{1}}).requires_grad(true);
  const Tensor d = Tensor::of({{1}}, Dtype::float64).requires_grad(true);
  CHECK(contains(error_of([&] { make_optimizer(SGD{}, {}, 1); }), "no parameters"));
  CHECK(contains(error_of([&] { make_optimizer(SGD{}, {a.detach()}, 1); }), "requires a gradient"));
  CHECK(contains(error_of([&] { make_optimizer(SGD{}, {a * 2.0}, 1); }), "parameters are leaves"));
  CHECK(contains(error_of([&] { make_optimizer(RMSprop{.alpha = 1}, {a}, 1); }), "alpha is 1"));
  CHECK(contains(error_of([&] { make_optimizer(AdamW{.beta2 = 1}, {a}, 1); }), "AdamW: betas"));
  CHECK(contains(error_of([&] { make_optimizer(SGD{}, {a, d}, 1); }), "must have one type"));
  CHECK(contains(error_of([&] { make_optimizer(SGD{}, {a, a}, 1); }), "is there twice"));
  CHECK(contains(error_of([&] { make_optimizer(SGD{}, {a}, -1); }), "learning rate is -1"));
  CHECK(contains(error_of([&] { make_optimizer(Adam{.weight_decay = -1}, {a}, 1); }), "weight_decay is -1"));
  CHECK(contains(error_of([&] {
                   make_optimizer(RMSprop{},
                                  std::vector<ParameterGroup>{{.parameters = {a}, .weight_decay = -2}}, 1);
                 }),
                 "weight_decay is -2"));
  CHECK(contains(error_of([&] { make_optimizer(SGD{.nesterov = true}, {a}, 1); }), "nesterov"));
  CHECK(contains(error_of([&] { make_optimizer(Adam{.beta1 = 1}, {a}, 1); }), "betas"));
}
