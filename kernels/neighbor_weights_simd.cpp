#include <flatland/kernels/lane_sum_simd.h>
#include <flatland/kernels/neighbor_weights_simd.h>
#include <flatland/kernels/range_simd.h>
#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

namespace {

// Both searches look for b in e^(-b x) over values x that are 0 at the nearest neighbour and at most 1, so
// that nothing over- or underflows whatever the scale of the data. log b moves by guarded Newton steps.
constexpr double k_smallest = 1e-9;  // of b: all weights are equal to a part in 1e9
constexpr double k_largest_step = 4;
constexpr double k_pad = 1e15;  // e^(-b x) is 0 there for every b

struct Extent {
  double nearest = 0;
  double farthest = 0;
  bool finite = true;
};
template <Isa I, class T>
Extent extent(const T* dist, std::int64_t k) {
  using V = Vec<T, I>;
  V low = splat<V>(dist[0]);
  V high = low;
  V outside{};
  for_vectors<T, I>(k, [&](std::int64_t i, std::int64_t width) {
    const V d = load_part<I>(dist + i, width, dist[0]);
    low = min(d, low);
    high = max(d, high);
    const T most = sizeof(T) == 4 ? T(3.4028234e38) : T(1.7976931348623157e308);
    outside += select(d >= T(0), select(d <= most, V{}, T(1)), splat<V>(T(1)));
  });
  Extent e{static_cast<double>(low[0]), static_cast<double>(max_lanes<I, T>(high)),
           sum_lanes<I, T>(outside) == T(0)};
  for (int l = 1; l < lanes<T, I>; ++l)
    if (static_cast<double>(low[l]) < e.nearest) e.nearest = static_cast<double>(low[l]);
  return e;
}

struct Sums {
  double weight = 0;  // sum e^(-b x)
  double first = 0;   // sum x e^(-b x)
  double second = 0;  // sum x^2 e^(-b x)
};

// The values of a row, padded to whole vectors.
template <Isa I, class T>
struct Row {
  using V = Vec<T, I>;
  T* x;
  std::int64_t k;

  // x = (d / farthest) - (nearest / farthest), or the difference of the squares.
  FLATLAND_HD Row(const T* dist, std::int64_t count, const Extent& e, bool squared, T* work)
      : x(work), k(count) {
    const T low = static_cast<T>(e.nearest);
    const T scale = static_cast<T>(1 / e.farthest);
    for_vectors<T, I>(k, [&](std::int64_t i, std::int64_t width) {
      const V d = load_part<I>(dist + i, width, T(0));
      V value = (d - low) * scale;
      if (squared) value = value * ((d + low) * scale);
      store<I>(x + i, value);
    });
    for (std::int64_t i = k; i % lanes<T, I> != 0; ++i) x[i] = T(k_pad);
  }

  template <bool with_second>
  FLATLAND_HD Sums sums(double b) const {
    constexpr std::int64_t k_vectors = 8;  // so many float terms a lane before they go to double
    LaneSum<T, I> total[3];
    const V minus_b = splat<V>(static_cast<T>(-b));
    for (std::int64_t begin = 0; begin < k; begin += k_vectors * lanes<T, I>) {
      V part[3] = {};
      const std::int64_t last = begin + k_vectors * lanes<T, I>;
      for (std::int64_t i = begin; i < k && i < last; i += lanes<T, I>) {
        const V xi = load<I>(x + i);
        const V e = exp(minus_b * xi);
        const V xe = xi * e;
        part[0] += e;
        part[1] += xe;
        if constexpr (with_second) part[2] = fma(xi, xe, part[2]);
      }
      for (int s = 0; s < (with_second ? 3 : 2); ++s) total[s].add(part[s]);
    }
    return {total[0].total(), total[1].total(), with_second ? total[2].total() : 0};
  }

  // How many are at distance 0, and the smallest of the others (0 if none).
  FLATLAND_HD std::int64_t ties(double* next) const {
    std::int64_t n = 0;
    *next = 0;
    for (std::int64_t i = 0; i < k; ++i) {
      n += x[i] == T(0);
      const double v = static_cast<double>(x[i]);
      if (v > 0 && (*next == 0 || v < *next)) *next = v;
    }
    return n;
  }

  // weight = e^(-b x), divided by its sum when `normalized`.
  FLATLAND_HD void write(double b, bool normalized, T* weight) const {
    LaneSum<T, I> sum;
    for (std::int64_t i = 0; i < k; i += lanes<T, I>) {
      const V e = exp(load<I>(x + i) * static_cast<T>(-b));
      store<I>(x + i, e);
      sum.add(e);
    }
    const T factor = normalized ? static_cast<T>(1 / sum.total()) : T(1);
    for_vectors<T, I>(k, [&](std::int64_t i, std::int64_t width) {
      store_part<I, T>(weight + i, load<I>(x + i) * factor, width);
    });
  }
};

// A Newton step in log b towards the root of a function that falls with b: `excess` its value less the
// target, `fall` minus its derivative.
struct Step {
  double excess;
  double fall;
};

// The root, from `start`. A step that leaves the bracket becomes a bisection, or a step of e^4 where the
// bracket is open.
template <class T, class Evaluate>
FLATLAND_HD double find_root(double start, const RowSearch& search, const Evaluate& evaluate, bool* reached) {
  // The error squares from step to step, so the step after one below the root of the tolerance is not
  // checked.
  const double enough = sizeof(T) == 4 ? sqrt(search.tolerance) : 1e-7;
  const double floor = log(k_smallest);
  double low = floor;
  double high = __builtin_inf();
  double at = max(log(start), floor);
  double b = exp(at);
  *reached = true;
  for (int n = 0; n < search.max_steps; ++n) {
    const Step step = evaluate(b);
    if (step.excess > 0)
      low = at;
    else
      high = at;
    double next = at + step.excess / step.fall;
    if (abs(next - at) <= enough) return exp(next);
    if (!(next > low && next < high)) {
      next = high < __builtin_inf() ? 0.5 * (low + high) : at + k_largest_step;
    } else if (next - at > k_largest_step) {
      next = at + k_largest_step;
    } else if (at - next > k_largest_step) {
      next = at - k_largest_step;
    }
    if (next == at) return b;
    at = next;
    b = exp(at);
  }
  *reached = false;
  return b;
}

template <Isa I, class T>
FLATLAND_HD void fill_row(T* weight, std::int64_t k, T value) {
  for (std::int64_t i = 0; i < k; ++i) weight[i] = value;
}

// b at which everything but the ties has vanished.
FLATLAND_HD double beyond(double next) {
  return 1000 / next;
}

}  // namespace

template <Isa I, class T>
RowOutcome perplexity_row(const T* dist, std::int64_t k, double perplexity, const RowSearch& search, T* work,
                          T* weight, double* beta) {
  const Extent e = extent<I>(dist, k);
  if (!e.finite) return RowOutcome::not_a_distance;
  const double count = static_cast<double>(k);
  if (e.farthest == e.nearest) {
    fill_row<I>(weight, k, static_cast<T>(1 / count));
    *beta = 0;
    return perplexity == count ? RowOutcome::reached : RowOutcome::unreachable;
  }
  const Row<I, T> row(dist, k, e, true, work);
  const double scale = 1 / e.farthest / e.farthest;
  double next = 0;
  const double ties = static_cast<double>(row.ties(&next));
  if (perplexity <= ties) {
    row.write(beyond(next), true, weight);
    *beta = beyond(next) * scale;
    return perplexity == ties ? RowOutcome::reached : RowOutcome::unreachable;
  }
  if (perplexity >= count) {
    fill_row<I>(weight, k, static_cast<T>(1 / count));
    *beta = 0;
    return RowOutcome::reached;
  }
  const double target = log(perplexity);
  const double mean = row.template sums<false>(k_smallest).first / count;
  bool reached = true;
  const double b = find_root<T>(
      1.36 * count / (perplexity * mean), search,
      [&](double at) {
        const Sums s = row.template sums<true>(at);
        const double first = s.first / s.weight;
        return Step{log(s.weight) + at * first - target, at * at * (s.second / s.weight - first * first)};
      },
      &reached);
  row.write(b, true, weight);
  *beta = b * scale;
  return reached ? RowOutcome::reached : RowOutcome::unreachable;
}

template <Isa I, class T>
RowOutcome connectivity_row(const T* dist, std::int64_t k, double sum, const RowSearch& search, T* work,
                            T* weight, double* sigma) {
  const Extent e = extent<I>(dist, k);
  if (!e.finite) return RowOutcome::not_a_distance;
  const double count = static_cast<double>(k);
  if (e.farthest == e.nearest) {
    fill_row<I>(weight, k, T(1));
    *sigma = e.farthest > 0 ? e.farthest : 1;
    return sum == count ? RowOutcome::reached : RowOutcome::unreachable;
  }
  const Row<I, T> row(dist, k, e, false, work);
  double next = 0;
  const double ties = static_cast<double>(row.ties(&next));
  double b = k_smallest;
  bool reached = sum == count;
  if (sum <= ties) {
    b = beyond(next);
    reached = sum == ties;
  } else if (sum < count) {
    const double mean = row.template sums<false>(k_smallest).first / count;
    b = find_root<T>(
        count / (sum * mean), search,
        [&](double at) {
          const Sums s = row.template sums<false>(at);
          return Step{log(s.weight / sum), at * s.first / s.weight};
        },
        &reached);
  }
  row.write(b, false, weight);
  *sigma = e.farthest / b;
  return reached ? RowOutcome::reached : RowOutcome::unreachable;
}

#define FLATLAND_NEIGHBOR_WEIGHTS(T)                                                                        \
  template RowOutcome perplexity_row<this_isa, T>(const T*, std::int64_t, double, const RowSearch&, T*, T*, \
                                                  double*);                                                 \
  template RowOutcome connectivity_row<this_isa, T>(const T*, std::int64_t, double, const RowSearch&, T*,   \
                                                    T*, double*);
FLATLAND_NEIGHBOR_WEIGHTS(float)
FLATLAND_NEIGHBOR_WEIGHTS(double)

}  // namespace flatland::kernels
