// Normal deviates from uniform ones, for double and vectors of double. Only + - * / and sqrt, which IEEE
// fixes to the last bit, and no fma, which not every instruction set has: so every machine finds the same
// numbers (CUDA: where contraction is off). For the same reason this is not libm's, nor vecmath's, log and
// cos.
#pragma once

#include <flatland/kernels/primitives.h>
#include <flatland/kernels/random.h>
#ifdef FLATLAND_ISA_LEVEL
#include <flatland/kernels/simd.h>
#endif

namespace flatland::kernels {

namespace detail {

template <class V>
FLATLAND_HD V polynomial(V, double c0) {
  return splat<V>(c0);
}
template <class V, class... C>
FLATLAND_HD V polynomial(V x, double c0, C... c) {
  return c0 + x * polynomial(x, c...);
}

// log u for normal positive u, within 1 ulp (fdlibm): u = 2^k (1 + f), s = f / (2 + f).
template <class V>
FLATLAND_HD V portable_log(V u) {
  const auto bits = to_bits(u);
  const auto k_bits = (bits - std::int64_t{0x3fe6a09e667f3bcd}) >> 52;
  const V f = from_bits<V>(bits - (k_bits << 52)) - 1.0;
  const V k = from_bits<V>(to_bits(splat<V>(0x1.8p52)) + k_bits) - 0x1.8p52;
  const V s = f / (f + 2.0);
  const V z = s * s;
  const V half_square = 0.5 * f * f;
  const V p = z * polynomial(z, 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
                             2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
                             1.479819860511658591e-01);
  const V tail = s * (half_square + p) + k * 0x1.a39ef35793c76p-33;
  return k * 0x1.62e42feep-1 - ((half_square - tail) - f);
}

// cos(2 pi v) for v in [0, 1): v = q / 4 + r, |r| <= 1 / 8, without rounding.
template <class V>
FLATLAND_HD V cos_turns(V v) {
  const V rounded = v * 4.0 + 0x1.8p52;
  const auto q = to_bits(rounded) & std::int64_t{3};
  const V t = (v - (rounded - 0x1.8p52) * 0.25) * 6.283185307179586477;
  const V z = t * t;
  const V sine = t + t * z *
                         polynomial(z, -1.66666666666666324348e-01, 8.33333333332248946124e-03,
                                    -1.98412698298579493134e-04, 2.75573137070700676789e-06,
                                    -2.50507602534068634195e-08, 1.58969099521155010221e-10);
  const V cosine = 1.0 - (0.5 * z - z * z *
                                        polynomial(z, 4.16666666666666019037e-02, -1.38888888888741095749e-03,
                                                   2.48015872894767294178e-05, -2.75573143513906633035e-07,
                                                   2.08757232129817482790e-09, -1.13596475577881948265e-11));
  const V magnitude = select((q & std::int64_t{1}) != 0, sine, cosine);
  return select(((q + 1) & std::int64_t{2}) != 0, -magnitude, magnitude);
}

}  // namespace detail

// Box-Muller: u in (0, 1] and v in [0, 1), both multiples of 2^-53, give a standard normal deviate. Its
// magnitude is at most 8.58.
template <class V>
FLATLAND_HD V box_muller(V u, V v) {
  return sqrt(-2.0 * detail::portable_log(u)) * detail::cos_turns(v);
}
// The same of one draw's bits.
FLATLAND_HD double normal_of(const RandomBits& bits) {
  return box_muller(1.0 - uniform_of(std::uint64_t{bits[1]} << 32 | bits[0]),
                    uniform_of(std::uint64_t{bits[3]} << 32 | bits[2]));
}

}  // namespace flatland::kernels
