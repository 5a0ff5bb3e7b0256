// Terms of the relation losses and their derivatives, for scalars and vectors alike.
#pragma once

#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

// What the gradient g of a mean over n terms is for each of them.
template <class T>
FLATLAND_HD T mean_share(T g, std::int64_t n) {
  return static_cast<T>(static_cast<double>(g) / static_cast<double>(n > 0 ? n : 1));
}

// p (log(p + eps) - log(q + eps)) with one logarithm, given inverse = 1 / (q + eps).
template <class V>
FLATLAND_HD V kl_inverse(V q, scalar_of<V> eps) {
  return scalar_of<V>(1) / (q + eps);
}
template <class V>
FLATLAND_HD V kl_term(V p, V inverse, scalar_of<V> eps) {
  return p * log((p + eps) * inverse);
}
// d term / dq and d term / dp
template <class V>
FLATLAND_HD V kl_term_dq(V p, V inverse) {
  return -p * inverse;
}
template <class V>
FLATLAND_HD V kl_term_dp(V p, V inverse, scalar_of<V> eps) {
  return log((p + eps) * inverse) + p / (p + eps);
}

// -p log clamp(q, eps, 1) - (1 - p) log clamp(1 - q, eps, 1)
template <class V>
FLATLAND_HD V clamp_to_one(V x, scalar_of<V> eps) {
  x = select(x < eps, splat<V>(eps), x);
  return select(x > scalar_of<V>(1), splat<V>(scalar_of<V>(1)), x);
}
template <class V>
FLATLAND_HD V fuzzy_term(V p, V q, scalar_of<V> eps) {
  using T = scalar_of<V>;
  return -(p * log(clamp_to_one(q, eps)) + (T(1) - p) * log(clamp_to_one(T(1) - q, eps)));
}
// d term / dq; a clamped logarithm has no derivative.
template <class V>
FLATLAND_HD V fuzzy_term_dq(V p, V q, scalar_of<V> eps) {
  using T = scalar_of<V>;
  const V r = T(1) - q;
  const V near = select(q < eps, V{}, select(q > T(1), V{}, -p / q));
  const V far = select(r < eps, V{}, select(r > T(1), V{}, (T(1) - p) / r));
  return near + far;
}

}  // namespace flatland::kernels
