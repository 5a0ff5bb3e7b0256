#include <flatland/kernels/lane_sum_simd.h>
#include <flatland/kernels/neighbor_weights_simd.h>
#include <flatland/kernels/range_simd.h>
#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

namespace {

// Some rows are searched at a time: the sums of a row run over vectors of its values, the steps over a vector
// of rows.

struct Sums {
  double weight = 0;  // sum e^(-b x)
  double first = 0;   // sum x e^(-b x)
  double second = 0;  // sum x^2 e^(-b x)
};

// The values of one row, padded to whole vectors, and what the search starts from.
template <Isa I, WeightKind kind, class T>
struct Row {
  using V = Vec<T, I>;
  T* x = nullptr;
  std::int64_t k = 0;
  RowFacts facts;

  // False when it holds something that is not a distance.
  FLATLAND_HD bool read(const T* dist, std::int64_t count, T* work) {
    x = work;
    k = count;
    V low = splat<V>(dist[0]);
    V high = low;
    V bad{};
    for_vectors<T, I>(k, [&](std::int64_t i, std::int64_t width) {
      const V d = load_part<I>(dist + i, width, dist[0]);
      low = min(d, low);
      high = max(d, high);
      bad += select(is_distance(d), V{}, T(1));
    });
    if (!(add_lanes<I, T>(bad) == T(0))) return false;
    const T nearest = fold_lanes<I, T>(low, [](auto a, auto b) { return min(a, b); });
    const T top = fold_lanes<I, T>(high, [](auto a, auto b) { return max(a, b); });
    const T scale = distance_scale(nearest, top);
    LaneSum<T, I> sum;
    V zeros{};
    V smallest = splat<V>(T(2));
    for_vectors<T, I>(k, [&](std::int64_t i, std::int64_t width) {
      const V d = load_part<I>(dist + i, width, top);
      V value = scaled_distance<kind>(d, nearest, scale);
      store<I>(x + i, value);
      if (width < lanes<T, I>) value = load_part<I>(x + i, width, T(k_pad_distance));
      store<I>(x + i, value);
      const auto is_zero = value == T(0);
      zeros += select(is_zero, splat<V>(T(1)), V{});
      smallest = select(is_zero, smallest, min(value, smallest));
      sum.add(select(value < T(2), value, V{}));
    });
    facts.count = static_cast<double>(k);
    facts.farthest = static_cast<double>(top);
    facts.mean = sum.total() / facts.count;
    facts.ties = static_cast<double>(add_lanes<I, T>(zeros));
    facts.next = static_cast<double>(fold_lanes<I, T>(smallest, [](auto a, auto b) { return min(a, b); }));
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

// A row a lane.
template <Isa I>
struct Roots : LogRoot<Vec<double, I>> {
  static constexpr int size = lanes<double, I>;

  FLATLAND_HD bool any_open() const {
    for (int r = 0; r < size; ++r)
      if (this->open[r] != 0) return true;
    return false;
  }
};

template <Isa I, WeightKind kind, class T>
SearchResult search(const In<T>& dist, double reach, const RowSearch& search, std::int64_t first,
                    std::int64_t last, T* work, const Out<T>& weight, T* width) {
  constexpr bool k_entropy = kind == WeightKind::perplexity;
  constexpr std::int64_t k_rows = Roots<I>::size;
  const double enough = last_step<T>(search.tolerance);
  SearchResult result;
  for (std::int64_t begin = first; begin < last; begin += k_rows) {
    const std::int64_t rows = last - begin < k_rows ? last - begin : k_rows;
    Row<I, kind, T> row[k_rows];
    Roots<I> roots;
    for (std::int64_t r = 0; r < k_rows; ++r) {
      roots.b[r] = 1;
      if (r >= rows) continue;
      if (!row[r].read(dist.row(begin + r), dist.cols, work + r * (dist.cols + 64))) {
        result.bad_row = begin + r;
        return result;
      }
      double b = 0;
      bool reached = false;
      if (closed_form(row[r].facts, reach, &b, &reached)) {
        roots.b[r] = b;
        result.missed += !reached;
      } else {
        roots.b[r] = first_b<kind>(row[r].facts, reach);
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
      roots.open &=
          ~newton_step<kind>(roots, load<I>(sum[0]), load<I>(sum[1]), load<I>(sum[2]), reach, enough);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      result.missed += roots.open[r] != 0;
      row[r].write(roots.b[r], k_entropy, weight.row(begin + r));
      if (width) width[begin + r] = width_of<kind, T>(roots.b[r], row[r].facts.farthest);
    }
  }
  return result;
}

}  // namespace

template <Isa I, class T>
SearchResult search_tile(WeightKind kind, In<T> dist, double reach, const RowSearch& options,
                         std::int64_t first, std::int64_t last, T* work, Out<T> weight, T* width) {
  if (kind == WeightKind::perplexity)
    return search<I, WeightKind::perplexity, T>(dist, reach, options, first, last, work, weight, width);
  return search<I, WeightKind::connectivity, T>(dist, reach, options, first, last, work, weight, width);
}

#define FLATLAND_NEIGHBOR_WEIGHTS(T)                                                                        \
  template SearchResult search_tile<this_isa, T>(WeightKind, In<T>, double, const RowSearch&, std::int64_t, \
                                                 std::int64_t, T*, Out<T>, T*);
FLATLAND_NEIGHBOR_WEIGHTS(float)
FLATLAND_NEIGHBOR_WEIGHTS(double)

}  // namespace flatland::kernels
