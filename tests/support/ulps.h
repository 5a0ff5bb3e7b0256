// Distances in units of the last place.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace flatland::test {

// Distance of `got` from the exact value in units of the last place of T at the exact value; NaN matches NaN.
template <class T>
double ulps(T got, long double exact) {
  using L = std::numeric_limits<T>;
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) && std::isnan(got) ? 0 : HUGE_VAL;
  const T nearest = static_cast<T>(exact);
  if (std::isinf(nearest) || std::isinf(got)) {
    if (got == nearest) return 0;
    // one step around the overflow threshold is one ulp
    return std::fabs(std::isinf(got) ? nearest : got) == L::max() && (got > 0) == (nearest > 0) ? 1
                                                                                                : HUGE_VAL;
  }
  const int exponent = exact == 0 ? L::min_exponent : std::max(std::ilogb(exact) + 1, L::min_exponent);
  return static_cast<double>(std::fabs(got - exact) / std::ldexp(1.0L, exponent - L::digits));
}

// The larger of two errors, and infinity where the new one is NaN, which std::max would pass over.
template <class T>
T worse(T worst, T error) {
  if (std::isnan(error)) return std::numeric_limits<T>::infinity();
  return std::max(worst, error);
}

}  // namespace flatland::test
