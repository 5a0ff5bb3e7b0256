// What one coordinate adds to a distance and to its gradient: for scalars and vectors alike.
#pragma once

#include <flatland/kernels/distance_form.h>
#include <flatland/kernels/vecmath.h>

#include <cstdint>

namespace flatland::kernels {

// The sum of the terms of squares, absolutes or maximum, one coordinate more: d = x[k] - y[k].
template <Term term, class V>
FLATLAND_HD V add_term(V sum, V d) {
  if constexpr (term == Term::squares) return fma(d, d, sum);
  if constexpr (term == Term::absolutes) return sum + abs(d);
  return max(abs(d), sum);
}

template <class V>
FLATLAND_HD V finished(Finish finish, V sum) {
  if (finish == Finish::root) return sqrt(sum);
  return finish == Finish::half ? sum * scalar_of<V>(0.5) : sum;
}

// The distance of powers; difference(k) = x[k] - y[k] in double.
template <class T, class Difference>
FLATLAND_HD T power_distance(double p, std::int64_t d, const Difference& difference) {
  double largest = 0;
  for (std::int64_t k = 0; k < d; ++k) {
    const double m = abs(difference(k));
    largest = m > largest ? m : largest;
  }
  if (largest == 0) return 0;
  double sum = 0;
  for (std::int64_t k = 0; k < d; ++k) sum += __builtin_pow(abs(difference(k)) / largest, p);
  return static_cast<T>(largest * __builtin_pow(sum, 1 / p));
}

// sum + weight times the derivative by x[k], up to a factor that belongs to the pair (distance_weight).
template <Term term, class V>
FLATLAND_HD V add_slope(V sum, V weight, V d) {
  if constexpr (term == Term::squares) return fma(weight, d, sum);
  return select(d > 0, sum + weight, select(d < 0, sum - weight, sum));
}

// g times that factor; 0 at distance 0.
template <class V>
FLATLAND_HD V root_weight(V g, V dist) {
  return select(dist > 0, g / dist, V{});
}
template <class V>
FLATLAND_HD V distance_weight(const DistanceForm& form, V g, V dist) {
  if (form.finish == Finish::root) return root_weight(g, dist);
  return form.term == Term::squares && !form.unit_rows ? g + g : g;
}
// Of powers, for the coordinate whose difference is d.
template <class T>
FLATLAND_HD T power_weight(double p, T weight, double d, T dist) {
  if (!(dist > 0)) return 0;
  return weight * static_cast<T>(__builtin_pow(abs(d) / static_cast<double>(dist), p - 1));
}

// The first coordinate with the largest |x[k] - y[k]|, which has the gradient of the maximum.
template <class T>
struct FirstLargest {
  T value = -1;
  std::int64_t at = 0;
  FLATLAND_HD void meet(std::int64_t k, T d) {
    const T m = abs(d);
    at = m > value ? k : at;
    value = m > value ? m : value;
  }
};

// With u, v the unit rows, c the distance: dc/dx = ((u - v) - c u) / |x|. sum: that over (u - v), weighted;
// weighted_dist: the weighted sum of c; scale: 1 / |x|.
template <class T>
FLATLAND_HD T unit_row_gradient(T sum, T weighted_dist, T u, T scale) {
  return (sum - weighted_dist * u) * scale;
}

}  // namespace flatland::kernels
