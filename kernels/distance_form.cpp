#include <flatland/kernels/check.h>
#include <flatland/kernels/distance_form.h>

#include <limits>

namespace flatland::kernels {

DistanceForm distance_form(Metric metric, const char* who) {
  switch (metric.kind) {
    case MetricKind::euclidean:
      return {.term = Term::squares, .finish = Finish::root};
    case MetricKind::sqeuclidean:
      return {.term = Term::squares};
    case MetricKind::manhattan:
      return {.term = Term::absolutes};
    case MetricKind::chebyshev:
      return {.term = Term::maximum};
    case MetricKind::cosine:
      return {.term = Term::squares, .finish = Finish::half, .unit_rows = true};
    case MetricKind::correlation:
      return {.term = Term::squares, .finish = Finish::half, .unit_rows = true, .centred = true};
    case MetricKind::minkowski:
      break;
  }
  FLATLAND_CHECK(metric.kind == MetricKind::minkowski, who, ": metric ", static_cast<int>(metric.kind),
                 " is no MetricKind");
  FLATLAND_CHECK(metric.p >= 1, who, ": minkowski with p = ", metric.p, " is no metric; give p >= 1");
  if (metric.p == 1) return distance_form(metric::manhattan, who);
  if (metric.p == 2) return distance_form(metric::euclidean, who);
  if (metric.p == std::numeric_limits<double>::infinity()) return distance_form(metric::chebyshev, who);
  return {.term = Term::powers, .p = metric.p};
}

}  // namespace flatland::kernels
