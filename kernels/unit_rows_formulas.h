// Unit rows for cosine and correlation; see DistanceForm::unit_rows.
#pragma once

#include <flatland/kernels/distance_form.h>
#include <flatland/kernels/vecmath.h>

#include <cmath>
#include <cstdint>

namespace flatland::kernels {

// u = (x - shift) scale for one row: shift its mean or 0, scale 1 / norm or 0 for a row of zeros.
struct UnitRow {
  double shift = 0;
  double scale = 0;
  FLATLAND_HD double zero() const { return scale == 0 ? 1 : 0; }
};

// Sums in float64, in the order of the columns.
template <class T>
FLATLAND_HD UnitRow unit_row(const DistanceForm& form, const T* x, std::int64_t d) {
  double shift = 0;
  if (form.centred && d > 0) {
    // A constant row must give exactly its value, so that it is seen as constant.
    double sum = 0;
    for (std::int64_t k = 0; k < d; ++k) sum += static_cast<double>(x[k]) - static_cast<double>(x[0]);
    shift = static_cast<double>(x[0]) + sum / static_cast<double>(d);
  }
  double largest = 0;
  for (std::int64_t k = 0; k < d; ++k) largest = max(abs(static_cast<double>(x[k]) - shift), largest);
  if (largest == 0) return {shift, 0};
  // A power of two takes the sum of squares away from overflow and underflow and changes no other bit.
  const double power = std::ldexp(1.0, -std::ilogb(largest));
  double sum = 0;
  for (std::int64_t k = 0; k < d; ++k) {
    const double v = (static_cast<double>(x[k]) - shift) * power;
    sum += rounded_product(v, v);
  }
  return {shift, power / sqrt(sum)};
}

}  // namespace flatland::kernels
