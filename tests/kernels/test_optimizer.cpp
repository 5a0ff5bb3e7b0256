#include "tests/support/golden.h"
#include "tests/support/message.h"
#include "tests/support/relation_reference.h"

#include <doctest/doctest.h>
#include <flatland/kernels/optimizer.h>

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

using namespace flatland;
using kernels::AdamRule;
using kernels::Exec;
using kernels::ParameterView;
using kernels::SgdRule;

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

// Follows a golden trajectory of 50 steps in T. `step` is called as step(k, parameters).
template <class T, class Step>
void check_trajectory(const std::string& name, Step step) {
  const Network network;
  const std::vector<double> want = golden_values("traj_" + name), init = golden_values("init");
  std::vector<T> p(init.begin(), init.end()), g(p.size()), m(p.size()), v(p.size());
  // Four parameters of different sizes, as the network has them.
  std::vector<ParameterView<T>> parameters;
  const std::size_t edges[] = {0, Network::b1, Network::w2, Network::b2, Network::size};
  for (int k = 0; k < 4; ++k) {
    const std::size_t at = edges[k];
    parameters.push_back({&p[at], &g[at], &m[at], &v[at], static_cast<std::int64_t>(edges[k + 1] - at)});
  }
  for (std::size_t k = 0; k <= 50; ++k) {
    INFO("trajectory ", name, ", before step ", k);
    const std::vector<double> now(want.begin() + static_cast<std::ptrdiff_t>(k * p.size()),
                                  want.begin() + static_cast<std::ptrdiff_t>((k + 1) * p.size()));
    test::check_close(p, now, sizeof(T) == 4 ? 1e-4 : 1e-10, 1);
    const std::vector<double> grad = network.gradient({p.begin(), p.end()});
    for (std::size_t i = 0; i < g.size(); ++i) g[i] = static_cast<T>(grad[i]);
    step(static_cast<std::int64_t>(k + 1), std::span<const ParameterView<T>>(parameters));
  }
}
template <class T>
void check_sgd(const std::string& name, const SgdRule& rule) {
  check_trajectory<T>(
      name, [&](std::int64_t k, auto parameters) { kernels::sgd_step<T>(Exec(), rule, k, parameters); });
}
template <class T>
void check_adam(const std::string& name, const AdamRule& rule) {
  check_trajectory<T>(
      name, [&](std::int64_t k, auto parameters) { kernels::adam_step<T>(Exec(), rule, k, parameters); });
}

}  // namespace

// torch 1.13's trajectories.
TEST_CASE_TEMPLATE("SGD follows PyTorch", T, float, double) {
  check_sgd<T>("sgd", {.lr = 0.1});
  check_sgd<T>("sgd_momentum", {.lr = 0.05, .momentum = 0.9});
  check_sgd<T>("sgd_momentum_dampening", {.lr = 0.05, .momentum = 0.9, .dampening = 0.3});
  check_sgd<T>("sgd_nesterov", {.lr = 0.05, .momentum = 0.9, .nesterov = true});
  check_sgd<T>("sgd_weight_decay", {.lr = 0.1, .weight_decay = 0.05});
  check_sgd<T>("sgd_all", {.lr = 0.05, .momentum = 0.9, .weight_decay = 0.05, .nesterov = true});
}

TEST_CASE_TEMPLATE("Adam and AdamW follow PyTorch", T, float, double) {
  check_adam<T>("adam", {.lr = 0.01});
  check_adam<T>("adam_weight_decay", {.lr = 0.01, .weight_decay = 0.05});
  check_adam<T>("adam_betas", {.lr = 0.02, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6});
  check_adam<T>("adamw", {.lr = 0.01, .weight_decay = 0.01, .decoupled = true});
  check_adam<T>("adamw_decay", {.lr = 0.01, .weight_decay = 0.2, .decoupled = true});
}

namespace {

// Parameters of sizes about the tile edge, with one sentinel behind each.
template <class T>
struct Model {
  std::vector<std::vector<T>> value, grad, m, v;
  std::vector<ParameterView<T>> views;
  explicit Model(bool state = true) {
    unsigned seed = 1;
    for (const std::int64_t n : {1, 15, 16, 17, 0, 8191, 8192, 8193, 20000}) {
      value.push_back(test::random_values<T>(n + 1, seed++, -1, 1));
      grad.push_back(test::random_values<T>(n + 1, seed++, -1, 1));
      for (auto* buffer : {&m, &v}) buffer->push_back(std::vector<T>(static_cast<std::size_t>(n + 1)));
      for (auto* buffer : {&value, &m, &v}) buffer->back().back() = T(7);
      views.push_back({value.back().data(), grad.back().data(), state ? m.back().data() : nullptr,
                       state ? v.back().data() : nullptr, n});
    }
  }
  bool sentinels_intact() const {
    for (const auto* buffers : {&value, &m, &v})
      for (const auto& buffer : *buffers)
        if (buffer.back() != T(7)) return false;
    return true;
  }
};

}  // namespace

TEST_CASE_TEMPLATE("an optimizer step updates every value once, for any number of threads", T, float,
                   double) {
  const SgdRule sgd{.lr = 0.1, .momentum = 0.9};
  const AdamRule adam;
  for (const bool use_adam : {false, true}) {
    const auto run = [&](const Exec& exec) {
      Model<T> model;
      for (std::int64_t k = 1; k <= 3; ++k) {
        if (use_adam) {
          kernels::adam_step<T>(exec, adam, k, model.views);
        } else {
          kernels::sgd_step<T>(exec, sgd, k, model.views);
        }
      }
      CHECK(model.sentinels_intact());
      return model.value;
    };
    test::check_threads(run);
    // A value's fate does not depend on where it lies in a tile: the same as alone.
    const auto all = run(Exec());
    Model<T> model;
    for (std::size_t p = 0; p < model.views.size(); ++p) {
      for (const std::int64_t at : {std::int64_t{0}, model.views[p].n / 2, model.views[p].n - 1}) {
        if (at < 0 || model.views[p].n == 0) continue;
        const auto i = static_cast<std::size_t>(at);
        T value = model.value[p][i], m = 0, v = 0;
        const ParameterView<T> alone[] = {{&value, &model.grad[p][i], &m, &v, 1}};
        for (std::int64_t k = 1; k <= 3; ++k) {
          if (use_adam) {
            kernels::adam_step<T>(Exec(), adam, k, alone);
          } else {
            kernels::sgd_step<T>(Exec(), sgd, k, alone);
          }
        }
        CHECK(value == all[p][i]);
      }
    }
  }
}

TEST_CASE("SGD without momentum needs no state") {
  Model<float> model(false);
  const float before = model.value[0][0], grad = model.grad[0][0];
  kernels::sgd_step<float>(Exec(), {.lr = 0.5}, 1, model.views);
  CHECK(model.value[0][0] == before - 0.5F * grad);
  kernels::sgd_step<float>(Exec(), {}, 1, std::span<const ParameterView<float>>());
}

TEST_CASE("a long Adam run on a constant gradient moves lr a step") {
  // m and v tend to g and g^2, so each step is lr g / (|g| + eps).
  float value = 0, grad = 3, m = 0, v = 0;
  const ParameterView<float> one[] = {{&value, &grad, &m, &v, 1}};
  for (std::int64_t k = 1; k <= 1000; ++k) kernels::adam_step<float>(Exec(), {.lr = 0.001}, k, one);
  CHECK(value == doctest::Approx(-1).epsilon(1e-4));
}

TEST_CASE("optimizer steps name what is wrong") {
  Model<float> model(false);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto sgd = [&](SgdRule rule, std::int64_t step = 1) {
    return test::message([&] { kernels::sgd_step<float>(Exec(), rule, step, model.views); });
  };
  const auto adam = [&](AdamRule rule, std::int64_t step = 1) {
    return test::message([&] { kernels::adam_step<float>(Exec(), rule, step, model.views); });
  };
  CHECK(test::contains(sgd({.momentum = 0.9}), "sgd_step: parameter 0 lacks state"));
  CHECK(test::contains(sgd({.momentum = 0.9, .dampening = 0.1, .nesterov = true}), "nesterov"));
  CHECK(test::contains(sgd({.nesterov = true}), "nesterov"));
  CHECK(test::contains(sgd({.lr = -1}), "the learning rate is -1"));
  CHECK(test::contains(sgd({.lr = nan}), "the learning rate is nan"));
  CHECK(test::contains(sgd({}, 0), "step is 0; steps count from 1"));
  CHECK(test::contains(adam({}), "adam_step: parameter 0 lacks state"));
  CHECK(test::contains(adam({.beta1 = 1}), "betas are 1 and 0.999"));
  CHECK(test::contains(adam({.eps = -1}), "eps is -1"));
  CHECK(test::contains(adam({.weight_decay = -1}), "weight_decay is -1"));
}
