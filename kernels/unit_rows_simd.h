// Unit rows for cosine and correlation. Private; see DistanceForm::unit_rows.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/unit_rows_formulas.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

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
