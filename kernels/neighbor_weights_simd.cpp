#include <flatland/kernels/lane_sum_simd.h>
#include <flatland/kernels/neighbor_weights_simd.h>
#include <flatland/kernels/range_simd.h>
#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

namespace {

// Both searches look for b in e^(-b x) over values x that are 0 at the nearest neighbour and at most 1, so
// that nothing over- or underflows whatever the scale of the data. log b moves by guarded Newton steps, some
// rows at a time: the sums of a row run over vectors of its values, the steps over a vector of rows.
constexpr double k_smallest = 1e-9;   // of b: there all weights are equal to a part in 1e9
constexpr double k_longest_step = 4;  // of log b
constexpr double k_pad = 1e15;        // e^(-b x) is 0 there for every b in the search

struct Sums {
  double weight = 0;  // sum e^(-b x)
  double first = 0;   // sum x e^(-b x)
  double second = 0;  // sum x^2 e^(-b x)
};

// The values of one row, padded to whole vectors, and what the search starts from.
template <Isa I, class T>
struct Row {
  using V = Vec<T, I>;
  T* x = nullptr;
  std::int64_t k = 0;
  double farthest = 0;
  double mean = 0;  // of x
  double ties = 0;  // how many x are 0
  double next = 0;  // the smallest of the others

  // Reads a row: x = d / farthest - nearest / farthest, or the difference of their squares. False when it
  // holds something that is not a distance.
  FLATLAND_HD bool read(const T* dist, std::int64_t count, bool squared, T* work) {
    x = work;
    k = count;
    V low = splat<V>(dist[0]);
    V high = low;
    V bad{};
    const T most = sizeof(T) == 4 ? T(3.40282347e38) : T(1.7976931348623157e308);
    for_vectors<T, I>(k, [&](std::int64_t i, std::int64_t width) {
      const V d = load_part<I>(dist + i, width, dist[0]);
      low = min(d, low);
      high = max(d, high);
      bad += select(d >= T(0), select(d <= most, V{}, T(1)), splat<V>(T(1)));
    });
    if (!(add_lanes<I, T>(bad) == T(0))) return false;
    const T nearest = fold_lanes<I, T>(low, [](auto a, auto b) { return min(a, b); });
    const T top = fold_lanes<I, T>(high, [](auto a, auto b) { return max(a, b); });
    farthest = static_cast<double>(top);
    const T scale = top > nearest ? T(1) / top : T(0);
    LaneSum<T, I> sum;
    V zeros{};
    V smallest = splat<V>(T(2));
    for_vectors<T, I>(k, [&](std::int64_t i, std::int64_t width) {
      const V d = load_part<I>(dist + i, width, top);
      V value = (d - nearest) * scale;
      if (squared) value = value * ((d + nearest) * scale);
      store<I>(x + i, value);
      if (width < lanes<T, I>) value = load_part<I>(x + i, width, T(k_pad));
      store<I>(x + i, value);
      const auto is_zero = value == T(0);
      zeros += select(is_zero, splat<V>(T(1)), V{});
      smallest = select(is_zero, smallest, min(value, smallest));
      sum.add(select(value < T(2), value, V{}));
    });
    mean = sum.total() / static_cast<double>(k);
    ties = static_cast<double>(add_lanes<I, T>(zeros));
    next = static_cast<double>(fold_lanes<I, T>(smallest, [](auto a, auto b) { return min(a, b); }));
    return true;
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

  // weight = e^(-b x), divided by its sum when `normalized`. Overwrites x.
  FLATLAND_HD void write(double b, bool normalized, T* weight) const {
    LaneSum<T, I> sum;
    for_vectors<T, I>(k, [&](std::int64_t i, std::int64_t width) {
      store<I>(x + i, exp(load<I>(x + i) * static_cast<T>(-b)));
      sum.add(load_part<I>(x + i, width, T(0)));
    });
    const T factor = normalized ? static_cast<T>(1 / sum.total()) : T(1);
    for_vectors<T, I>(k, [&](std::int64_t i, std::int64_t width) {
      store_part<I, T>(weight + i, load<I>(x + i) * factor, width);
    });
  }
};

// A row a lane: log b between brackets, until every lane is closed.
template <Isa I>
struct Roots {
  using V = Vec<double, I>;
  static constexpr int size = lanes<double, I>;
  V at{};
  V b{};
  V low{};
  V high{};
  bits_of<V> open{};

  // Starts the open lanes from b.
  FLATLAND_HD void start() {
    const V floor = splat<V>(log(k_smallest));
    at = max(log(b), floor);
    low = floor;
    high = splat<V>(__builtin_inf());
    b = select(open, exp(at), b);
  }

  // A Newton step towards the root of a function that falls with b: `excess` is its value less the target,
  // `fall` minus its derivative by log b. A step that leaves the bracket becomes a bisection, or a long step
  // where the bracket is open. The error squares from step to step, so a step below `enough` is the last.
  FLATLAND_HD void step(V excess, V fall, double enough) {
    const auto too_small = excess > 0.0;
    low = select(open & too_small, at, low);
    high = select(open & ~too_small, at, high);
    const V next = at + excess / fall;
    const auto arrived = abs(next - at) <= enough;
    const V bisected = select(high < __builtin_inf(), 0.5 * (low + high), at + k_longest_step);
    V moved = min(max(next, at - k_longest_step), at + k_longest_step);
    moved = select((next > low) & (next < high), moved, bisected);
    moved = select(arrived, next, moved);
    const auto done = arrived | (moved == at);
    at = select(open, moved, at);
    b = select(open, exp(at), b);
    open = open & ~done;
  }

  FLATLAND_HD bool any_open() const {
    for (int r = 0; r < size; ++r)
      if (open[r] != 0) return true;
    return false;
  }
};

// Entropy of the normalised weights towards log(perplexity), or sum of the weights towards the sum.
template <Isa I, WeightKind kind>
FLATLAND_HD void newton_step(Roots<I>& roots, const double* weight, const double* first, const double* second,
                             double reach, double enough) {
  using V = Vec<double, I>;
  const V s = load<I>(weight);
  const V mean = load<I>(first) / s;
  if constexpr (kind == WeightKind::perplexity) {
    const V variance = load<I>(second) / s - mean * mean;
    roots.step(log(s) + roots.b * mean - log(reach), roots.b * roots.b * variance, enough);
  } else {
    roots.step(log(s / reach), roots.b * mean, enough);
  }
}

// Where no finite b > 0 is the root: weights for the nearest alone, or equal weights (b = 0).
template <Isa I, class T>
FLATLAND_HD bool closed_form(const Row<I, T>& row, double reach, double* b, bool* reached) {
  const double count = static_cast<double>(row.k);
  if (row.ties == count || reach >= count) {
    *b = 0;
    *reached = reach == count;
    return true;
  }
  *b = 1000 / row.next;
  *reached = reach == row.ties;
  return reach <= row.ties;
}

template <WeightKind kind>
FLATLAND_HD double width_of(double b, double farthest) {
  if (kind == WeightKind::perplexity) return b == 0 ? 0 : b / farthest / farthest;
  return farthest == 0 ? 1 : farthest / (b < k_smallest ? k_smallest : b);
}

template <Isa I, WeightKind kind, class T>
TileResult search(const In<T>& dist, double reach, const RowSearch& search, std::int64_t first,
                  std::int64_t last, T* work, const Out<T>& weight, T* width) {
  constexpr bool k_entropy = kind == WeightKind::perplexity;
  constexpr std::int64_t k_rows = Roots<I>::size;
  const double enough = sizeof(T) == 4 ? sqrt(search.tolerance) : 1e-7;
  const double most = sizeof(T) == 4 ? 3.4028234e38 : 1.7976931348623157e308;
  TileResult result;
  for (std::int64_t begin = first; begin < last; begin += k_rows) {
    const std::int64_t rows = last - begin < k_rows ? last - begin : k_rows;
    Row<I, T> row[k_rows];
    Roots<I> roots;
    for (std::int64_t r = 0; r < k_rows; ++r) {
      roots.b[r] = 1;
      if (r >= rows) continue;
      if (!row[r].read(dist.row(begin + r), dist.cols, k_entropy, work + r * (dist.cols + 64))) {
        result.bad_row = begin + r;
        return result;
      }
      double b = 0;
      bool reached = false;
      if (closed_form(row[r], reach, &b, &reached)) {
        roots.b[r] = b;
        result.missed += !reached;
      } else {
        roots.b[r] = (k_entropy ? 1.36 : 1.0) * static_cast<double>(dist.cols) / (reach * row[r].mean);
        roots.open[r] = -1;
      }
    }
    roots.start();
    double sum[3][k_rows];
    for (auto& s : sum)
      for (double& lane : s) lane = 1;
    for (int step = 0; step < search.max_steps && roots.any_open(); ++step) {
      for (std::int64_t r = 0; r < rows; ++r) {
        if (roots.open[r] == 0) continue;
        const Sums s = row[r].template sums<k_entropy>(roots.b[r]);
        sum[0][r] = s.weight;
        sum[1][r] = s.first;
        sum[2][r] = s.second;
      }
      newton_step<I, kind>(roots, sum[0], sum[1], sum[2], reach, enough);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      result.missed += roots.open[r] != 0;
      row[r].write(roots.b[r], k_entropy, weight.row(begin + r));
      const double found = width_of<kind>(roots.b[r], row[r].farthest);
      if (width) width[begin + r] = static_cast<T>(found < most ? found : most);
    }
  }
  return result;
}

}  // namespace

template <Isa I, class T>
TileResult search_tile(WeightKind kind, In<T> dist, double reach, const RowSearch& options,
                       std::int64_t first, std::int64_t last, T* work, Out<T> weight, T* width) {
  if (kind == WeightKind::perplexity)
    return search<I, WeightKind::perplexity, T>(dist, reach, options, first, last, work, weight, width);
  return search<I, WeightKind::connectivity, T>(dist, reach, options, first, last, work, weight, width);
}

#define FLATLAND_NEIGHBOR_WEIGHTS(T)                                                                      \
  template TileResult search_tile<this_isa, T>(WeightKind, In<T>, double, const RowSearch&, std::int64_t, \
                                               std::int64_t, T*, Out<T>, T*);
FLATLAND_NEIGHBOR_WEIGHTS(float)
FLATLAND_NEIGHBOR_WEIGHTS(double)

}  // namespace flatland::kernels
