// Metrics, sizes and tolerances for the tests of pairwise distances and of their gradients.
#pragma once

#include <flatland/kernels/metric.h>

#include <cstdint>
#include <vector>

namespace flatland::test {

inline std::vector<Metric> all_metrics() {
  return {metric::euclidean, metric::sqeuclidean, metric::manhattan,    metric::chebyshev,
          metric::cosine,    metric::correlation, metric::minkowski(3), metric::minkowski(1.5)};
}

// Rounding errors of a sum of D terms, and of the unit rows, which have length 1 whatever the data.
inline double growth(std::int64_t d) {
  return 8 + static_cast<double>(d);
}

struct Sizes {
  std::int64_t n, m, d;
};
// Below, at and past the tiles of the CPU (16 rows, 32 of a task) and of a GPU (32 or 64 items, 16
// coordinates; for gradients 8 rows, 128 or 256 others), and the vectors of pairs (32 coordinates).
inline std::vector<Sizes> pairwise_sizes() {
  return {{0, 0, 3},     {1, 1, 1},    {2, 3, 2},   {5, 4, 0},    {7, 33, 3},  {32, 32, 2},
          {33, 16, 5},   {31, 65, 16}, {4, 9, 31},  {67, 40, 37}, {3, 0, 2},   {8, 8, 15},
          {9, 31, 17},   {16, 33, 32}, {15, 2, 33}, {63, 64, 10}, {64, 63, 2}, {65, 129, 1},
          {130, 127, 3}, {5, 255, 4},  {8, 257, 2}, {257, 7, 2},  {41, 17, 18}};
}

// The cosine distances of directions that nearly agree have the rounding errors of unit rows.
inline double smallest_scale(Metric metric) {
  return metric.kind == MetricKind::cosine || metric.kind == MetricKind::correlation ? 1 : 0;
}

}  // namespace flatland::test
