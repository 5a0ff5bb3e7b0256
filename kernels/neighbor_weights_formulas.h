// The root search of neighbor_weights.h, for one row (V = double) or a vector of rows.
//
// Both searches look for b in e^(-b x) over values x that are 0 at the nearest neighbour and at most 1, so
// that nothing over- or underflows whatever the scale of the data. log b moves by guarded Newton steps.
#pragma once

#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

enum class WeightKind { perplexity, connectivity };

// What a search of several rows comes to.
struct SearchResult {
  std::int64_t missed = 0;    // rows whose target cannot be reached
  std::int64_t bad_row = -1;  // the first row with something that is not a distance
};

inline constexpr double k_smallest_b = 1e-9;    // there all weights are equal to a part in 1e9
inline constexpr double k_longest_step = 4;     // of log b
inline constexpr double k_pad_distance = 1e15;  // e^(-b x) is 0 there for every b in the search

template <class T>
inline constexpr T k_largest_distance = sizeof(T) == 4 ? T(3.40282347e38) : T(1.7976931348623157e308);

// False for what is negative, infinite or NaN.
template <class V>
FLATLAND_HD mask_of<V> is_distance(V d) {
  return (d >= scalar_of<V>(0)) & (d <= k_largest_distance<scalar_of<V>>);
}

// x of a distance d: d / farthest - nearest / farthest, or the difference of their squares.
template <class T>
FLATLAND_HD T distance_scale(T nearest, T farthest) {
  return farthest > nearest ? T(1) / farthest : T(0);
}
template <WeightKind kind, class V, class T>
FLATLAND_HD V scaled_distance(V d, T nearest, T scale) {
  const V x = (d - nearest) * scale;
  return kind == WeightKind::perplexity ? x * ((d + nearest) * scale) : x;
}

// What a search needs to know of a row of `count` values x.
struct RowFacts {
  double count = 0;
  double farthest = 0;  // distance
  double mean = 0;      // of x
  double ties = 0;      // how many x are 0
  double next = 0;      // the smallest of the others
};

// `reach` is the perplexity, or the sum of the weights. Where no finite b > 0 is the root: weights for the
// nearest alone, or equal weights (b = 0); then true.
FLATLAND_HD bool closed_form(const RowFacts& row, double reach, double* b, bool* reached) {
  if (row.ties == row.count || reach >= row.count) {
    *b = 0;
    *reached = reach == row.count;
    return true;
  }
  *b = 1000 / row.next;
  *reached = reach == row.ties;
  return reach <= row.ties;
}

// Where the search starts else.
template <WeightKind kind>
FLATLAND_HD double first_b(const RowFacts& row, double reach) {
  return (kind == WeightKind::perplexity ? 1.36 : 1.0) * row.count / (reach * row.mean);
}

// beta or sigma
template <WeightKind kind, class T>
FLATLAND_HD T width_of(double b, double farthest) {
  double width = 0;
  if (kind == WeightKind::perplexity)
    width = b == 0 ? 0 : b / farthest / farthest;
  else
    width = farthest == 0 ? 1 : farthest / (b < k_smallest_b ? k_smallest_b : b);
  const double most = sizeof(T) == 4 ? 3.4028234e38 : 1.7976931348623157e308;
  return static_cast<T>(width < most ? width : most);
}

// The error squares from step to step: a step of log b below this is the last.
template <class T>
FLATLAND_HD double last_step(double tolerance) {
  return sizeof(T) == 4 ? sqrt(tolerance) : 1e-7;
}

// log b between brackets, for the rows that are open.
template <class V>
struct LogRoot {
  V at{};
  V b{};
  V low{};
  V high{};
  mask_of<V> open{};

  // Starts the open rows from b.
  FLATLAND_HD void start() {
    const V floor = splat<V>(log(k_smallest_b));
    at = max(log(b), floor);
    low = floor;
    high = splat<V>(__builtin_inf());
    b = select(open, exp(at), b);
  }

  // A Newton step towards the root of a function that falls with b: `excess` is its value less the target,
  // `fall` minus its derivative by log b. A step that leaves the bracket becomes a bisection, or a long step
  // where the bracket is open. Returns which rows have arrived.
  FLATLAND_HD mask_of<V> step(V excess, V fall, double enough) {
    const auto too_small = excess > 0.0;
    low = select(open, select(too_small, at, low), low);
    high = select(open, select(too_small, high, at), high);
    const V next = at + excess / fall;
    const auto arrived = abs(next - at) <= enough;
    const V bisected = select(high < __builtin_inf(), 0.5 * (low + high), at + k_longest_step);
    V moved = min(max(next, at - k_longest_step), at + k_longest_step);
    moved = select((next > low) & (next < high), moved, bisected);
    moved = select(arrived, next, moved);
    const auto done = arrived | (moved == at);
    at = select(open, moved, at);
    b = select(open, exp(at), b);
    return done;
  }
};

// Entropy of the normalised weights towards log(perplexity), or sum of the weights towards the sum.
//   weight = sum e^(-b x)   first = sum x e^(-b x)   second = sum x^2 e^(-b x)
template <WeightKind kind, class V>
FLATLAND_HD mask_of<V> newton_step(LogRoot<V>& root, V weight, V first, V second, double reach,
                                   double enough) {
  const V mean = first / weight;
  if constexpr (kind == WeightKind::perplexity) {
    const V variance = second / weight - mean * mean;
    return root.step(log(weight) + root.b * mean - log(reach), root.b * root.b * variance, enough);
  } else {
    return root.step(log(weight / reach), root.b * mean, enough);
  }
}

}  // namespace flatland::kernels
