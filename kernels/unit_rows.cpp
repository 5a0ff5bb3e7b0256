#include <flatland/kernels/parallel.h>
#include <flatland/kernels/unit_rows_simd.h>

#include <algorithm>
#include <cmath>

namespace flatland::kernels {

template <class T>
UnitRow unit_row(const DistanceForm& form, const T* x, std::int64_t d) {
  double shift = 0;
  if (form.centred && d > 0) {
    // A constant row must give exactly its value, so that it is seen as constant.
    double sum = 0;
    for (std::int64_t k = 0; k < d; ++k) sum += static_cast<double>(x[k]) - static_cast<double>(x[0]);
    shift = static_cast<double>(x[0]) + sum / static_cast<double>(d);
  }
  double largest = 0;
  for (std::int64_t k = 0; k < d; ++k)
    largest = std::max(largest, std::abs(static_cast<double>(x[k]) - shift));
  if (largest == 0) return {shift, 0};
  // A power of two takes the sum of squares away from overflow and underflow and changes no other bit.
  const double power = std::ldexp(1.0, -std::ilogb(largest));
  double sum = 0;
  for (std::int64_t k = 0; k < d; ++k) {
    const double v = (static_cast<double>(x[k]) - shift) * power;
    sum += v * v;
  }
  return {shift, power / std::sqrt(sum)};
}

template <class T>
UnitRows<T>::UnitRows(const Exec& exec, const DistanceForm& form, In<T> x)
    : n_(x.rows), d_(x.cols), units_(exec, n_), values_(exec, checked_mul(n_, d_ + 1)) {
  constexpr std::int64_t block = 64;
  parallel_for(exec, ceil_div(n_, block), [&](std::int64_t task, int) {
    for (std::int64_t i = task * block; i < std::min(n_, (task + 1) * block); ++i) {
      const T* row = x.row(i);
      const UnitRow unit = unit_row<T>(form, row, d_);
      T* out = values_.data() + i * (d_ + 1);
      for (std::int64_t k = 0; k < d_; ++k)
        out[k] = static_cast<T>((static_cast<double>(row[k]) - unit.shift) * unit.scale);
      out[d_] = static_cast<T>(unit.zero());
      units_[i] = unit;
    }
  });
}

template UnitRow unit_row<float>(const DistanceForm&, const float*, std::int64_t);
template UnitRow unit_row<double>(const DistanceForm&, const double*, std::int64_t);
template class UnitRows<float>;
template class UnitRows<double>;

}  // namespace flatland::kernels
