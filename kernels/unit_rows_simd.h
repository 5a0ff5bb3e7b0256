// Unit rows for cosine and correlation. Private; see DistanceForm::unit_rows.
#pragma once

#include <flatland/kernels/distance_form.h>
#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// u = (x - shift) scale for one row: shift its mean or 0, scale 1 / norm or 0 for a row of zeros.
struct UnitRow {
  double shift = 0;
  double scale = 0;
  double zero() const { return scale == 0 ? 1 : 0; }
};

// Sums in float64, in the order of the columns.
template <class T>
UnitRow unit_row(const DistanceForm& form, const T* x, std::int64_t d);

// The unit rows of x (N, D) as (N, D + 1), in scratch memory.
template <class T>
class UnitRows {
 public:
  UnitRows(const Exec& exec, const DistanceForm& form, In<T> x);
  In<T> rows() const { return {values_.data(), n_, d_ + 1}; }
  // Without the last column.
  In<T> coordinates() const { return {values_.data(), n_, d_, d_ + 1}; }
  T scale(std::int64_t i) const { return static_cast<T>(units_[i].scale); }

 private:
  std::int64_t n_;
  std::int64_t d_;
  ScratchArray<UnitRow> units_;
  ScratchArray<T> values_;
};

}  // namespace flatland::kernels
