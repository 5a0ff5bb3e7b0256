// What the fused t-SNE kernels of the CPU and the GPU share, for scalars and vectors alike.
#pragma once

#include <flatland/kernels/divergence_formulas.h>
#include <flatland/kernels/similarity_formulas.h>

namespace flatland::kernels {

// A coordinate as these kernels see it: scaled by 1 / sqrt(alpha), so that the base of the Student-t kernel
// is 1 + |y_i - y_j|^2. Beyond `far` squares overflow; such items are far from all others anyway.
template <class T>
FLATLAND_HD T pair_coordinate(T y, T scale) {
  constexpr T far = sizeof(T) == 4 ? T(1e18) : T(1e150);
  const T value = y * scale;
  return value > far ? far : value < -far ? -far : value;
}
FLATLAND_HD double pair_scale(double alpha) {
  return 1 / sqrt(alpha);
}

// From the sum of all w to the factor of q. Where all weights vanish (one item, or items too far apart) q is
// 0, not NaN.
FLATLAND_HD double inverse_weight(double sum) {
  const double inverse = 1 / sum;
  return inverse > 1e20 ? 1e20 : inverse;
}

// What an entry p adds, with q = w scale: its term of the loss, r q for r = p / (q + eps), and r fall, which
// goes with y_i - y_j.
template <class V>
struct Attraction {
  V loss, share, strength;
};
template <class Kernel, class V>
FLATLAND_HD Attraction<V> attraction(const Kernel& kernel, V base, V inverse, V p, scalar_of<V> scale,
                                     scalar_of<V> eps) {
  const V w = kernel.weight_at(base, inverse);
  const V q = w * scale;
  const V inverse_q = kl_inverse(q, eps);
  const V ratio = -kl_term_dq(p, inverse_q);
  return {kl_term(p, inverse_q, eps), ratio * q, ratio * kernel.fall(w, inverse)};
}

// dy = factor (pull - total share push), over n items.
FLATLAND_HD double gradient_factor(double alpha, double n) {
  return 4 * StudentT<double, false>(alpha).fall_scale() * sqrt(alpha) / n;
}
FLATLAND_HD double pair_gradient(double factor, double pull, double share, double push) {
  return factor * (pull - share * push);
}

}  // namespace flatland::kernels
