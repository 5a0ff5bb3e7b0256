#include <flatland/kernels/parallel.h>
#include <flatland/kernels/unit_rows_simd.h>

#include <algorithm>

namespace flatland::kernels {

template <class T>
UnitRows<T>::UnitRows(const Exec& exec, const DistanceForm& form, In<T> x)
    : n_(x.rows), d_(x.cols), units_(exec, n_), values_(exec, checked_mul(n_, d_ + 1)) {
  constexpr std::int64_t block = 64;
  parallel_for(exec, ceil_div(n_, block), [&](std::int64_t task, int) {
    for (std::int64_t i = task * block; i < std::min(n_, (task + 1) * block); ++i) {
      const T* row = x.row(i);
      const UnitRow unit = unit_row(form, row, d_);
      T* out = values_.data() + i * (d_ + 1);
      for (std::int64_t k = 0; k < d_; ++k)
        out[k] = static_cast<T>((static_cast<double>(row[k]) - unit.shift) * unit.scale);
      out[d_] = static_cast<T>(unit.zero());
      units_[i] = unit;
    }
  });
}

template class UnitRows<float>;
template class UnitRows<double>;

}  // namespace flatland::kernels
