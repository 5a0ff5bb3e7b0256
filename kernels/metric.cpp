#include <flatland/kernels/check.h>
#include <flatland/kernels/metric.h>

namespace flatland {

std::string_view name(MetricKind kind) {
  switch (kind) {
    case MetricKind::euclidean:
      return "euclidean";
    case MetricKind::sqeuclidean:
      return "sqeuclidean";
    case MetricKind::manhattan:
      return "manhattan";
    case MetricKind::chebyshev:
      return "chebyshev";
    case MetricKind::cosine:
      return "cosine";
    case MetricKind::correlation:
      return "correlation";
    case MetricKind::minkowski:
      return "minkowski";
  }
  flatland::detail::fail("metric: ", static_cast<int>(kind), " is no MetricKind");
}

}  // namespace flatland
