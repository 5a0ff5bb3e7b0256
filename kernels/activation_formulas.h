// The activations of activation.h and their derivatives, for scalars and vectors.
#pragma once

#include <flatland/kernels/activation.h>
#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

template <ActivationKind kind, class V>
FLATLAND_HD V activation_value(V x, scalar_of<V> slope) {
  using T = scalar_of<V>;
  using enum ActivationKind;
  if constexpr (kind == relu) return select(x < T(0), splat<V>(T(0)), x);  // NaN stays NaN
  if constexpr (kind == leaky_relu) return select(x > T(0), x, x * slope);
  if constexpr (kind == elu) return select(x > T(0), x, expm1(x) * slope);
  if constexpr (kind == softplus) return kernels::softplus(x);
  if constexpr (kind == sigmoid) return kernels::sigmoid(x);
  if constexpr (kind == tanh) return kernels::tanh(x);
  return x;
}

// The derivative as a function of the output y.
template <ActivationKind kind, class V>
FLATLAND_HD V activation_derivative(V y, scalar_of<V> slope) {
  using T = scalar_of<V>;
  using enum ActivationKind;
  const V one = splat<V>(T(1));
  if constexpr (kind == relu) return select(y > T(0), one, splat<V>(T(0)));
  if constexpr (kind == leaky_relu) return select(y > T(0), one, splat<V>(slope));
  if constexpr (kind == elu) return select(y > T(0), one, y + slope);
  // sigmoid(x) = 1 - e^-y; the threshold is softplus(20), above it y is x and the derivative 1
  if constexpr (kind == softplus) return select(y > T(20.00000000206116), one, -expm1(-y));
  if constexpr (kind == sigmoid) return y * (one - y);
  if constexpr (kind == tanh) return (one - y) * (one + y);
  return one;
}

// Calls f(std::integral_constant<ActivationKind, kind>) so that loops know their formula.
template <class F>
FLATLAND_HD void with_activation(ActivationKind kind, const F& f) {
  using enum ActivationKind;
  switch (kind) {
    case identity:
      return f(std::integral_constant<ActivationKind, identity>{});
    case relu:
      return f(std::integral_constant<ActivationKind, relu>{});
    case leaky_relu:
      return f(std::integral_constant<ActivationKind, leaky_relu>{});
    case elu:
      return f(std::integral_constant<ActivationKind, elu>{});
    case softplus:
      return f(std::integral_constant<ActivationKind, softplus>{});
    case sigmoid:
      return f(std::integral_constant<ActivationKind, sigmoid>{});
    case tanh:
      return f(std::integral_constant<ActivationKind, tanh>{});
  }
}

}  // namespace flatland::kernels
