// How each metric is computed: what a coordinate's difference adds, and what becomes of the sum. The kernels
// for pairwise distances and for neighbours share it.
#pragma once

#include <flatland/kernels/metric.h>

namespace flatland::kernels {

enum class Term {
  squares,    // sum d^2
  absolutes,  // sum |d|
  maximum,    // max |d|
  powers      // m (sum (|d| / m)^p)^(1/p), m = max |d|: neither overflows nor underflows for large p
};
enum class Finish { none, root, half };

struct DistanceForm {
  Term term = Term::squares;
  Finish finish = Finish::none;
  double p = 2;
  // Cosine and correlation are half the squared distance of unit rows. Such a row has one column more, which
  // is 1 for a row of zeros and 0 for all others: so it is at distance 0 from its like and 1 from any other,
  // and equal rows are at distance exactly 0.
  bool unit_rows = false;
  bool centred = false;  // correlation: rows less their mean
};

// Minkowski with p = 1, 2 or infinity becomes the metric of that name. Error: p < 1 or NaN; `who` is named.
DistanceForm distance_form(Metric metric, const char* who);

}  // namespace flatland::kernels
