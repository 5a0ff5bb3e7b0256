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
template <Isa I, class T>
FLATLAND_HD Vec<T, I> load_part(const T* p, std::int64_t width, T fill) {
  return width == lanes<T, I> ? load<I>(p) : load_first<I>(p, width, fill);
}
template <Isa I, class T>
FLATLAND_HD void store_part(T* p, Vec<T, I> v, std::int64_t width) {
  if (width == lanes<T, I>) return store<I>(p, v);
  store_first<I>(p, v, width);
}

}  // namespace flatland::kernels
