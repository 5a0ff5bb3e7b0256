#include <flatland/kernels/check.h>
#include <flatland/kernels/optimizer.h>
#include <flatland/kernels/optimizer_simd.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <cmath>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_tile = 8192;

// Cuts all parameters into tiles of one list and calls f(parameter, begin, count) for each tile.
template <class T, class F>
void for_all_values(const Exec& exec, std::span<const ParameterView<T>> parameters, F f) {
  std::int64_t tiles = 0;
  for (const ParameterView<T>& p : parameters) tiles += ceil_div(p.n, k_tile);
  parallel_for(exec, tiles, [&](std::int64_t task, int) {
    for (const ParameterView<T>& p : parameters) {
      const std::int64_t own = ceil_div(p.n, k_tile);
      if (task < own) return f(p, task * k_tile, std::min(k_tile, p.n - task * k_tile));
      task -= own;
    }
  });
}

template <class T>
void check_parameters(const char* who, std::int64_t step, std::span<const ParameterView<T>> parameters,
                      bool needs_m, bool needs_v) {
  FLATLAND_CHECK(step >= 1, who, ": step is ", step, "; steps count from 1");
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const ParameterView<T>& p = parameters[k];
    FLATLAND_CHECK(p.n >= 0, who, ": parameter ", k, " has ", p.n, " values");
    if (p.n == 0) continue;
    FLATLAND_CHECK(p.value != nullptr && p.grad != nullptr, who, ": parameter ", k,
                   " has no value or no gradient; leave it out of the step");
    FLATLAND_CHECK((p.m != nullptr || !needs_m) && (p.v != nullptr || !needs_v), who, ": parameter ", k,
                   " lacks state that this rule keeps; give ", p.n, " zeros for ", needs_v ? "m and v" : "m");
  }
}

void check_not_negative(const char* who, const char* what, double value) {
  FLATLAND_CHECK(value >= 0 && std::isfinite(value), who, ": ", what, " is ", value,
                 "; give a finite number of 0 or more");
}

}  // namespace

template <class T>
void sgd_step(const Exec& exec, const SgdRule& rule, std::int64_t step,
              std::span<const ParameterView<T>> parameters) {
  check_not_negative("sgd_step", "the learning rate", rule.lr);
  check_not_negative("sgd_step", "momentum", rule.momentum);
  check_not_negative("sgd_step", "weight_decay", rule.weight_decay);
  FLATLAND_CHECK(!rule.nesterov || (rule.momentum > 0 && rule.dampening == 0),
                 "sgd_step: nesterov has momentum ", rule.momentum, " and dampening ", rule.dampening,
                 "; it needs momentum and no dampening");
  const bool keeps_velocity = rule.momentum != 0;
  check_parameters("sgd_step", step, parameters, keeps_velocity, false);
  const SgdConstants<T> constants{static_cast<T>(rule.lr),
                                  static_cast<T>(rule.momentum),
                                  static_cast<T>(1 - rule.dampening),
                                  static_cast<T>(rule.weight_decay),
                                  rule.nesterov,
                                  step == 1};
  const auto tile = with_isa([](auto isa) { return &sgd_tile<isa, T>; });
  for_all_values<T>(exec, parameters, [&](const ParameterView<T>& p, std::int64_t begin, std::int64_t count) {
    tile(constants, p.value + begin, p.grad + begin, keeps_velocity ? p.m + begin : nullptr, count);
  });
}

template <class T>
void adam_step(const Exec& exec, const AdamRule& rule, std::int64_t step,
               std::span<const ParameterView<T>> parameters) {
  check_not_negative("adam_step", "the learning rate", rule.lr);
  check_not_negative("adam_step", "eps", rule.eps);
  check_not_negative("adam_step", "weight_decay", rule.weight_decay);
  FLATLAND_CHECK(rule.beta1 >= 0 && rule.beta1 < 1 && rule.beta2 >= 0 && rule.beta2 < 1,
                 "adam_step: the betas are ", rule.beta1, " and ", rule.beta2, "; give numbers in [0, 1)");
  check_parameters("adam_step", step, parameters, true, true);
  const double correction1 = 1 - std::pow(rule.beta1, static_cast<double>(step));
  const double correction2 = 1 - std::pow(rule.beta2, static_cast<double>(step));
  const AdamConstants<T> constants{static_cast<T>(rule.lr / correction1),
                                   static_cast<T>(1 / std::sqrt(correction2)),
                                   static_cast<T>(rule.beta1),
                                   static_cast<T>(1 - rule.beta1),
                                   static_cast<T>(rule.beta2),
                                   static_cast<T>(1 - rule.beta2),
                                   static_cast<T>(rule.eps),
                                   static_cast<T>(rule.decoupled ? 0 : rule.weight_decay),
                                   static_cast<T>(rule.decoupled ? 1 - rule.lr * rule.weight_decay : 1)};
  const auto tile = with_isa([](auto isa) { return &adam_tile<isa, T>; });
  for_all_values<T>(exec, parameters, [&](const ParameterView<T>& p, std::int64_t begin, std::int64_t count) {
    tile(constants, p.value + begin, p.grad + begin, p.m + begin, p.v + begin, count);
  });
}

template void sgd_step<float>(const Exec&, const SgdRule&, std::int64_t,
                              std::span<const ParameterView<float>>);
template void sgd_step<double>(const Exec&, const SgdRule&, std::int64_t,
                               std::span<const ParameterView<double>>);
template void adam_step<float>(const Exec&, const AdamRule&, std::int64_t,
                               std::span<const ParameterView<float>>);
template void adam_step<double>(const Exec&, const AdamRule&, std::int64_t,
                                std::span<const ParameterView<double>>);

}  // namespace flatland::kernels
