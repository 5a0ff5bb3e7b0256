// Distances between two rows.
#pragma once

#include <string_view>

namespace flatland {

// euclidean: sqrt(sum d^2)    sqeuclidean: sum d^2    manhattan: sum |d|    chebyshev: max |d|
// minkowski: (sum |d|^p)^(1/p)    cosine: 1 - x.y / (|x| |y|)    correlation: cosine of the centred rows
// A row of zeros (a constant row for correlation) has cosine distance 0 to another such row and 1 to any
// other.
enum class MetricKind { euclidean, sqeuclidean, manhattan, chebyshev, cosine, correlation, minkowski };
std::string_view name(MetricKind kind);

struct Metric {
  MetricKind kind = MetricKind::euclidean;
  double p = 2;  // minkowski only, p >= 1

  bool operator==(const Metric&) const = default;
};

namespace metric {
inline constexpr Metric euclidean{MetricKind::euclidean};
inline constexpr Metric sqeuclidean{MetricKind::sqeuclidean};
inline constexpr Metric manhattan{MetricKind::manhattan};
inline constexpr Metric chebyshev{MetricKind::chebyshev};
inline constexpr Metric cosine{MetricKind::cosine};
inline constexpr Metric correlation{MetricKind::correlation};
constexpr Metric minkowski(double p) {
  return {MetricKind::minkowski, p};
}
}  // namespace metric

}  // namespace flatland
