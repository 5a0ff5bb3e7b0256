// One optimizer step over all parameters of a model at once.
#pragma once

#include <flatland/kernels/exec.h>

#include <cstdint>
#include <span>

namespace flatland::kernels {

// How often a parameter was updated; all zeros to begin with.
struct ParameterClock {
  std::int64_t steps = 0;
  unsigned long long arrived = 0;  // for the GPU: its blocks that are done with the present step
};

// One parameter: value, gradient and state, all of n values, and its own clock. State that a rule does not
// use may be null.
template <class T>
struct ParameterView {
  T* value = nullptr;
  const T* grad = nullptr;
  T* m = nullptr;  // first moment (Adam), velocity (SGD with momentum)
  T* v = nullptr;  // second moment (Adam)
  std::int64_t n = 0;
  ParameterClock* clock = nullptr;  // SGD without momentum needs none
};

struct SgdRule {
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
};

struct AdamRule {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;  // added to the gradient, or taken from the value when decoupled (AdamW)
  bool decoupled = false;
};

// The step number of a parameter is that of its clock, which the step moves on. The learning rate and the
// clocks lie in memory of exec's device, so that a step that was recorded once can be run again and again.
// Cost: 12 flop and 28 bytes (float) a parameter for Adam.
template <class T>
void sgd_step(const Exec& exec, const SgdRule& rule, const double* lr,
              std::span<const ParameterView<T>> parameters);
template <class T>
void adam_step(const Exec& exec, const AdamRule& rule, const double* lr,
               std::span<const ParameterView<T>> parameters);

}  // namespace flatland::kernels
