// Neighbours by obvious double loops, in the order of keys that kernels/knn.h defines.
#pragma once

#include <flatland/kernels/knn.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/support/distance_reference.h"

namespace flatland::test {

// Eight partial sums over columns k, k + 8, ..., combined by halves. NaN counts as infinity.
inline double reference_key(Metric metric, const std::vector<double>& x, const std::vector<double>& y) {
  double lane[8] = {};
  for (std::size_t k = 0; k < x.size(); ++k) {
    const double d = x[k] - y[k];
    double& sum = lane[k % 8];
    if (metric.kind == MetricKind::manhattan)
      sum += std::abs(d);
    else if (metric.kind == MetricKind::chebyshev)
      sum = std::max(sum, std::abs(d));
    else
      sum += d * d;
  }
  for (int width = 4; width > 0; width /= 2)
    for (int l = 0; l < width; ++l)
      lane[l] = metric.kind == MetricKind::chebyshev ? std::max(lane[l], lane[l + width])
                                                     : lane[l] + lane[l + width];
  return lane[0] < INFINITY ? lane[0] : INFINITY;
}

template <class T>
struct Neighbors {
  std::vector<std::int32_t> index;
  std::vector<T> dist;
  bool operator==(const Neighbors&) const = default;
};

// euclidean, sqeuclidean, manhattan, chebyshev. With `self`, query and base are one set.
template <class T>
Neighbors<T> reference_neighbors(Metric metric, const GuardedMatrix<T>& query, const GuardedMatrix<T>& base,
                                 std::int64_t k, bool self) {
  Neighbors<T> result;
  std::vector<std::vector<double>> rows;
  for (std::int64_t j = 0; j < base.rows(); ++j) rows.push_back(base.row(j));
  for (std::int64_t i = 0; i < query.rows(); ++i) {
    const std::vector<double> x = query.row(i);
    std::vector<std::pair<double, std::int32_t>> all;
    for (std::int64_t j = 0; j < base.rows(); ++j)
      if (!self || i != j)
        all.emplace_back(reference_key(metric, x, rows[static_cast<std::size_t>(j)]),
                         static_cast<std::int32_t>(j));
    std::partial_sort(all.begin(), all.begin() + k, all.end());
    for (std::int64_t j = 0; j < k; ++j) {
      const auto [key, index] = all[static_cast<std::size_t>(j)];
      result.index.push_back(index);
      result.dist.push_back(static_cast<T>(metric.kind == MetricKind::euclidean ? std::sqrt(key) : key));
    }
  }
  return result;
}

}  // namespace flatland::test
