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

constexpr std::int64_t k_optimizer_tile = 8192;

// The values of all parameters or gradients, one behind the other, are cut into tiles.
template <class View>
std::int64_t tiles_of(std::span<const View> parameters) {
  std::int64_t total = 0;
  for (const View& p : parameters) total += p.n;
  return ceil_div(total, k_optimizer_tile);
}

// Calls f(tile, parameter number, begin, count) for each tile's part of each parameter.
template <class View, class F>
void for_all_values(const Exec& exec, std::span<const View> parameters, F f) {
  parallel_for(exec, tiles_of(parameters), [&](std::int64_t tile, int) {
    std::int64_t begin = tile * k_optimizer_tile, end = begin + k_optimizer_tile;
    for (std::size_t k = 0; k < parameters.size() && end > 0; ++k) {
      const std::int64_t n = parameters[k].n, first = std::max<std::int64_t>(begin, 0),
                         last = std::min(end, n);
      if (first < last) f(tile, k, first, last - first);
      begin -= n;
      end -= n;
    }
  });
}

// Which state a rule keeps.
struct State {
  bool m = false, v = false, w = false, clock = false;
};

template <class T>
void check_parameters(const char* who, std::span<const ParameterView<T>> parameters, const State& needs) {
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const ParameterView<T>& p = parameters[k];
    FLATLAND_CHECK(p.n >= 0, who, ": parameter ", k, " has ", p.n, " values");
    if (p.n == 0) continue;
    FLATLAND_CHECK(p.value != nullptr && p.grad != nullptr, who, ": parameter ", k,
                   " has no value or no gradient; leave it out of the step");
    FLATLAND_CHECK((p.m || !needs.m) && (p.v || !needs.v) && (p.w || !needs.w), who, ": parameter ", k,
                   " lacks state that this rule keeps; give ", p.n, " zeros each for", needs.m ? " m" : "",
                   needs.v ? " v" : "", needs.w ? " w" : "");
    FLATLAND_CHECK(p.clock != nullptr || !needs.clock, who, ": parameter ", k,
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
void sgd_step(const Exec& exec, const SgdRule& rule, LearningRate lr,
              std::span<const ParameterView<T>> parameters) {
  check_not_negative("sgd_step", "momentum", rule.momentum);
  check_not_negative("sgd_step", "weight_decay", rule.weight_decay);
  FLATLAND_CHECK(!rule.nesterov || (rule.momentum > 0 && rule.dampening == 0),
                 "sgd_step: nesterov has momentum ", rule.momentum, " and dampening ", rule.dampening,
                 "; it needs momentum and no dampening");
  const bool keeps_velocity = rule.momentum != 0;
  check_parameters("sgd_step", parameters, {.m = keeps_velocity, .clock = keeps_velocity});
  FLATLAND_ON_CUDA(exec) return cuda::sgd_step(exec, rule, lr, parameters);
  check_not_negative("sgd_step", "the learning rate", lr.get());
  const ScratchArray<SgdConstants<T>> constants(exec, std::ssize(parameters));
  start_step(parameters, constants.span(),
             [&](std::int64_t step) { return SgdConstants<T>(rule, lr.get(), step); });
  const auto tile = with_isa([](auto isa) { return &sgd_tile<isa, T>; });
  for_all_values(exec, parameters, [&](std::int64_t, std::size_t k, std::int64_t i, std::int64_t count) {
    const ParameterView<T>& p = parameters[k];
    tile(constants.span()[k], p.value + i, p.grad + i, keeps_velocity ? p.m + i : nullptr, count);
  });
}

template <class T>
void adam_step(const Exec& exec, const AdamRule& rule, LearningRate lr,
               std::span<const ParameterView<T>> parameters) {
  check_not_negative("adam_step", "eps", rule.eps);
  check_not_negative("adam_step", "weight_decay", rule.weight_decay);
  FLATLAND_CHECK(rule.beta1 >= 0 && rule.beta1 < 1 && rule.beta2 >= 0 && rule.beta2 < 1,
                 "adam_step: the betas are ", rule.beta1, " and ", rule.beta2, "; give numbers in [0, 1)");
  check_parameters("adam_step", parameters, {.m = true, .v = true, .w = rule.amsgrad, .clock = true});
  FLATLAND_ON_CUDA(exec) return cuda::adam_step(exec, rule, lr, parameters);
  check_not_negative("adam_step", "the learning rate", lr.get());
  const ScratchArray<AdamConstants<T>> constants(exec, std::ssize(parameters));
  start_step(parameters, constants.span(), [&](std::int64_t step) {
    const auto t = static_cast<double>(step);
    return AdamConstants<T>(rule, lr.get(), std::pow(rule.beta1, t), std::pow(rule.beta2, t));
  });
  const auto tile = with_isa([](auto isa) { return &adam_tile<isa, T>; });
  for_all_values(exec, parameters, [&](std::int64_t, std::size_t k, std::int64_t i, std::int64_t count) {
    const ParameterView<T>& p = parameters[k];
    tile(constants.span()[k], p.value + i, p.grad + i, p.m + i, p.v + i, rule.amsgrad ? p.w + i : nullptr,
         count);
  });
}

template <class T>
void rmsprop_step(const Exec& exec, const RmspropRule& rule, LearningRate lr,
                  std::span<const ParameterView<T>> parameters) {
  check_not_negative("rmsprop_step", "eps", rule.eps);
  check_not_negative("rmsprop_step", "weight_decay", rule.weight_decay);
  check_not_negative("rmsprop_step", "momentum", rule.momentum);
  FLATLAND_CHECK(rule.alpha >= 0 && rule.alpha < 1, "rmsprop_step: alpha is ", rule.alpha,
                 "; give a number in [0, 1)");
  const bool keeps_step = rule.momentum != 0;
  check_parameters("rmsprop_step", parameters, {.m = keeps_step, .v = true, .w = rule.centered});
  FLATLAND_ON_CUDA(exec) return cuda::rmsprop_step(exec, rule, lr, parameters);
  check_not_negative("rmsprop_step", "the learning rate", lr.get());
  for (const ParameterView<T>& p : parameters)
    if (p.clock != nullptr) ++p.clock->steps;
  const RmspropConstants<T> constants(rule, lr.get());
  const auto tile = with_isa([](auto isa) { return &rmsprop_tile<isa, T>; });
  for_all_values(exec, parameters, [&](std::int64_t, std::size_t k, std::int64_t i, std::int64_t count) {
    const ParameterView<T>& p = parameters[k];
    tile(constants, p.value + i, p.grad + i, keeps_step ? p.m + i : nullptr, p.v + i,
         rule.centered ? p.w + i : nullptr, count);
  });
}

template <class T>
void clip_norm(const Exec& exec, double max_norm, std::span<const GradientView<T>> gradients, T* norm) {
  FLATLAND_CHECK(max_norm > 0, "clip_norm: max_norm is ", max_norm, "; it must be above 0");
  FLATLAND_ON_CUDA(exec) return cuda::clip_norm(exec, max_norm, gradients, norm);
  const ScratchArray<double> part(exec, tiles_of(gradients));
  std::ranges::fill(part.span(), 0.0);
  const auto squares = with_isa([](auto isa) { return &square_sum<isa, T>; });
  for_all_values(exec, gradients, [&](std::int64_t tile, std::size_t k, std::int64_t i, std::int64_t count) {
    part[tile] += squares(gradients[k].data + i, count);
  });
  double sum = 0;
  for (const double p : part.span()) sum += p;
  *norm = static_cast<T>(std::sqrt(sum));
  const T factor = clip_factor<T>(std::sqrt(sum), max_norm);
  if (factor == T(1)) return;
  const auto scale = with_isa([](auto isa) { return &scale_values<isa, T>; });
  for_all_values(exec, gradients, [&](std::int64_t, std::size_t k, std::int64_t i, std::int64_t count) {
    scale(factor, gradients[k].data + i, count);
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                           \
  template void sgd_step(const Exec&, const SgdRule&, LearningRate, std::span<const ParameterView<T>>);   \
  template void adam_step(const Exec&, const AdamRule&, LearningRate, std::span<const ParameterView<T>>); \
  template void rmsprop_step(const Exec&, const RmspropRule&, LearningRate,                               \
                             std::span<const ParameterView<T>>);                                          \
  template void clip_norm(const Exec&, double, std::span<const GradientView<T>>, T*)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
