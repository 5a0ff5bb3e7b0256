// One optimizer step over all parameters of a model at once.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/hd.h>

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
  T* m = nullptr;  // first moment (Adam), velocity (SGD and RMSprop with momentum)
  T* v = nullptr;  // second moment (Adam, RMSprop)
  std::int64_t n = 0;
  ParameterClock* clock = nullptr;  // SGD without momentum needs none
  T* w = nullptr;  // the largest second moment so far (AMSGrad), mean gradient (centered RMSprop)
};

// A learning rate in memory of exec's device, and what this call takes it times.
struct LearningRate {
  const double* rate = nullptr;
  double factor = 1;

  FLATLAND_HD LearningRate(const double* rate, double factor = 1) : rate(rate), factor(factor) {}
  FLATLAND_HD double get() const { return *rate * factor; }
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
  bool amsgrad = false;  // divide by the root of the largest second moment so far
};

struct RmspropRule {
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum = 0;
  bool centered = false;  // divide by the deviation of the gradients instead of their root mean square
};

// The step number of a parameter is that of its clock, which the step moves on. The learning rate and the
// clocks lie in memory of exec's device, so that a step that was recorded once can be run again and again.
// Cost: 12 flop and 28 bytes (float) a parameter for Adam.
template <class T>
void sgd_step(const Exec& exec, const SgdRule& rule, LearningRate lr,
              std::span<const ParameterView<T>> parameters);
template <class T>
void adam_step(const Exec& exec, const AdamRule& rule, LearningRate lr,
               std::span<const ParameterView<T>> parameters);
template <class T>
void rmsprop_step(const Exec& exec, const RmspropRule& rule, LearningRate lr,
                  std::span<const ParameterView<T>> parameters);

// What bounds a gradient: the root of the sum of squares of all gradients together, added in double in fixed
// order. Above max_norm, all are multiplied by max_norm / (norm + 1e-6) (PyTorch's clip_grad_norm_).
//   *norm is the root before, in memory of exec's device. Cost: the gradients are read twice, written once.
template <class T>
struct GradientView {
  T* data = nullptr;
  std::int64_t n = 0;
};
template <class T>
void clip_norm(const Exec& exec, double max_norm, std::span<const GradientView<T>> gradients, T* norm);

}  // namespace flatland::kernels
