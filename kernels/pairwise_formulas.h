// What one coordinate adds to a distance and to its gradient: for scalars and vectors alike.
#pragma once

#include <flatland/kernels/distance_form.h>
#include <flatland/kernels/vecmath.h>

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

}  // namespace flatland::kernels
