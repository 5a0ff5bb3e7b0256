// The losses of loss.h and their derivatives, for scalars and vectors.
#pragma once

#include <flatland/kernels/loss.h>
#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

template <class Condition, class V>
FLATLAND_HD V nan_unless(Condition valid, V x) {
  return select(valid, x, splat<V>(scalar_of<V>(__builtin_nan(""))));
}

// One loss of a prediction x and its target t.
template <LossKind kind, class T>
struct PointLoss {
  T beta;

  template <class V>
  FLATLAND_HD V value(V x, V t) const {
    using enum LossKind;
    const V d = x - t;
    if constexpr (kind == absolute) return abs(d);
    if constexpr (kind == smooth_absolute)
      return select(abs(d) < beta, d * d * (T(0.5) / beta), abs(d) - T(0.5) * beta);
    if constexpr (kind == binary)  // the logarithms are NaN where x is out of range
      return nan_unless(t * (T(1) - t) >= T(0),
                        (t - T(1)) * log_from(log1p(-x)) - t * log_from(kernels::log(x)));
    if constexpr (kind == binary_logit) return max(x, V{}) - x * t + log1p_unit(kernels::exp(-abs(x)));
    return d * d;
  }
  template <class V>
  FLATLAND_HD V derivative(V x, V t) const {
    using enum LossKind;
    const V d = x - t;
    if constexpr (kind == absolute) return sign(d);
    if constexpr (kind == smooth_absolute) return select(abs(d) < beta, d / beta, sign(d));
    if constexpr (kind == binary) return d / floor_at(x * (T(1) - x), T(1e-12f));
    if constexpr (kind == binary_logit) return kernels::sigmoid(x) - t;
    return d + d;
  }

 private:
  // NaN stays NaN in all of these.
  template <class V>
  FLATLAND_HD static V floor_at(V x, T low) {
    return select(x < low, splat<V>(low), x);
  }
  template <class V>
  FLATLAND_HD static V log_from(V x) {
    return floor_at(x, T(-100));
  }
  template <class V>
  FLATLAND_HD static V sign(V d) {
    return select(d > T(0), splat<V>(T(1)), select(d < T(0), splat<V>(T(-1)), d));
  }
};

// Calls f(PointLoss<kind, T>), so that loops know their formula.
template <class T, class F>
FLATLAND_HD void with_loss(const LossRule& rule, const F& f) {
  using enum LossKind;
  const T beta = static_cast<T>(rule.beta);
  switch (rule.kind) {
    case squared:
      return f(PointLoss<squared, T>{beta});
    case absolute:
      return f(PointLoss<absolute, T>{beta});
    case smooth_absolute:
      return f(PointLoss<smooth_absolute, T>{beta});
    case binary:
      return f(PointLoss<binary, T>{beta});
    case binary_logit:
      return f(PointLoss<binary_logit, T>{beta});
  }
}

// The Gaussian loss of one value, given its mean and variance.
template <class V>
struct GaussianLoss {
  using T = scalar_of<V>;
  V value, d_mean, d_variance;

  FLATLAND_HD GaussianLoss(V mean, V variance, V target, T eps, T constant) {
    const V v = select(variance < eps, splat<V>(eps), variance);
    const V scaled = (mean - target) / v;
    value = nan_unless(variance >= T(0), T(0.5) * (kernels::log(v) + (mean - target) * scaled) + constant);
    d_mean = scaled;
    d_variance = T(0.5) * (T(1) / v - scaled * scaled);
  }
};
template <class T>
FLATLAND_HD T gaussian_constant(bool full) {
  return full ? T(0.918938533204672742) : T(0);  // log(2 pi) / 2
}

// The loss of a triplet, and what its gradients are multiples of: da = near (a - p) - far (a - n), dp =
// -near (a - p), dn = far (a - n), where a - p stands for a - p + eps.
template <class T>
struct TripletLoss {
  T value, near, far;

  // Given the squared distances.
  FLATLAND_HD TripletLoss(T square_near, T square_far, T margin, T share) {
    const T to_positive = kernels::sqrt(square_near), to_negative = kernels::sqrt(square_far);
    const T over = to_positive - to_negative + margin;
    value = over < T(0) ? T(0) : over;
    near = over >= T(0) && to_positive > T(0) ? share / to_positive : T(0);
    far = over >= T(0) && to_negative > T(0) ? share / to_negative : T(0);
  }
};

}  // namespace flatland::kernels
