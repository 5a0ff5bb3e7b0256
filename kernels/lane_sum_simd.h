// A sum of vectors kept in double, lane by lane: float terms lose nothing however many there are.
#pragma once

#include <flatland/kernels/simd.h>

namespace flatland::kernels {

template <class T, Isa I>
struct LaneSum;

template <Isa I>
struct LaneSum<double, I> {
  Vec<double, I> sum{};
  FLATLAND_HD void add(Vec<double, I> v) { sum += v; }
  FLATLAND_HD double total() const { return sum_lanes<I, double>(sum); }
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
  FLATLAND_HD double total() const { return sum_lanes<I, double>(low + high); }
  FLATLAND_HD void store(double* lane) const {
    kernels::store<I>(lane, low);
    kernels::store<I>(lane + lanes<double, I>, high);
  }
};

}  // namespace flatland::kernels
