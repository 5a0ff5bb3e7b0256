// Sums of vectors and of their lanes; LaneSum keeps them in double, so that float terms lose nothing however
// many there are.
#pragma once

#include <flatland/kernels/simd.h>

namespace flatland::kernels {

namespace detail {
// op(lane, op(lane, ...)) by halves, in the same order at every call; op takes vectors and scalars.
template <class T, int bytes, class Op>
FLATLAND_HD T fold(typename VecType<T, bytes>::type v, const Op& op) {
  if constexpr (bytes > 16) {
    typename VecType<T, bytes / 2>::type half[2];
    __builtin_memcpy(half, &v, bytes);
    return fold<T, bytes / 2>(op(half[0], half[1]), op);
  } else {
    T result = v[0];
    for (int i = 1; i < bytes / static_cast<int>(sizeof(T)); ++i) result = op(result, T(v[i]));
    return result;
  }
}
}  // namespace detail
template <Isa I, class T, class Op>
FLATLAND_HD T fold_lanes(Vec<T, I> v, const Op& op) {
  return detail::fold<T, vec_bytes<I>>(v, op);
}
template <Isa I, class T>
FLATLAND_HD T add_lanes(Vec<T, I> v) {
  return fold_lanes<I, T>(v, [](auto a, auto b) { return a + b; });
}

template <class T, Isa I>
struct LaneSum;

template <Isa I>
struct LaneSum<double, I> {
  Vec<double, I> sum{};
  FLATLAND_HD void add(Vec<double, I> v) { sum += v; }
  FLATLAND_HD double total() const { return add_lanes<I, double>(sum); }
  FLATLAND_HD void store(double* lane) const { kernels::store<I>(lane, sum); }
};

template <Isa I>
struct LaneSum<float, I> {
  using Half = typename detail::VecType<float, vec_bytes<I> / 2>::type;
  Vec<double, I> low{};
  Vec<double, I> high{};
  FLATLAND_HD void add(Vec<float, I> v) {
    Half half[2];
    __builtin_memcpy(half, &v, sizeof(v));
    low += __builtin_convertvector(half[0], Vec<double, I>);
    high += __builtin_convertvector(half[1], Vec<double, I>);
  }
  FLATLAND_HD double total() const { return add_lanes<I, double>(low + high); }
  FLATLAND_HD void store(double* lane) const {
    kernels::store<I>(lane, low);
    kernels::store<I>(lane + lanes<double, I>, high);
  }
};

}  // namespace flatland::kernels
