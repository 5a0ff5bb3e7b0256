// Elementary functions without branches, for float, double and the vectors of simd.h alike: in a *_simd.cpp
// file include this and call exp(v) with a Vec<T, I>, elsewhere with a T. Always inlined.
//
//   V   float, double or Vec<T, I>; constants are written scalar_of<V>(0.5) and mix with V by operators;
//       splat<V>(c) makes a V of one
//   fma(a, b, c)  sqrt(x)  select(condition, yes, no)      (primitives.h, simd.h)
//   min(a, b)  max(a, b)  abs(x)  copysign(x, sign)
//   exp  expm1  log  log1p  log1p_unit  softplus  sigmoid  tanh
//
// Accuracy against the exact value, all inputs: exp, log, log1p within 2 ulp, the others within 3. Special
// values are IEEE's: exp(-inf) = 0, overflow to inf, log(0) = -inf, log of a negative is NaN, NaN stays NaN.
// Denormals come in and out right where the thread does not flush them (parallel_for does).
// Called qualified or from inside namespace flatland::kernels; with <cmath> and using-directives an
// unqualified exp(double) elsewhere is libm's.
#pragma once

#include <flatland/kernels/primitives.h>
#ifdef FLATLAND_ISA_LEVEL
#include <flatland/kernels/simd.h>
#endif

namespace flatland::kernels {

namespace detail {

// Bit layout, and ln 2 in two parts, the first so short that its product with an exponent is exact.
template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr int mantissa = 23;
  static constexpr std::int32_t bias = 127;
  static constexpr std::int32_t sign = INT32_MIN;
  static constexpr std::int32_t sqrt_half = 0x3f3504f3;
  static constexpr float smallest_normal = 0x1p-126f;
  static constexpr float rounder = 0x1.8p23f;  // x + rounder has the nearest integer in its last bits
  static constexpr float ln2_hi = 0x1.62e4p-1f;
  static constexpr float ln2_lo = 0x1.7f7d1cp-20f;
  static constexpr float exp_min = -104;  // e^-104 rounds to 0
  static constexpr float exp_max = 89;    // e^89 overflows
};
template <>
struct Format<double> {
  static constexpr int mantissa = 52;
  static constexpr std::int64_t bias = 1023;
  static constexpr std::int64_t sign = INT64_MIN;
  static constexpr std::int64_t sqrt_half = 0x3fe6a09e667f3bcd;
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr double rounder = 0x1.8p52;
  static constexpr double ln2_hi = 0x1.62e42feep-1;
  static constexpr double ln2_lo = 0x1.a39ef35793c76p-33;
  static constexpr double exp_min = -746;
  static constexpr double exp_max = 710;
};

// c0 + x (c1 + x (c2 + ...))
template <class V>
FLATLAND_HD V horner(V, scalar_of<V> c0) {
  return splat<V>(c0);
}
template <class V, class... C>
FLATLAND_HD V horner(V x, scalar_of<V> c0, C... c) {
  return fma(horner(x, static_cast<scalar_of<V>>(c)...), x, splat<V>(c0));
}

// 2^n for integral n within the exponents of normal numbers.
template <class V>
FLATLAND_HD V power_of_two(V n) {
  using F = Format<scalar_of<V>>;
  return from_bits<V>((to_bits(n + F::rounder) + F::bias) << F::mantissa);
}
// x 2^n for integral n, also where 2^n alone is out of range: rounded once.
template <class V>
FLATLAND_HD V times_power_of_two(V x, V n) {
  using F = Format<scalar_of<V>>;
  if constexpr (sizeof(V) == 64) {
    return scalef(x, n);
  } else {
    const V half = (n * scalar_of<V>(0.5) + F::rounder) - F::rounder;
    return x * power_of_two(half) * power_of_two(n - half);
  }
}

// x = n ln 2 + r with |r| <= ln 2 / 2, and e^r - 1.
template <class V>
struct ExpParts {
  V n, expm1_r;
};
template <class V>
FLATLAND_HD ExpParts<V> exp_parts(V x) {
  using T = scalar_of<V>;
  using F = Format<T>;
  const V n = fma(x, splat<V>(T(1.44269504088896340736)), splat<V>(F::rounder)) - F::rounder;
  const V r = fma(n, splat<V>(-F::ln2_lo), fma(n, splat<V>(-F::ln2_hi), x));
  V q;  // (e^r - 1 - r) / r^2
  if constexpr (sizeof(T) == 4)
    q = horner(r, T(0.5), T(0.1666657699), T(0.04166655462), T(0.008363179053), T(0.001392618359));
  else
    q = horner(r, T(0.5000000000000001022), T(0.1666666666666666745), T(0.04166666666662412787),
               T(0.008333333333330061833), T(0.00138888889172137169), T(0.0001984126986305361688),
               T(0.00002480152129595437513), T(2.755726845999706477e-6), T(2.762008844540974816e-7),
               T(2.510038549551031908e-8));
  return {n, fma(r * r, q, r)};
}

// log(x (1 + c)) for positive x and tiny c, after fdlibm's log: x = 2^k (1 + f), s = f / (2 + f).
template <class V>
FLATLAND_HD V log_core(V x, V c) {
  using T = scalar_of<V>;
  using F = Format<T>;
  const auto denormal = x < F::smallest_normal;
  x = select(denormal, x * T(0x1p54), x);
  const auto bits = to_bits(x) & ~F::sign;  // a negative x is the caller's; it must not overflow here
  const auto k_bits = (bits - F::sqrt_half) >> F::mantissa;
  const V f = from_bits<V>(bits - (k_bits << F::mantissa)) - T(1);
  V k = from_bits<V>(to_bits(splat<V>(F::rounder)) + k_bits) - F::rounder;
  k = select(denormal, k - T(54), k);
  const V s = f / (f + T(2));
  const V z = s * s;
  V p;  // log(1 + f) = f - f^2/2 + s (f^2/2 + z p)
  if constexpr (sizeof(T) == 4)
    p = horner(z, T(0.66666662693), T(0.40000972152), T(0.28498786688), T(0.24279078841));
  else
    p = horner(z, T(6.666666666666735130e-01), T(3.999999999940941908e-01), T(2.857142874366239149e-01),
               T(2.222219843214978396e-01), T(1.818357216161805012e-01), T(1.531383769920937332e-01),
               T(1.479819860511658591e-01));
  const V half_square = T(0.5) * f * f;
  const V tail = fma(s, fma(z, p, half_square), fma(k, splat<V>(F::ln2_lo), c));
  return fma(k, splat<V>(F::ln2_hi), f - (half_square - tail));
}

}  // namespace detail

// The smaller, the larger; b where one is NaN.
template <class V>
FLATLAND_HD V min(V a, std::type_identity_t<V> b) {
  return select(a < b, a, b);
}
template <class V>
FLATLAND_HD V max(V a, std::type_identity_t<V> b) {
  return select(a > b, a, b);
}
template <class V>
FLATLAND_HD V abs(V x) {
  return from_bits<V>(to_bits(x) & ~detail::Format<scalar_of<V>>::sign);
}
template <class V>
FLATLAND_HD V copysign(V x, std::type_identity_t<V> sign) {
  return from_bits<V>(to_bits(abs(x)) | (to_bits(sign) & detail::Format<scalar_of<V>>::sign));
}

template <class V>
FLATLAND_HD V exp(V x) {
  using F = detail::Format<scalar_of<V>>;
  x = select(x < F::exp_min, splat<V>(F::exp_min), x);
  x = select(x > F::exp_max, splat<V>(F::exp_max), x);
  const auto parts = detail::exp_parts(x);
  return detail::times_power_of_two(parts.expm1_r + scalar_of<V>(1), parts.n);
}

// e^x - 1, accurate for small x too.
template <class V>
FLATLAND_HD V expm1(V x) {
  using T = scalar_of<V>;
  using F = detail::Format<T>;
  V y = select(x < T(-40), splat<V>(T(-40)), x);
  y = select(y > F::exp_max, splat<V>(F::exp_max), y);
  const auto parts = detail::exp_parts(y);
  const V scale = detail::power_of_two(parts.n - T(1));  // half of 2^n, which may overflow
  y = T(2) * fma(scale, parts.expm1_r, scale - T(0.5));
  return select(abs(x) < T(0x1p-60), x, y);
}

template <class V>
FLATLAND_HD V log(V x) {
  using T = scalar_of<V>;
  V y = detail::log_core(x, V{});
  y = select(x == T(__builtin_inf()), x, y);
  y = select(x == T(0), splat<V>(-T(__builtin_inf())), y);
  return select(x >= T(0), y, splat<V>(T(__builtin_nan(""))));
}

// log(1 + x), accurate for small x too.
template <class V>
FLATLAND_HD V log1p(V x) {
  using T = scalar_of<V>;
  const V u = x + T(1);
  const V lost = select(x < T(1), x - (u - T(1)), T(1) - (u - x));
  V y = detail::log_core(u, lost / u);
  y = select(x == T(__builtin_inf()), x, y);
  y = select(x == T(-1), splat<V>(-T(__builtin_inf())), y);
  y = select(abs(x) < T(0x1p-60), x, y);
  return select(x >= T(-1), y, splat<V>(T(__builtin_nan(""))));
}

// log(1 + x) for x in [0, 1]: in float t + t^2 g(t), the polynomial with the smallest largest relative error.
template <class V>
FLATLAND_HD V log1p_unit(V x) {
  if constexpr (sizeof(scalar_of<V>) == 8) {
    return log1p(x);
  } else {
    const V g =
        detail::horner(x, -0.49999997189, 0.333328666618, -0.249870231592, 0.198579437977, -0.158622216008,
                       0.115923966451, -0.0671118888893, 0.0254384692654, -0.00451906862439);
    return fma(x * x, g, x);
  }
}

// log(1 + e^x); x itself above 20, as PyTorch.
template <class V>
FLATLAND_HD V softplus(V x) {
  using T = scalar_of<V>;
  const V y = max(x, V{}) + log1p_unit(exp(-abs(x)));
  return select(x > T(20), x, y);
}

// 1 / (1 + e^-x)
template <class V>
FLATLAND_HD V sigmoid(V x) {
  using T = scalar_of<V>;
  const V e = exp(-abs(x));
  return select(x < T(0), e, splat<V>(T(1))) / (e + T(1));
}

template <class V>
FLATLAND_HD V tanh(V x) {
  using T = scalar_of<V>;
  const V e = expm1(T(-2) * abs(x));
  return copysign(e / (e + T(2)), x);
}

}  // namespace flatland::kernels
