// What the reductions of reduce.h are made of, for scalars and vectors.
#pragma once

#include <flatland/kernels/primitives.h>
#ifdef FLATLAND_ISA_LEVEL
#include <flatland/kernels/simd.h>
#endif

#include <cstdint>

namespace flatland::kernels {

// a where it is larger than b, or NaN.
template <class V>
FLATLAND_HD V larger(V a, V b) {
  return select((a > b) | (a != a), a, b);
}

// Whether value a at place i is the one that argmax prefers to value b at place j: NaN is largest, the first
// of equals counts.
template <class T>
FLATLAND_HD bool goes_before(T a, std::int64_t i, T b, std::int64_t j) {
  if (a != a || b != b) return a != a && (b == b || i < j);
  return a > b || (a == b && i < j);
}

// What sums over columns add up: x - center, or its square. No center: x itself.
enum class ColumnTerm { value, deviation, squared_deviation };
template <ColumnTerm term, class V>
FLATLAND_HD V column_term(V x, V center) {
  if constexpr (term == ColumnTerm::value) return x;
  const V deviation = x - center;
  if constexpr (term == ColumnTerm::deviation) return deviation;
  return deviation * deviation;
}

}  // namespace flatland::kernels
