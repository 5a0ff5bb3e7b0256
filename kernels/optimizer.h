// One optimizer step over all parameters of a model at once.
#pragma once

#include <flatland/kernels/exec.h>

#include <cstdint>
#include <span>

namespace flatland::kernels {

// One parameter: value, gradient and state, all of n values. State that a rule does not use may be null.
template <class T>
struct ParameterView {
  T* value = nullptr;
  const T* grad = nullptr;
  T* m = nullptr;  // first moment (Adam), velocity (SGD with momentum)
  T* v = nullptr;  // second moment (Adam)
  std::int64_t n = 0;
};

struct SgdRule {
  double lr = 0.01;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
};

struct AdamRule {
  double lr = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;  // added to the gradient, or taken from the value when decoupled (AdamW)
  bool decoupled = false;
};

// Cost: 12 flop and 28 bytes (float) a parameter for Adam.   `step` counts from 1.
template <class T>
void sgd_step(const Exec& exec, const SgdRule& rule, std::int64_t step,
              std::span<const ParameterView<T>> parameters);
template <class T>
void adam_step(const Exec& exec, const AdamRule& rule, std::int64_t step,
               std::span<const ParameterView<T>> parameters);

}  // namespace flatland::kernels
