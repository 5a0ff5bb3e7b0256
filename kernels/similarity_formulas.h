// Student-t and modified Cauchy kernels and their derivatives, for scalars and vectors alike.
#pragma once

#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

// w = base^(-(alpha + 1) / 2) with base = 1 + d2 / alpha, a function of the squared distance. `unit` is the
// case alpha = 1, where w = 1 / base. Kernels over all pairs have their own ways to the base and to its
// inverse.
template <class T, bool unit>
struct StudentT {
  T alpha;
  FLATLAND_HD explicit StudentT(double a) : alpha(static_cast<T>(a)) {}

  template <class V>
  FLATLAND_HD V weight_at(V base, V inverse) const {
    if constexpr (unit) return inverse;
    return exp(-T(0.5) * (alpha + T(1)) * log(base));
  }
  // dw / d d2 = -fall_scale() fall(w, 1 / base)
  template <class V>
  FLATLAND_HD V fall(V w, V inverse) const {
    return w * inverse;
  }
  FLATLAND_HD double fall_scale() const { return 0.5 * (1 + 1 / static_cast<double>(alpha)); }

  template <class V>
  FLATLAND_HD V weight(V d2) const {
    const V base = d2 / alpha + T(1);
    return weight_at(base, T(1) / base);
  }
  // dw / d d2, given w.
  template <class V>
  FLATLAND_HD V slope(V d2, V w) const {
    if constexpr (unit) return -fall(w, w);
    return T(-fall_scale()) * fall(w, T(1) / (d2 / alpha + T(1)));
  }
  // dw / d alpha, given w.
  template <class V>
  FLATLAND_HD V alpha_slope(V d2, V w) const {
    const V share = d2 / (d2 + alpha);
    return T(0.5) * w * (share * ((alpha + T(1)) / alpha) - log1p(d2 / alpha));
  }
};

// q = 1 / (1 + a d^(2b)), a function of the distance.
template <class T>
struct ModifiedCauchy {
  T a, b;
  FLATLAND_HD ModifiedCauchy(double a, double b) : a(static_cast<T>(a)), b(static_cast<T>(b)) {}

  template <class V>
  FLATLAND_HD V power(V log_dist) const {  // d^(2b)
    return exp(T(2) * b * log_dist);
  }
  template <class V>
  FLATLAND_HD V value(V dist) const {
    return T(1) / (a * power(log(dist)) + T(1));
  }
  template <class V>
  struct Slopes {
    V dist, a, b;
  };
  // dq / d dist, dq / da, dq / db, given q; 0 at distance 0, whatever b.
  template <class V>
  FLATLAND_HD Slopes<V> slopes(V dist, V q) const {
    const V log_dist = log(dist);
    const V p = power(log_dist);
    const auto far = p * a > T(1);  // there q (1 - q) does not cancel, and p may overflow
    const V fall = select(far, q * (T(1) - q), q * q * (p * a));  // a d^(2b) q^2
    const auto apart = dist > T(0);
    return {select(apart, T(-2) * b * fall / dist, V{}), select(far, -fall / a, -(q * q * p)),
            select(apart, T(-2) * fall * log_dist, V{})};
  }
};

}  // namespace flatland::kernels
