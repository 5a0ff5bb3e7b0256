// What CPU and CUDA share of neighbor_ranks: which items products place before a neighbour.
//
// Distances are compared by the exact keys of knn_formulas.h, of rows times the factor of TileScale, a power
// of two: squares stay far from overflow and underflow. Products of the rows z of TileScale bound such a key:
// with low = (1 - c) |z|^2 and high = (1 + c) |z|^2, item l is nearer to row i than another item with `key`
// if high_l - 2 product_il lies below `must`, and only if low_l - 2 product_il lies below `may`.
#pragma once

#include <flatland/kernels/knn_formulas.h>

namespace flatland::kernels {

struct RankLimits {
  float may;
  float must;
};

// The last term of `slack` is the rounding of these sums. absolute: see rank_slack.
FLATLAND_HD RankLimits rank_limits(double key, float own_low, float own_high, double absolute) {
  const double low = static_cast<double>(own_low), high = static_cast<double>(own_high);
  const double slack = absolute + 0x1p-22 * (high + key);
  return {static_cast<float>(key - low + slack), static_cast<float>(key - high - slack)};
}

// slack: of TileScale.
FLATLAND_HD float high_norm(float low, float slack) {
  return fma(slack, low, low);
}

// Infinite where the bound does not hold: exact keys decide all.
inline double rank_slack(const TileScale& scale) {
  return scale.usable ? scale.absolute : __builtin_inf();
}

}  // namespace flatland::kernels
