#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/relation_reference.h"

#include <doctest/doctest.h>
#include <flatland/kernels/optimizer.h>

#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

using namespace flatland;
using kernels::AdamRule;
using kernels::Exec;
using kernels::ParameterClock;
using kernels::ParameterView;
using kernels::RmspropRule;
using kernels::SgdRule;
using test::Mirror;

namespace {

std::vector<double> golden_values(const std::string& name) {
  const Tensor tensor = test::golden("optimizers/" + name);
  const double* const data = tensor.data<double>();
  return {data, data + tensor.numel()};
}

// The network of the golden trajectories, 4-8-3 with tanh and the mean squared error of 16 rows; parameters
// flattened as W1 (8, 4), b1, W2 (3, 8), b2. Its gradient by hand.
class Network {
 public:
  static constexpr std::size_t n_in = 4, n_hidden = 8, n_out = 3, rows = 16;
  static constexpr std::size_t b1 = n_hidden * n_in, w2 = b1 + n_hidden, b2 = w2 + n_out * n_hidden,
                               size = b2 + n_out;

  std::vector<double> gradient(const std::vector<double>& p) const {
    std::vector<double> g(size, 0.0);
    for (std::size_t i = 0; i < rows; ++i) add_row(p, i, g);
    return g;
  }

 private:
  void add_row(const std::vector<double>& p, std::size_t i, std::vector<double>& g) const {
    double hidden[n_hidden], d_hidden[n_hidden] = {};
    for (std::size_t h = 0; h < n_hidden; ++h) {
      double sum = p[b1 + h];
      for (std::size_t k = 0; k < n_in; ++k) sum += p[h * n_in + k] * x_[i * n_in + k];
      hidden[h] = std::tanh(sum);
    }
    for (std::size_t o = 0; o < n_out; ++o) {
      double sum = p[b2 + o];
      for (std::size_t h = 0; h < n_hidden; ++h) sum += p[w2 + o * n_hidden + h] * hidden[h];
      const double d = 2 * (sum - y_[i * n_out + o]) / static_cast<double>(rows * n_out);
      g[b2 + o] += d;
      for (std::size_t h = 0; h < n_hidden; ++h) {
        g[w2 + o * n_hidden + h] += d * hidden[h];
        d_hidden[h] += d * p[w2 + o * n_hidden + h];
      }
    }
    for (std::size_t h = 0; h < n_hidden; ++h) {
      const double d = d_hidden[h] * (1 - hidden[h] * hidden[h]);
      g[b1 + h] += d;
      for (std::size_t k = 0; k < n_in; ++k) g[h * n_in + k] += d * x_[i * n_in + k];
    }
  }

  std::vector<double> x_ = golden_values("X"), y_ = golden_values("Y");
};

template <class T>
void step(const Exec& exec, const SgdRule& rule, const double* lr,
          const std::vector<ParameterView<T>>& parameters) {
  kernels::sgd_step<T>(exec, rule, lr, parameters);
}
template <class T>
void step(const Exec& exec, const AdamRule& rule, const double* lr,
          const std::vector<ParameterView<T>>& parameters) {
  kernels::adam_step<T>(exec, rule, lr, parameters);
}
template <class T>
void step(const Exec& exec, const RmspropRule& rule, const double* lr,
          const std::vector<ParameterView<T>>& parameters) {
  kernels::rmsprop_step<T>(exec, rule, lr, parameters);
}

// Follows a golden trajectory of 50 steps in T.
template <class T, class Rule>
void check_trajectory(const Exec& exec, const std::string& name, double rate, const Rule& rule) {
  const Network network;
  const std::vector<double> want = golden_values("traj_" + name), init = golden_values("init");
  std::vector<T> p(init.begin(), init.end()), g(p.size()), m(p.size()), v(p.size()), w(p.size());
  std::vector<ParameterClock> clock(4);
  std::vector<double> lr{rate};
  for (std::size_t k = 0; k <= 50; ++k) {
    INFO("trajectory ", name, ", before step ", k);
    const std::vector<double> now(want.begin() + static_cast<std::ptrdiff_t>(k * p.size()),
                                  want.begin() + static_cast<std::ptrdiff_t>((k + 1) * p.size()));
    test::check_close(p, now, sizeof(T) == 4 ? 1e-4 : 1e-10, 1);
    const std::vector<double> grad = network.gradient({p.begin(), p.end()});
    for (std::size_t i = 0; i < g.size(); ++i) g[i] = static_cast<T>(grad[i]);
    const Mirror dp(exec, p), dg(exec, g), dm(exec, m), dv(exec, v), dw(exec, w);
    const Mirror dclock(exec, clock);
    const Mirror dlr(exec, lr);
    // Four parameters of different sizes, as the network has them.
    std::vector<ParameterView<T>> parameters;
    const std::size_t edges[] = {0, Network::b1, Network::w2, Network::b2, Network::size};
    for (int i = 0; i < 4; ++i) {
      const std::size_t at = edges[i];
      parameters.push_back({dp.data() + at, dg.data() + at, dm.data() + at, dv.data() + at,
                            static_cast<std::int64_t>(edges[i + 1] - at), dclock.data() + i, dw.data() + at});
    }
    step(exec, rule, dlr.data(), parameters);
  }
  for (const ParameterClock& c : clock) CHECK((c.steps == 51 && c.arrived == 0));
}

}  // namespace

// torch 1.13's trajectories.
TEST_CASE_TEMPLATE("SGD follows PyTorch on every device", T, float, double) {
  const auto check = [](const std::string& name, double lr, const SgdRule& rule) {
    for (const Device device : test::devices()) check_trajectory<T>(Exec(device), name, lr, rule);
  };
  check("sgd", 0.1, {});
  check("sgd_momentum", 0.05, {.momentum = 0.9});
  check("sgd_momentum_dampening", 0.05, {.momentum = 0.9, .dampening = 0.3});
  check("sgd_nesterov", 0.05, {.momentum = 0.9, .nesterov = true});
  check("sgd_weight_decay", 0.1, {.weight_decay = 0.05});
  check("sgd_all", 0.05, {.momentum = 0.9, .weight_decay = 0.05, .nesterov = true});
}

TEST_CASE_TEMPLATE("Adam and AdamW follow PyTorch on every device", T, float, double) {
  const auto check = [](const std::string& name, double lr, const AdamRule& rule) {
    for (const Device device : test::devices()) check_trajectory<T>(Exec(device), name, lr, rule);
  };
  check("adam", 0.01, {});
  check("adam_weight_decay", 0.01, {.weight_decay = 0.05});
  check("adam_betas", 0.02, {.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6});
  check("adamw", 0.01, {.weight_decay = 0.01, .decoupled = true});
  check("adamw_decay", 0.01, {.weight_decay = 0.2, .decoupled = true});
  check("adam_amsgrad", 0.01, {.amsgrad = true});
}

TEST_CASE_TEMPLATE("RMSprop follows PyTorch on every device", T, float, double) {
  const auto check = [](const std::string& name, double lr, const RmspropRule& rule) {
    for (const Device device : test::devices()) check_trajectory<T>(Exec(device), name, lr, rule);
  };
  check("rmsprop", 0.01, {});
  check("rmsprop_momentum", 0.005, {.momentum = 0.9});
  check("rmsprop_centered", 0.005, {.centered = true});
  check("rmsprop_weight_decay", 0.01, {.weight_decay = 0.05});
}

namespace {

// Parameters of sizes about the tile edges, with one sentinel behind each.
template <class T>
struct Model {
  std::vector<std::vector<T>> value, grad, m, v, w;
  std::vector<ParameterClock> clock;
  explicit Model(std::vector<std::int64_t> sizes = {1, 15, 16, 17, 0, 1023, 1024, 1025, 8191, 8192, 8193,
                                                    20000}) {
    unsigned seed = 1;
    for (const std::int64_t n : sizes) {
      value.push_back(test::random_values<T>(n + 1, seed++, -1, 1));
      grad.push_back(test::random_values<T>(n + 1, seed++, -1, 1));
      for (auto* buffer : {&m, &v, &w}) buffer->push_back(std::vector<T>(static_cast<std::size_t>(n + 1)));
      for (auto* buffer : {&value, &m, &v, &w}) buffer->back().back() = T(7);
    }
    clock.resize(sizes.size());
  }
  // Three steps; without momentum SGD gets no state.
  template <class Rule>
  void run(const Exec& exec, const Rule& rule, double rate, bool state = true) {
    std::vector<double> lr{rate};
    const Mirror dlr(exec, lr);
    const Mirror dclock(exec, clock);
    std::vector<std::unique_ptr<Mirror<T>>> mirrors;
    const auto on_device = [&](std::vector<T>& buffer) {
      mirrors.push_back(std::make_unique<Mirror<T>>(exec, buffer));
      return mirrors.back()->data();
    };
    std::vector<ParameterView<T>> views;
    for (std::size_t k = 0; k < value.size(); ++k)
      views.push_back({on_device(value[k]), on_device(grad[k]), state ? on_device(m[k]) : nullptr,
                       state ? on_device(v[k]) : nullptr, std::ssize(value[k]) - 1,
                       state ? dclock.data() + k : nullptr, state ? on_device(w[k]) : nullptr});
    for (int k = 0; k < 3; ++k) step(exec, rule, dlr.data(), views);
  }
  bool sentinels_intact() const {
    for (const auto* buffers : {&value, &m, &v, &w})
      for (const auto& buffer : *buffers)
        if (buffer.back() != T(7)) return false;
    return true;
  }
};

// The fate of every value of model after three steps as on the CPU; alone, a value goes the same way.
template <class T, class Rule>
void check_steps(const Rule& rule) {
  const Model<T> before;
  Model<T> want;
  want.run(Exec(), rule, 0.1);
  CHECK(want.sentinels_intact());
  for (std::size_t k = 0; k < before.value.size(); ++k) {
    const std::size_t n = before.value[k].size() - 1;
    if (n == 0) continue;
    for (const std::size_t i : {std::size_t{0}, n / 2, n - 1}) {
      Model<T> alone({1});
      alone.value[0][0] = before.value[k][i];
      alone.grad[0][0] = before.grad[k][i];
      alone.run(Exec(), rule, 0.1);
      CHECK(alone.value[0][0] == want.value[k][i]);
    }
  }
  for (const Device device : test::devices()) {
    CAPTURE(std::string(name(device)));
    Model<T> model, again;
    model.run(Exec(device), rule, 0.1);
    again.run(Exec(device), rule, 0.1);
    CHECK(model.value == again.value);
    CHECK(model.sentinels_intact());
    for (std::size_t k = 0; k < model.value.size(); ++k) {
      // Six roundings a step, and a last place in the powers of the betas.
      const double relative = 20 * static_cast<double>(std::numeric_limits<T>::epsilon());
      test::check_close(model.value[k], want.value[k], relative, 1);
      test::check_close(model.m[k], want.m[k], relative, 1);
      test::check_close(model.v[k], want.v[k], relative, 1);
      test::check_close(model.w[k], want.w[k], relative, 1);
      const bool moved = model.value[k].size() > 1;
      CHECK((!moved || model.clock[k].steps == 3));
      CHECK(model.clock[k].arrived == 0);
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("an optimizer step updates every value once on every device", T, float, double) {
  check_steps<T>(SgdRule{});
  check_steps<T>(SgdRule{.momentum = 0.9, .weight_decay = 0.01});
  check_steps<T>(AdamRule{});
  check_steps<T>(AdamRule{.weight_decay = 0.1, .decoupled = true});
  check_steps<T>(AdamRule{.amsgrad = true});
  check_steps<T>(RmspropRule{.alpha = 0.9});
  check_steps<T>(RmspropRule{.alpha = 0.9, .weight_decay = 0.1, .momentum = 0.8});
  check_steps<T>(RmspropRule{.alpha = 0.5, .eps = 1, .momentum = 0.8, .centered = true});
}

TEST_CASE("AMSGrad keeps the largest second moment on every device") {
  for (const Device device : test::devices()) {
    Model<double> model({1});
    model.grad[0][0] = 3;
    model.run(Exec(device), AdamRule{.amsgrad = true}, 0.1);
    const double largest = model.w[0][0], start = model.value[0][0];
    CHECK(largest == model.v[0][0]);
    model.grad[0][0] = 0;
    model.run(Exec(device), AdamRule{.amsgrad = true}, 0.1);
    CHECK(model.w[0][0] == largest);
    CHECK(model.v[0][0] < largest);
    CHECK(model.value[0][0] < start);
  }
}

TEST_CASE("a factor of the learning rate, and rules that keep no state, on every device") {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    std::vector<double> value{1, 2}, grad{0.5, -0.5}, v(2), lr{0.2};
    {
      const Mirror dvalue(exec, value), dgrad(exec, grad), dv(exec, v), dlr(exec, lr);
      const ParameterView<double> one[] = {{dvalue.data(), dgrad.data(), nullptr, nullptr, 2}};
      kernels::sgd_step<double>(exec, {}, {dlr.data(), 0.25}, one);
      const ParameterView<double> two[] = {{dvalue.data(), dgrad.data(), nullptr, dv.data(), 2}};
      kernels::rmsprop_step<double>(exec, {.alpha = 0.75, .eps = 0}, {dlr.data(), 0.5}, two);
    }
    CHECK(value[0] == doctest::Approx(1 - 0.05 * 0.5 - 0.1 / 0.5).epsilon(1e-15));
    CHECK(value[1] == doctest::Approx(2 + 0.05 * 0.5 + 0.1 / 0.5).epsilon(1e-15));
    CHECK(v[0] == 0.0625);
  }
}

TEST_CASE_TEMPLATE("an optimizer step gives the same bits for any number of threads", T, float, double) {
  test::check_threads([](const Exec& exec) {
    Model<T> model;
    model.run(exec, SgdRule{.momentum = 0.9}, 0.1);
    return model.value;
  });
  test::check_threads([](const Exec& exec) {
    Model<T> model;
    model.run(exec, AdamRule{}, 0.1);
    return model.value;
  });
}

TEST_CASE("more parameters than a launch takes, on every device") {
  for (const Device device : test::devices()) {
    const Model<float> before(std::vector<std::int64_t>(130, 3));
    Model<float> model = before;
    model.run(Exec(device), SgdRule{}, 0.5);
    for (std::size_t k = 0; k < 130; ++k) {
      float want = before.value[k][2];
      for (int step = 0; step < 3; ++step) want -= 0.5F * before.grad[k][2];
      CHECK(model.value[k][2] == want);
      CHECK(model.clock[k].steps == 3);
    }
  }
}

TEST_CASE("SGD without momentum needs no state on every device") {
  for (const Device device : test::devices()) {
    const Model<float> before;
    Model<float> model = before;
    model.run(Exec(device), SgdRule{}, 0.25, false);
    float want = before.value[0][0];
    for (int step = 0; step < 3; ++step) want -= 0.25F * before.grad[0][0];
    CHECK(model.value[0][0] == want);
    std::vector<double> lr{0.1};
    const Exec exec(device);
    const Mirror dlr(exec, lr);
    kernels::sgd_step<float>(exec, {}, dlr.data(), std::span<const ParameterView<float>>());
  }
}

TEST_CASE("parameters keep their own step numbers on every device") {
  // The second was updated twice before: its step is the third, though the first one's is the first.
  for (const Device device : test::devices()) {
    const Exec exec(device);
    Model<double> both({5, 2000}), alone({2000});
    alone.value[0] = both.value[1], alone.grad[0] = both.grad[1];
    alone.run(exec, AdamRule{}, 0.01);
    alone.run(exec, AdamRule{}, 0.01);
    Model<double> second({2000});
    second.value[0] = both.value[1], second.grad[0] = both.grad[1];
    second.run(exec, AdamRule{}, 0.01);
    both.value[1] = second.value[0], both.m[1] = second.m[0], both.v[1] = second.v[0];
    both.clock[1] = second.clock[0];
    both.run(exec, AdamRule{}, 0.01);
    CHECK(both.value[1] == alone.value[0]);
    CHECK(both.clock[0].steps == 3);
    CHECK(both.clock[1].steps == 6);
  }
}

TEST_CASE("a long Adam run on a constant gradient moves lr a step") {
  // m and v tend to g and g^2, so each step is lr g / (|g| + eps).
  float value = 0, grad = 3, m = 0, v = 0;
  const double lr = 0.001;
  ParameterClock clock;
  const ParameterView<float> one[] = {{&value, &grad, &m, &v, 1, &clock}};
  for (int k = 1; k <= 1000; ++k) kernels::adam_step<float>(Exec(), {}, &lr, one);
  CHECK(value == doctest::Approx(-1).epsilon(1e-4));
  CHECK(clock.steps == 1000);
}

TEST_CASE("optimizer steps name what is wrong") {
  float value = 0, grad = 3, m = 0, v = 0;
  ParameterClock clock;
  const ParameterView<float> bare[] = {{&value, &grad, nullptr, nullptr, 1, &clock}};
  const ParameterView<float> timeless[] = {{&value, &grad, &m, &v, 1, nullptr}};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto sgd = [&](SgdRule rule, double lr = 0.1) {
    return test::error_of([&] { kernels::sgd_step<float>(Exec(), rule, &lr, bare); });
  };
  const auto rmsprop = [&](RmspropRule rule) {
    const double lr = 0.1;
    return test::error_of([&] { kernels::rmsprop_step<float>(Exec(), rule, &lr, bare); });
  };
  CHECK(test::contains(
      rmsprop({}), "rmsprop_step: parameter 0 lacks state that this rule keeps; give 1 zeros each for v"));
  CHECK(test::contains(rmsprop({.alpha = 1}), "alpha is 1"));
  CHECK(test::contains(rmsprop({.momentum = -1}), "momentum is -1"));
  CHECK(test::contains(test::error_of([&] { kernels::clip_norm<float>(Exec(), 0, {}, &value); }),
                       "max_norm is 0"));
  const auto adam = [&](AdamRule rule, std::span<const ParameterView<float>> parameters) {
    const double lr = 0.1;
    return test::error_of([&] { kernels::adam_step<float>(Exec(), rule, &lr, parameters); });
  };
  CHECK(test::contains(sgd({.momentum = 0.9}), "sgd_step: parameter 0 lacks state"));
  CHECK(test::contains(sgd({.momentum = 0.9, .dampening = 0.1, .nesterov = true}), "nesterov"));
  CHECK(test::contains(sgd({.nesterov = true}), "nesterov"));
  CHECK(test::contains(sgd({}, -1), "the learning rate is -1"));
  CHECK(test::contains(sgd({}, nan), "the learning rate is nan"));
  CHECK(test::contains(adam({}, bare), "adam_step: parameter 0 lacks state"));
  CHECK(test::contains(adam({}, timeless), "adam_step: parameter 0 has no clock"));
  CHECK(test::contains(adam({.beta1 = 1}, bare), "betas are 1 and 0.999"));
  CHECK(test::contains(adam({.eps = -1}, bare), "eps is -1"));
  CHECK(test::contains(adam({.weight_decay = -1}, bare), "weight_decay is -1"));
}
