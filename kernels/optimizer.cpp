#include <flatland/kernels/check.h>
#include <flatland/kernels/optimizer.h>
#include <flatland/kernels/optimizer_cuda.h>
#include <flatland/kernels/optimizer_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <cmath>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_tile = 8192;

// Cuts the values of all parameters, one behind the other, into tiles and calls f(parameter number, begin,
// count) for each tile's part of each parameter.
template <class T, class F>
void for_all_values(const Exec& exec, std::span<const ParameterView<T>> parameters, F f) {
  std::int64_t total = 0;
  for (const ParameterView<T>& p : parameters) total += p.n;
  parallel_for(exec, ceil_div(total, k_tile), [&](std::int64_t tile, int) {
    std::int64_t begin = tile * k_tile, end = std::min(total, begin + k_tile);
    for (std::size_t k = 0; k < parameters.size() && end > 0; ++k) {
      const std::int64_t n = parameters[k].n, first = std::max<std::int64_t>(begin, 0),
                         last = std::min(end, n);
      if (first < last) f(k, first, last - first);
      begin -= n;
      end -= n;
    }
  });
}

template <class T>
void check_parameters(const char* who, std::span<const ParameterView<T>> parameters, bool needs_m,
                      bool needs_v) {
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const ParameterView<T>& p = parameters[k];
    FLATLAND_CHECK(p.n >= 0, who, ": parameter ", k, " has ", p.n, " values");
    if (p.n == 0) continue;
    FLATLAND_CHECK(p.value != nullptr && p.grad != nullptr, who, ": parameter ", k,
                   " has no value or no gradient; leave it out of the step");
    FLATLAND_CHECK((p.m != nullptr || !needs_m) && (p.v != nullptr || !needs_v), who, ": parameter ", k,
                   " lacks state that this rule keeps; give ", p.n, " zeros for ", needs_v ? "m and v" : "m");
    FLATLAND_CHECK(p.clock != nullptr || !needs_m, who, ": parameter ", k,
                   " has no clock; give one a parameter");
  }
}

// constants[k] = make(step number) of parameter k, which its clock then shows; parameters in step share them.
template <class T, class Constants, class Make>
void start_step(std::span<const ParameterView<T>> parameters, std::span<Constants> constants, Make make) {
  std::int64_t known = 0;
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const std::int64_t step = parameters[k].clock != nullptr ? ++parameters[k].clock->steps : 1;
    constants[k] = step == known ? constants[k - 1] : make(step);
    known = step;
  }
}

void check_not_negative(const char* who, const char* what, double value) {
  FLATLAND_CHECK(value >= 0 && std::isfinite(value), who, ": ", what, " is ", value,
                 "; give a finite number of 0 or more");
}

}  // namespace

template <class T>
void sgd_step(const Exec& exec, const SgdRule& rule, const double* lr,
              std::span<const ParameterView<T>> parameters) {
  check_not_negative("sgd_step", "momentum", rule.momentum);
  check_not_negative("sgd_step", "weight_decay", rule.weight_decay);
  FLATLAND_CHECK(!rule.nesterov || (rule.momentum > 0 && rule.dampening == 0),
                 "sgd_step: nesterov has momentum ", rule.momentum, " and dampening ", rule.dampening,
                 "; it needs momentum and no dampening");
  const bool keeps_velocity = rule.momentum != 0;
  check_parameters("sgd_step", parameters, keeps_velocity, false);
  FLATLAND_ON_CUDA(exec) return cuda::sgd_step(exec, rule, lr, parameters);
  check_not_negative("sgd_step", "the learning rate", *lr);
  const ScratchArray<SgdConstants<T>> constants(exec, std::ssize(parameters));
  start_step(parameters, constants.span(),
             [&](std::int64_t step) { return SgdConstants<T>(rule, *lr, step); });
  const auto tile = with_isa([](auto isa) { return &sgd_tile<isa, T>; });
  for_all_values(exec, parameters, [&](std::size_t k, std::int64_t begin, std::int64_t count) {
    const ParameterView<T>& p = parameters[k];
    tile(constants.span()[k], p.value + begin, p.grad + begin, keeps_velocity ? p.m + begin : nullptr, count);
  });
}

template <class T>
void adam_step(const Exec& exec, const AdamRule& rule, const double* lr,
               std::span<const ParameterView<T>> parameters) {
  check_not_negative("adam_step", "eps", rule.eps);
  check_not_negative("adam_step", "weight_decay", rule.weight_decay);
  FLATLAND_CHECK(rule.beta1 >= 0 && rule.beta1 < 1 && rule.beta2 >= 0 && rule.beta2 < 1,
                 "adam_step: the betas are ", rule.beta1, " and ", rule.beta2, "; give numbers in [0, 1)");
  check_parameters("adam_step", parameters, true, true);
  FLATLAND_ON_CUDA(exec) return cuda::adam_step(exec, rule, lr, parameters);
  check_not_negative("adam_step", "the learning rate", *lr);
  const ScratchArray<AdamConstants<T>> constants(exec, std::ssize(parameters));
  start_step(parameters, constants.span(), [&](std::int64_t step) {
    const auto t = static_cast<double>(step);
    return AdamConstants<T>(rule, *lr, std::pow(rule.beta1, t), std::pow(rule.beta2, t));
  });
  const auto tile = with_isa([](auto isa) { return &adam_tile<isa, T>; });
  for_all_values(exec, parameters, [&](std::size_t k, std::int64_t begin, std::int64_t count) {
    const ParameterView<T>& p = parameters[k];
    tile(constants.span()[k], p.value + begin, p.grad + begin, p.m + begin, p.v + begin, count);
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                          \
  template void sgd_step(const Exec&, const SgdRule&, const double*, std::span<const ParameterView<T>>); \
  template void adam_step(const Exec&, const AdamRule&, const double*, std::span<const ParameterView<T>>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
