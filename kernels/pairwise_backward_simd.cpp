#include <flatland/kernels/pairwise.h>
#include <flatland/kernels/pairwise_formulas.h>
#include <flatland/kernels/pairwise_simd.h>

namespace flatland::kernels {

namespace {

template <Isa I, class T>
FLATLAND_HD std::int64_t at_most(std::int64_t n) {
  return n < lanes<T, I> ? n : lanes<T, I>;
}

// Vectors over columns: R rows of x, two vectors of columns from k on, n of them valid.
template <Isa I, class T, Term term, int R>
FLATLAND_HD void slopes_over_columns(In<T> x, In<T> y, MatView<const T> weights, std::int64_t row,
                                     std::int64_t k, std::int64_t n, MatView<T> dx) {
  constexpr int w = lanes<T, I>;
  const bool full = n >= 2 * w;
  const std::int64_t n0 = n < w ? n : w;
  const std::int64_t n1 = full ? w : n - n0;
  const std::int64_t k1 = n1 > 0 ? k + w : k;
  Vec<T, I> xk[R][2];
  Vec<T, I> sum[R][2] = {};
  FLATLAND_UNROLL for (int r = 0; r < R; ++r) {
    xk[r][0] = load_first<I>(x.row(row + r) + k, n0);
    xk[r][1] = load_first<I>(x.row(row + r) + k1, n1);
  }
  for (std::int64_t j = 0; j < y.rows; ++j) {
    const T* yj = y.row(j);
    const Vec<T, I> y0 = full ? load<I>(yj + k) : load_first<I>(yj + k, n0);
    const Vec<T, I> y1 = full ? load<I>(yj + k1) : load_first<I>(yj + k1, n1);
    FLATLAND_UNROLL for (int r = 0; r < R; ++r) {
      const Vec<T, I> weight = broadcast<I>(weights(row + r, j));
      sum[r][0] = add_slope<term>(sum[r][0], weight, xk[r][0] - y0);
      sum[r][1] = add_slope<term>(sum[r][1], weight, xk[r][1] - y1);
    }
  }
  FLATLAND_UNROLL for (int r = 0; r < R; ++r) {
    store_first<I>(dx.row(row + r) + k, sum[r][0], n0);
    store_first<I>(dx.row(row + r) + k1, sum[r][1], n1);
  }
}

// Vectors over the rows of y, packed.
template <Isa I, class T, Term term>
FLATLAND_HD void slopes_over_rows(In<T> x, const T* panels, MatView<const T> weights, std::int64_t row,
                                  MatView<T> dx) {
  constexpr int w = lanes<T, I>;
  const T* weight = weights.row(row);
  const std::int64_t whole = weights.cols / (2 * w) * (2 * w);
  for (std::int64_t k = 0; k < x.cols; ++k) {
    const Vec<T, I> xk = broadcast<I>(x(row, k));
    Vec<T, I> sum0 = {};
    Vec<T, I> sum1 = {};
    const T* column = panels + k * 2 * w;
    std::int64_t j = 0;
    for (; j < whole; j += 2 * w, column += x.cols * 2 * w) {
      sum0 = add_slope<term>(sum0, load<I>(weight + j), xk - load<I>(column));
      sum1 = add_slope<term>(sum1, load<I>(weight + j + w), xk - load<I>(column + w));
    }
    for (; j < weights.cols; j += w, column += w)
      sum0 = add_slope<term>(sum0, load_first<I>(weight + j, at_most<I, T>(weights.cols - j)),
                             xk - load<I>(column));
    dx(row, k) = sum_lanes<I, T>(sum0 + sum1);
  }
}

template <Isa I, class T, Term term>
FLATLAND_HD void accumulate_slopes(In<T> x, In<T> y, const T* panels, MatView<const T> weights,
                                   MatView<T> dx) {
  if (gradient_uses_panels<I, T>(term, x.cols)) {
    for (std::int64_t row = 0; row < x.rows; ++row) slopes_over_rows<I, T, term>(x, panels, weights, row, dx);
    return;
  }
  for (std::int64_t k = 0; k < x.cols; k += 2 * lanes<T, I>) {
    const std::int64_t n = x.cols - k;
    std::int64_t row = 0;
    for (; row + 4 <= x.rows; row += 4) slopes_over_columns<I, T, term, 4>(x, y, weights, row, k, n, dx);
    for (; row < x.rows; ++row) slopes_over_columns<I, T, term, 1>(x, y, weights, row, k, n, dx);
  }
}

template <Isa I, class T>
void add_maximum_slope(std::int64_t d, const T* x, const T* y, T weight, T* dx) {
  FirstLargest<T> largest;
  for (std::int64_t k = 0; k < d; ++k) largest.meet(k, x[k] - y[k]);
  if (largest.value > 0)
    dx[largest.at] = add_slope<Term::maximum>(dx[largest.at], weight, x[largest.at] - y[largest.at]);
}

template <Isa I, class T>
void add_power_slope(double p, std::int64_t d, const T* x, const T* y, T weight, T dist, T* dx) {
  for (std::int64_t k = 0; k < d; ++k) {
    const double diff = static_cast<double>(x[k]) - static_cast<double>(y[k]);
    dx[k] = add_slope<Term::powers>(dx[k], power_weight(p, weight, diff, dist), static_cast<T>(diff));
  }
}

template <Isa I, class T>
void add_scalar_slope(const DistanceForm& form, std::int64_t d, const T* x, const T* y, T weight, T dist,
                      T* dx) {
  if (form.term == Term::maximum) return add_maximum_slope<I, T>(d, x, y, weight, dx);
  add_power_slope<I, T>(form.p, d, x, y, weight, dist, dx);
}

template <Isa I, class T, int D>
void add_condensed_slopes(bool root, std::int64_t n, const T* columns, const T* dist, const T* g,
                          std::int64_t first, std::int64_t last, T* sums) {
  for (std::int64_t i = first; i < last; ++i) {
    Vec<T, I> xi[D];
    Vec<T, I> sum[D] = {};
    FLATLAND_UNROLL for (int k = 0; k < D; ++k) xi[k] = broadcast<I>(columns[k * n + i]);
    const std::int64_t at = condensed_index(n, i, 0);
    for (std::int64_t j = i + 1; j < n; j += lanes<T, I>) {
      const std::int64_t rest = n - j;
      const Vec<T, I> gj = load_part<I>(g + at + j, rest);
      const Vec<T, I> weight = root ? root_weight(gj, load_part<I>(dist + at + j, rest)) : gj + gj;
      FLATLAND_UNROLL for (int k = 0; k < D; ++k) {
        const Vec<T, I> slope = weight * (xi[k] - load_part<I>(columns + k * n + j, rest));
        sum[k] += slope;
        store_part<I>(sums + k * n + j, load_part<I>(sums + k * n + j, rest) - slope, rest);
      }
    }
    for (int k = 0; k < D; ++k) sums[k * n + i] += sum_lanes<I, T>(sum[k]);
  }
}

}  // namespace

template <Isa I, class T>
void add_condensed_gradient(const DistanceForm& form, std::int64_t n, std::int64_t d, const T* columns,
                            const T* dist, const T* g, std::int64_t first, std::int64_t last, T* sums) {
  const bool root = form.finish == Finish::root;
  if (d == 2)
    add_condensed_slopes<I, T, 2>(root, n, columns, dist, g, first, last, sums);
  else
    add_condensed_slopes<I, T, 3>(root, n, columns, dist, g, first, last, sums);
}

template <Isa I, class T>
T gradient_weights(const DistanceForm& form, std::int64_t n, const T* dist, T* g) {
  if (form.unit_rows) {
    Vec<T, I> sum = {};
    for (std::int64_t j = 0; j < n; j += lanes<T, I>) {
      const std::int64_t count = at_most<I, T>(n - j);
      sum = fma(load_first<I>(g + j, count), load_first<I>(dist + j, count), sum);
    }
    return sum_lanes<I, T>(sum);
  }
  for (std::int64_t j = 0; j < n; ++j) g[j] = distance_weight(form, g[j], dist[j]);
  return 0;
}

template <Isa I, class T>
void accumulate_gradient(const DistanceForm& form, In<T> x, In<T> y, const T* panels,
                         MatView<const T> weights, const T* dist, MatView<T> dx) {
  if (form.term == Term::squares) return accumulate_slopes<I, T, Term::squares>(x, y, panels, weights, dx);
  if (form.term == Term::absolutes)
    return accumulate_slopes<I, T, Term::absolutes>(x, y, panels, weights, dx);
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t k = 0; k < x.cols; ++k) dx(row, k) = 0;
    for (std::int64_t j = 0; j < y.rows; ++j)
      add_scalar_slope<I, T>(form, x.cols, x.row(row), y.row(j), weights(row, j), dist[row * weights.ld + j],
                             dx.row(row));
  }
}

template <Isa I, class T>
void paired_gradient(const DistanceForm& form, In<T> a, In<T> b, const T* weights, const T* dist,
                     MatView<T> da) {
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const T* x = a.row(i);
    const T* y = b.row(i);
    T* dx = da.row(i);
    const T weight = weights[i];
    if (form.term == Term::squares) {
      for (std::int64_t k = 0; k < a.cols; ++k) dx[k] = weight * (x[k] - y[k]);
    } else if (form.term == Term::absolutes) {
      for (std::int64_t k = 0; k < a.cols; ++k) dx[k] = x[k] > y[k] ? weight : x[k] < y[k] ? -weight : T(0);
    } else {
      for (std::int64_t k = 0; k < a.cols; ++k) dx[k] = 0;
      add_scalar_slope<I, T>(form, a.cols, x, y, weight, dist[i], dx);
    }
  }
}

#define FLATLAND_INSTANTIATE(T)                                                                      \
  template void add_condensed_gradient<this_isa, T>(const DistanceForm&, std::int64_t, std::int64_t, \
                                                    const T*, const T*, const T*, std::int64_t,      \
                                                    std::int64_t, T*);                               \
  template T gradient_weights<this_isa, T>(const DistanceForm&, std::int64_t, const T*, T*);         \
  template void accumulate_gradient<this_isa, T>(const DistanceForm&, In<T>, In<T>, const T*,        \
                                                 MatView<const T>, const T*, MatView<T>);            \
  template void paired_gradient<this_isa, T>(const DistanceForm&, In<T>, In<T>, const T*, const T*,  \
                                             MatView<T>);
FLATLAND_INSTANTIATE(float)
FLATLAND_INSTANTIATE(double)
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
