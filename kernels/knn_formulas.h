// What CPU and CUDA share of a search for neighbours: exact keys, and the bound of approximate distances.
//
// Exact keys. The order of neighbours is that of a float64 sum a pair, defined so that any backend can
// reproduce it bit by bit: with d[k] the float64 difference of coordinate k (for cosine and correlation of
// the unit rows of unit_rows_formulas.h), partial sum l = 0, ..., 7 adds the terms of k = l, l + 8, ... from
// 0 in ascending order; a square is rounded before it is added (no fma); the partial sums are combined as l +
// (l + 4), then l + (l + 2), then l + (l + 1); the squared difference of the unit rows' last column comes
// last. Maxima need no order and pass over NaN. Powers are the distance of pairwise.h in float64; how pow
// rounds is the platform's. NaN counts as infinity.
#pragma once

#include <flatland/kernels/distance_form.h>
#include <flatland/kernels/pairwise_formulas.h>
#include <flatland/kernels/unit_rows_formulas.h>
#include <flatland/kernels/view.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

namespace flatland::kernels {

// Rows as the exact keys see them; `units` stands for DistanceForm::unit_rows, else null.
template <class T>
struct KeyRows {
  In<T> x;
  const UnitRow* units = nullptr;

  FLATLAND_HD double value(std::int64_t i, std::int64_t k) const {
    const double v = static_cast<double>(x(i, k));
    return units != nullptr ? rounded_product(v - units[i].shift, units[i].scale) : v;
  }
  // Coordinates, that of the unit row's last column included.
  FLATLAND_HD std::int64_t columns() const { return x.cols + (units != nullptr ? 1 : 0); }
  FLATLAND_HD double column(std::int64_t i, std::int64_t k) const {
    return k < x.cols ? value(i, k) : units[i].zero();
  }
};

// One search: for each row of `query` its k nearest of `base`. With `self`, both are one set and no row is
// its own neighbour.
template <class T>
struct KnnSearch {
  DistanceForm form;
  KeyRows<T> query;
  KeyRows<T> base;
  bool self;
  std::int64_t k;
  MatView<std::int32_t> index;
  MatView<T> dist;

  // Approximate distances pay where few of the items become candidates.
  bool tiles_pay() const { return form.term == Term::squares && base.x.rows > 3 * k + 128; }
};

inline constexpr std::int64_t k_key_lanes = 8;

// One coordinate's difference d more.
template <Term term, class V>
FLATLAND_HD V add_key_term(V sum, V d) {
  if constexpr (term == Term::squares) return sum + rounded_product(d, d);
  return add_term<term>(sum, d);
}

// The partial sums come together in lane[0].
template <Term term>
FLATLAND_HD double combined_key(double (&lane)[k_key_lanes]) {
  for (int width = k_key_lanes / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) {
      if constexpr (term == Term::maximum)
        lane[l] = lane[l] > lane[l + width] ? lane[l] : lane[l + width];
      else
        lane[l] += lane[l + width];
    }
  return lane[0];
}

FLATLAND_HD double ordered_key(double key) {
  return key < __builtin_inf() ? key : __builtin_inf();
}

// The distance of Term::powers, with x(k) and y(k) the coordinates.
template <class X, class Y>
FLATLAND_HD double power_key(double p, std::int64_t d, const X& x, const Y& y) {
  double largest = 0;
  for (std::int64_t k = 0; k < d; ++k) largest = max(abs(x(k) - y(k)), largest);
  if (largest == 0) return 0;
  double sum = 0;
  for (std::int64_t k = 0; k < d; ++k) sum += std::pow(abs(x(k) - y(k)) / largest, p);
  return ordered_key(largest * std::pow(sum, 1 / p));
}

FLATLAND_HD double distance_of_key(Finish finish, double key) {
  return finish == Finish::root ? sqrt(key) : finish == Finish::half ? key / 2 : key;
}

// Integers in the order of the floats, and back.
FLATLAND_HD std::int32_t to_ordered(float x) {
  const std::int32_t bits = to_bits(x);
  return bits >= 0 ? bits : bits ^ 0x7fffffff;
}
FLATLAND_HD float from_ordered(std::int32_t x) {
  return from_bits<float>(x >= 0 ? x : x ^ 0x7fffffff);
}

// Approximate distances are those of z = fl(2^e (x - m)) as float32, for one shift m and scale 2^e that
// several sets of rows share, with |z| < 4, from products and the norms (1 - c) |z|^2.
//
// Bound. Let d2 be the exact squared distance of two rows times 4^e, r the relative rounding of z, u that of
// the sums: 2^-24 both in float32. The roundings of z change a distance by at most r (|z_i| + |z_j|), so d2
// by at most 4 r (|z_i|^2 + |z_j|^2) and higher terms. A product is a sum of D terms in some order: it is off
// by at most D u / (1 - D u) |z_i| |z_j|, twice of which is at most that factor times |z_i|^2 + |z_j|^2.
// Norms, their sum and the last fma add 4 u. So with c = 1.1 (4 r + (D + 28) u) the approximation is off by
// less than c (|z_i|^2 + |z_j|^2); what is flushed to zero adds less than `absolute`.
struct TileScale {
  std::span<const double> shift;
  double factor = 1;
  double bound = 0;  // c
  double absolute = 0;
  bool usable = false;  // false where values are not finite or D is too large for the bound

  // Upper less lower bound of a distance: relative to the sum of the two norms, and what comes on top.
  float slack() const { return static_cast<float>(2 * bound / (1 - bound)); }
  float slack_absolute() const { return static_cast<float>(2 * absolute); }
};

// largest: of |x - m| over all rows and columns, infinite where a value is not finite.
[[gnu::always_inline]] inline TileScale tile_scale(double largest, std::int64_t columns, double r = 0x1p-24,
                                                   double u = 0x1p-24) {
  const double d = static_cast<double>(columns);
  const int exponent = largest > 0 ? std::ilogb(largest) : 0;
  TileScale scale;
  scale.bound = 1.1 * (4 * r + (d + 28) * u);
  scale.absolute = (d + 32) * 0x1p-100;
  scale.usable = std::isfinite(largest) && std::abs(exponent) < 1000 && scale.bound < 0.1;
  scale.factor = std::ldexp(1., -std::clamp(exponent, -1000, 1000));
  return scale;
}

// At least k items have their true distance below the largest upper bound among those whose lower bound is
// within `limit`; whatever has its lower bound above that is none of the k nearest. norm: the largest among
// them.
FLATLAND_HD float upper_bound(float limit, float slack, float slack_absolute, float own_norm, float norm) {
  return limit + (slack * (own_norm + norm) + slack_absolute);
}

}  // namespace flatland::kernels
