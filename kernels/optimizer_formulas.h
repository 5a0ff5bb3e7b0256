// The rules of optimizer.h for one value.
#pragma once

#include <flatland/kernels/optimizer.h>
#include <flatland/kernels/primitives.h>

#include <cmath>

namespace flatland::kernels {

// The constants of one step, computed in double and rounded once. `step` counts from 1.
template <class T>
struct SgdConstants {
  T lr, weight_decay;
  T keep, take;       // of the old velocity and of the gradient, in the new velocity
  T direct, through;  // of the gradient and of the velocity, in the step

  SgdConstants() = default;
  // The first velocity is the gradient itself, undamped (PyTorch).
  FLATLAND_HD SgdConstants(const SgdRule& rule, double lr, std::int64_t step)
      : lr(static_cast<T>(lr)),
        weight_decay(static_cast<T>(rule.weight_decay)),
        keep(step == 1 ? T(0) : static_cast<T>(rule.momentum)),
        take(step == 1 ? T(1) : static_cast<T>(1 - rule.dampening)),
        direct(rule.nesterov ? T(1) : T(0)),
        through(rule.nesterov ? static_cast<T>(rule.momentum) : T(1)) {}
};

template <class T>
struct AdamConstants {
  T step_size;     // lr / (1 - beta1^t)
  T denom_factor;  // 1 / sqrt(1 - beta2^t)
  T beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
  T weight_decay;  // added to the gradient; 0 when decoupled
  T shrink;        // 1 - lr weight_decay when decoupled, else 1

  AdamConstants() = default;
  // The powers are beta1^t and beta2^t.
  FLATLAND_HD AdamConstants(const AdamRule& rule, double lr, double power1, double power2)
      : step_size(static_cast<T>(lr / (1 - power1))),
        denom_factor(static_cast<T>(1 / kernels::sqrt(1 - power2))),
        beta1(static_cast<T>(rule.beta1)),
        one_minus_beta1(static_cast<T>(1 - rule.beta1)),
        beta2(static_cast<T>(rule.beta2)),
        one_minus_beta2(static_cast<T>(1 - rule.beta2)),
        eps(static_cast<T>(rule.eps)),
        weight_decay(static_cast<T>(rule.decoupled ? 0 : rule.weight_decay)),
        shrink(static_cast<T>(rule.decoupled ? 1 - lr * rule.weight_decay : 1)) {}
};

template <class T>
struct RmspropConstants {
  T lr, weight_decay, momentum, eps;
  T alpha, one_minus_alpha;
  T keep_mean, take_mean;  // of the mean gradient, which stays 0 where the rule is not centered

  RmspropConstants() = default;
  FLATLAND_HD RmspropConstants(const RmspropRule& rule, double lr)
      : lr(static_cast<T>(lr)),
        weight_decay(static_cast<T>(rule.weight_decay)),
        momentum(static_cast<T>(rule.momentum)),
        eps(static_cast<T>(rule.eps)),
        alpha(static_cast<T>(rule.alpha)),
        one_minus_alpha(static_cast<T>(1 - rule.alpha)),
        keep_mean(rule.centered ? alpha : T(0)),
        take_mean(rule.centered ? one_minus_alpha : T(0)) {}
};

template <class T>
FLATLAND_HD void sgd_update(const SgdConstants<T>& c, T& value, T grad) {
  value -= c.lr * (grad + c.weight_decay * value);
}
template <class T>
FLATLAND_HD void sgd_update(const SgdConstants<T>& c, T& value, T grad, T& velocity) {
  const T g = grad + c.weight_decay * value;
  velocity = c.keep * velocity + c.take * g;
  value -= c.lr * (c.direct * g + c.through * velocity);
}
// `largest` is v itself, or the largest one so far.
template <bool amsgrad, class T>
FLATLAND_HD void adam_update(const AdamConstants<T>& c, T& value, T grad, T& m, T& v, T& largest) {
  const T g = grad + c.weight_decay * value;
  m = c.beta1 * m + c.one_minus_beta1 * g;
  v = c.beta2 * v + c.one_minus_beta2 * (g * g);
  largest = amsgrad && largest > v ? largest : v;
  value = c.shrink * value - c.step_size * (m / (kernels::sqrt(largest) * c.denom_factor + c.eps));
}
// Without momentum m is the step itself, and starts from 0; without centering `mean` is 0.
template <class T>
FLATLAND_HD void rmsprop_update(const RmspropConstants<T>& c, T& value, T grad, T& m, T& v, T& mean) {
  const T g = grad + c.weight_decay * value;
  v = c.alpha * v + c.one_minus_alpha * (g * g);
  mean = c.keep_mean * mean + c.take_mean * g;
  const T variance = v - mean * mean;
  m = c.momentum * m + g / (kernels::sqrt(variance < T(0) ? T(0) : variance) + c.eps);
  value -= c.lr * m;
}

// What clipped gradients are multiplied by.
template <class T>
FLATLAND_HD T clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return factor >= 1 ? T(1) : static_cast<T>(factor);  // not a number stays so
}

}  // namespace flatland::kernels
