// Ranks by distance without sorting.
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>
#include <span>

namespace flatland::detail {

// sum_i sum_{j in index[i,:]} max(0, rank(i, j) - k), where rank(i, j) is the place of j among all others by
// ascending distance from i in x (the nearest has rank 1; ties by index).
//   x (N, D) float32 or float64, finite   index (N, k)
// Distances come from matrix products in float32 with a bound of their error; where that leaves the order of
// two open, it is decided by float64 sums of squared differences. So the ranks are exact for both types.
// Cost: 2 N^2 D flop, N^2 k comparisons. Memory: O(N D).
std::int64_t rank_excess(const Tensor& x, std::span<const std::int32_t> index, std::int64_t k);

}  // namespace flatland::detail
