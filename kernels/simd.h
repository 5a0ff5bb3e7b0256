// Vectors of one instruction-set level, for files *_simd.cpp only.
// Arithmetic and comparisons are the compiler's own on vector types; what C++ has no operator for stands
// here, for scalars and vectors alike, so that a formula written once serves both.
#pragma once

#include <flatland/kernels/hd.h>
#include <flatland/kernels/isa.h>
#include <flatland/kernels/primitives.h>

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Before a loop of constant length over an array of vectors that is to stay in registers.
#if defined(__clang__)
#define FLATLAND_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FLATLAND_UNROLL _Pragma("GCC unroll 64")
#endif

namespace flatland::kernels {

// The level that this unit is compiled for; set by the build.
#ifdef FLATLAND_ISA_LEVEL
inline constexpr Isa this_isa = Isa::FLATLAND_ISA_LEVEL;
#endif

template <Isa I>
inline constexpr int vec_bytes = I == Isa::v4   ? 64
                                 : I == Isa::v3 ? 32
                                                : 16;
template <class T, Isa I>
inline constexpr int lanes = vec_bytes<I> / static_cast<int>(sizeof(T));

namespace detail {
template <class T, int bytes>
struct VecType {
  typedef T type __attribute__((vector_size(bytes)));
  typedef T unaligned __attribute__((vector_size(bytes), aligned(alignof(T)), may_alias));
};
template <class T>
struct IntOf;
template <>
struct IntOf<float> {
  using type = std::int32_t;
};
template <>
struct IntOf<double> {
  using type = std::int64_t;
};
}  // namespace detail

template <class T, Isa I>
using Vec = typename detail::VecType<T, vec_bytes<I>>::type;
// Lane masks and bit patterns: all ones or all zeros a lane.
template <class T, Isa I>
using IntVec = typename detail::VecType<typename detail::IntOf<T>::type, vec_bytes<I>>::type;

template <Isa I, class T>
FLATLAND_HD Vec<T, I> load(const T* p) {
  return *reinterpret_cast<const typename detail::VecType<T, vec_bytes<I>>::unaligned*>(p);
}
template <Isa I, class T>
FLATLAND_HD void store(T* p, Vec<T, I> v) {
  *reinterpret_cast<typename detail::VecType<T, vec_bytes<I>>::unaligned*>(p) = v;
}
template <Isa I, class T>
FLATLAND_HD Vec<T, I> broadcast(T x) {
  return x - Vec<T, I>{};
}
// The first n < lanes values; the other lanes are `fill` on load and untouched on store.
template <Isa I, class T>
FLATLAND_HD Vec<T, I> load_first(const T* p, std::int64_t n, T fill = 0) {
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4) {
    const Vec<T, I> rest = broadcast<I>(fill);
    if constexpr (sizeof(T) == 4)
      return (Vec<T, I>)_mm512_mask_loadu_ps((__m512)rest, __mmask16((1u << n) - 1), p);
    else
      return (Vec<T, I>)_mm512_mask_loadu_pd((__m512d)rest, __mmask8((1u << n) - 1), p);
  }
#endif
  T lane[lanes<T, I>];
  for (int i = 0; i < lanes<T, I>; ++i) lane[i] = i < n ? p[i] : fill;
  return load<I>(lane);
}
template <Isa I, class T>
FLATLAND_HD void store_first(T* p, Vec<T, I> v, std::int64_t n) {
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4 && sizeof(T) == 4) {
    return _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v);
  } else if constexpr (I == Isa::v4) {
    return _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), (__m512d)v);
  }
#endif
  T lane[lanes<T, I>];
  store<I>(lane, v);
  for (int i = 0; i < lanes<T, I>; ++i)
    if (i < n) p[i] = lane[i];
}

// A whole vector where n >= lanes, else its first n lanes: for loops whose last vector is partial.
template <Isa I, class T>
FLATLAND_HD Vec<T, I> load_part(const T* p, std::int64_t n, T fill = 0) {
  return n >= lanes<T, I> ? load<I>(p) : load_first<I>(p, n, fill);
}
template <Isa I, class T>
FLATLAND_HD void store_part(T* p, Vec<T, I> v, std::int64_t n) {
  if (n >= lanes<T, I>)
    store<I>(p, v);
  else
    store_first<I>(p, v, n);
}

// The vector twins of primitives.h.
template <class V>
concept Vector = !std::is_arithmetic_v<V> && requires(V v) {
  { v[0] + v[0] } -> std::floating_point;
  v < v;
};

template <Vector V>
FLATLAND_HD V splat(scalar_of<V> x) {
  return x - V{};
}
// a * b + c, rounded once where the level has FMA.
template <Vector V>
FLATLAND_HD V fma(V a, std::type_identity_t<V> b, std::type_identity_t<V> c) {
  [[maybe_unused]] constexpr bool single = sizeof(scalar_of<V>) == 4;
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    if constexpr (single)
      return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
    else
      return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
  }
#endif
#if defined(__FMA__)
  if constexpr (sizeof(V) == 32) {
    if constexpr (single)
      return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    else
      return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
  }
#endif
  return a * b + c;
}
template <Isa I>
FLATLAND_HD Vec<float, I> fma(Vec<float, I> a, Vec<float, I> b, Vec<float, I> c) {
  return kernels::fma(a, b, c);
}
template <Isa I>
FLATLAND_HD Vec<double, I> fma(Vec<double, I> a, Vec<double, I> b, Vec<double, I> c) {
  return kernels::fma(a, b, c);
}
template <Vector V>
FLATLAND_HD V sqrt(V x) {
  [[maybe_unused]] constexpr bool single = sizeof(scalar_of<V>) == 4;
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    if constexpr (single)
      return (V)_mm512_maskz_sqrt_ps(__mmask16(-1), (__m512)x);
    else
      return (V)_mm512_maskz_sqrt_pd(__mmask8(-1), (__m512d)x);
  }
#endif
#if defined(__AVX__)
  if constexpr (sizeof(V) == 32) {
    if constexpr (single)
      return (V)_mm256_sqrt_ps((__m256)x);
    else
      return (V)_mm256_sqrt_pd((__m256d)x);
  }
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(V) == 16) {
    if constexpr (single)
      return (V)_mm_sqrt_ps((__m128)x);
    else
      return (V)_mm_sqrt_pd((__m128d)x);
  }
#endif
  V y{};
  for (unsigned i = 0; i < sizeof(V) / sizeof(x[0]); ++i) y[i] = kernels::sqrt(scalar_of<V>(x[i]));
  return y;
}
// condition ? yes : no, lane by lane; both sides are evaluated.
template <Vector V>
FLATLAND_HD V select(mask_of<V> condition, V yes, std::type_identity_t<V> no) {
  return condition ? yes : no;
}
template <Vector V>
FLATLAND_HD V select(mask_of<V> condition, V yes, scalar_of<V> no) {
  return condition ? yes : splat<V>(no);
}
template <Vector V>
FLATLAND_HD V select(mask_of<V> condition, scalar_of<V> yes, V no) {
  return condition ? splat<V>(yes) : no;
}
template <Vector V>
FLATLAND_HD bits_of<V> to_bits(V x) {
  return (bits_of<V>)x;
}
template <Vector V>
FLATLAND_HD V from_bits(bits_of<V> x) {
  return (V)x;
}
#if defined(__AVX512F__)
// x 2^n for integral n. (maskz: gcc 12 takes the plain intrinsics for reads of uninitialised values.)
template <Vector V>
requires(sizeof(V) == 64) FLATLAND_HD V scalef(V x, V n) {
  if constexpr (sizeof(scalar_of<V>) == 4)
    return (V)_mm512_maskz_scalef_ps(__mmask16(-1), (__m512)x, (__m512)n);
  else
    return (V)_mm512_maskz_scalef_pd(__mmask8(-1), (__m512d)x, (__m512d)n);
}
#endif
// The signs of a comparison's lanes as bits 0, 1, ...: mask_bits(a < b) != 0 asks for any.
template <Isa I, class T>
FLATLAND_HD unsigned mask_bits(IntVec<T, I> mask) {
#if defined(__AVX512DQ__)
  if constexpr (I == Isa::v4 && sizeof(T) == 4) return _mm512_movepi32_mask((__m512i)mask);
  if constexpr (I == Isa::v4 && sizeof(T) == 8) return _mm512_movepi64_mask((__m512i)mask);
#endif
#if defined(__AVX__)
  if constexpr (I == Isa::v3 && sizeof(T) == 4) return unsigned(_mm256_movemask_ps((__m256)mask));
  if constexpr (I == Isa::v3 && sizeof(T) == 8) return unsigned(_mm256_movemask_pd((__m256d)mask));
#endif
#if defined(__SSE2__)
  if constexpr (I == Isa::v1 && sizeof(T) == 4) return unsigned(_mm_movemask_ps((__m128)mask));
  if constexpr (I == Isa::v1 && sizeof(T) == 8) return unsigned(_mm_movemask_pd((__m128d)mask));
#endif
  unsigned bits = 0;
  for (int i = 0; i < lanes<T, I>; ++i) bits |= mask[i] < 0 ? 1u << i : 0u;
  return bits;
}

// Sum of the lanes, by halves: the same order at every call.
template <Isa I, class T>
FLATLAND_HD T sum_lanes(Vec<T, I> v) {
  T lane[lanes<T, I>];
  store<I>(lane, v);
  for (int width = lanes<T, I> / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
}
template <Isa I, class T>
FLATLAND_HD T max_lanes(Vec<T, I> v) {
  T result = v[0];
  for (int i = 1; i < lanes<T, I>; ++i) result = v[i] > result ? v[i] : result;
  return result;
}

}  // namespace flatland::kernels
