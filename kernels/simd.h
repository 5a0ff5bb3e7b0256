// Vectors of one instruction-set level, for files *_simd.cpp only.
// Arithmetic and comparisons are the compiler's own on vector types; what C++ has no operator for stands
// here, for scalars and vectors alike, so that a formula written once serves both.
#pragma once

#include <flatland/kernels/hd.h>
#include <flatland/kernels/isa.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
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
  T lane[lanes<T, I>];
  for (int i = 0; i < lanes<T, I>; ++i) lane[i] = i < n ? p[i] : fill;
  return load<I>(lane);
}
template <Isa I, class T>
FLATLAND_HD void store_first(T* p, Vec<T, I> v, std::int64_t n) {
  for (int i = 0; i < lanes<T, I>; ++i)
    if (i < n) p[i] = v[i];
}

// a * b + c, rounded once where the level has FMA.
template <Isa I>
FLATLAND_HD Vec<float, I> fma(Vec<float, I> a, Vec<float, I> b, Vec<float, I> c) {
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4) return (Vec<float, I>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#endif
#if defined(__FMA__)
  if constexpr (I == Isa::v3) return (Vec<float, I>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#endif
  return a * b + c;
}
template <Isa I>
FLATLAND_HD Vec<double, I> fma(Vec<double, I> a, Vec<double, I> b, Vec<double, I> c) {
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4) return (Vec<double, I>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#endif
#if defined(__FMA__)
  if constexpr (I == Isa::v3) return (Vec<double, I>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#endif
  return a * b + c;
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
