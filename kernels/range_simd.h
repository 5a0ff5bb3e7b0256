// Walking n consecutive values a vector at a time, the last one in part.
#pragma once

#include <flatland/kernels/simd.h>

namespace flatland::kernels {

// Calls step(first, width) for each vector of n values; the last may be narrower.
template <class T, Isa I, class Step>
FLATLAND_HD void for_vectors(std::int64_t n, const Step& step) {
  constexpr std::int64_t k_lanes = lanes<T, I>;
  std::int64_t i = 0;
  for (; i + k_lanes <= n; i += k_lanes) step(i, k_lanes);
  if (i < n) step(i, n - i);
}

}  // namespace flatland::kernels
