// What C++ has no operator for, on scalars: fma, select, sqrt, abs, bit patterns. simd.h has the same names
// for vectors, so that a formula written once (vecmath.h, *_formulas.h) serves both.
#pragma once

#include <flatland/kernels/hd.h>

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace flatland::kernels {

namespace detail {
template <class V>
struct LaneTypes {  // of a vector type
  using scalar = std::remove_cvref_t<decltype(std::declval<V&>()[0])>;
  using bits = decltype(std::declval<V>() < std::declval<V>());
  using mask = bits;
};
template <>
struct LaneTypes<float> {
  using scalar = float;
  using bits = std::int32_t;
  using mask = bool;
};
template <>
struct LaneTypes<double> {
  using scalar = double;
  using bits = std::int64_t;
  using mask = bool;
};
}  // namespace detail

// Of a scalar or a vector V of float or double: one lane, its bit patterns, the type of a comparison.
template <class V>
using scalar_of = typename detail::LaneTypes<V>::scalar;
template <class V>
using bits_of = typename detail::LaneTypes<V>::bits;
template <class V>
using mask_of = typename detail::LaneTypes<V>::mask;

// a b + c, rounded once where the instruction set has it.
template <std::floating_point T>
FLATLAND_HD T fma(T a, T b, T c) {
#if !defined(__x86_64__) || defined(__FMA__) || defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 4) return __builtin_fmaf(a, b, c);
  return static_cast<T>(__builtin_fma(a, b, c));
#else
  return a * b + c;
#endif
}
// a b, rounded before anything is added to it.
template <class V>
FLATLAND_HD V rounded_product(V a, V b) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(V) == 4)
    return __fmul_rn(a, b);
  else
    return __dmul_rn(a, b);
#else
  return a * b;  // contraction is off
#endif
}
template <std::floating_point T>
FLATLAND_HD T sqrt(T x) {
  if constexpr (sizeof(T) == 4) return __builtin_sqrtf(x);
  return static_cast<T>(__builtin_sqrt(x));
}
template <std::floating_point T>
FLATLAND_HD T select(bool condition, std::type_identity_t<T> yes, T no) {
  return condition ? yes : no;
}
template <std::floating_point T>
FLATLAND_HD bits_of<T> to_bits(T x) {
  return __builtin_bit_cast(bits_of<T>, x);
}
template <std::floating_point T>
FLATLAND_HD T from_bits(bits_of<T> x) {
  return __builtin_bit_cast(T, x);
}
// The same value in every lane: splat<V>(1).
template <std::floating_point T>
FLATLAND_HD T splat(T x) {
  return x;
}

}  // namespace flatland::kernels
