#include <flatland/kernels/pairwise_formulas.h>
#include <flatland/kernels/pairwise_simd.h>

namespace flatland::kernels {

namespace {

// Rows x and y, with a step between the coordinates of y.
template <Isa I, class T>
T power_distance(double p, std::int64_t d, const T* x, const T* y, std::int64_t y_step) {
  return kernels::power_distance<T>(
      p, d, [=](std::int64_t k) { return static_cast<double>(x[k]) - static_cast<double>(y[k * y_step]); });
}

template <Isa I, class T, Term term, int R>
FLATLAND_HD void panel_rows_distances(Finish finish, In<T> x, std::int64_t row, const T* panel, T* out) {
  constexpr int w = lanes<T, I>;
  Vec<T, I> sum[R][2] = {};
  for (std::int64_t k = 0; k < x.cols; ++k) {
    const Vec<T, I> y0 = load<I>(panel + k * 2 * w);
    const Vec<T, I> y1 = load<I>(panel + k * 2 * w + w);
    FLATLAND_UNROLL for (int r = 0; r < R; ++r) {
      const Vec<T, I> xk = broadcast<I>(x(row + r, k));
      sum[r][0] = add_term<term>(sum[r][0], xk - y0);
      sum[r][1] = add_term<term>(sum[r][1], xk - y1);
    }
  }
  FLATLAND_UNROLL for (int r = 0; r < R; ++r) {
    store<I>(out + (row + r) * 2 * w, finished(finish, sum[r][0]));
    store<I>(out + (row + r) * 2 * w + w, finished(finish, sum[r][1]));
  }
}

template <Isa I, class T, Term term>
FLATLAND_HD void panel_distances_of(Finish finish, In<T> x, const T* panel, T* out) {
  std::int64_t row = 0;
  for (; row + 4 <= x.rows; row += 4) panel_rows_distances<I, T, term, 4>(finish, x, row, panel, out);
  for (; row < x.rows; ++row) panel_rows_distances<I, T, term, 1>(finish, x, row, panel, out);
}

// Coordinate k of the rows i, i + 1, ..., zero past the end.
template <Isa I, class T>
FLATLAND_HD Vec<T, I> column_of(In<T> x, std::int64_t i, std::int64_t k) {
  T lane[lanes<T, I>];
  for (int l = 0; l < lanes<T, I>; ++l) lane[l] = i + l < x.rows ? x(i + l, k) : T(0);
  return load<I>(lane);
}

template <Isa I, class T, Term term>
FLATLAND_HD void paired_distances_of(Finish finish, In<T> a, In<T> b, T* dist) {
  for (std::int64_t i = 0; i < a.rows; i += lanes<T, I>) {
    Vec<T, I> sum = {};
    for (std::int64_t k = 0; k < a.cols; ++k)
      sum = add_term<term>(sum, column_of<I, T>(a, i, k) - column_of<I, T>(b, i, k));
    const std::int64_t n = a.rows - i;
    store_first<I>(dist + i, finished(finish, sum), n < lanes<T, I> ? n : lanes<T, I>);
  }
}

}  // namespace

template <Isa I, class T>
void pack_panel(In<T> y, std::int64_t first_row, T* panel) {
  constexpr int width = panel_rows<T, I>;
  for (int c = 0; c < width; ++c) {
    const bool inside = first_row + c < y.rows;
    const T* row = inside ? y.row(first_row + c) : nullptr;
    for (std::int64_t k = 0; k < y.cols; ++k) panel[k * width + c] = inside ? row[k] : T(0);
  }
}

template <Isa I, class T>
void panel_distances(const DistanceForm& form, In<T> x, const T* panel, T* out) {
  constexpr int width = panel_rows<T, I>;
  switch (form.term) {
    case Term::squares:
      return panel_distances_of<I, T, Term::squares>(form.finish, x, panel, out);
    case Term::absolutes:
      return panel_distances_of<I, T, Term::absolutes>(form.finish, x, panel, out);
    case Term::maximum:
      return panel_distances_of<I, T, Term::maximum>(form.finish, x, panel, out);
    case Term::powers:
      break;
  }
  for (std::int64_t r = 0; r < x.rows; ++r)
    for (int c = 0; c < width; ++c)
      out[r * width + c] = power_distance<I, T>(form.p, x.cols, x.row(r), panel + c, width);
}

template <Isa I, class T>
void paired_distances(const DistanceForm& form, In<T> a, In<T> b, T* dist) {
  switch (form.term) {
    case Term::squares:
      return paired_distances_of<I, T, Term::squares>(form.finish, a, b, dist);
    case Term::absolutes:
      return paired_distances_of<I, T, Term::absolutes>(form.finish, a, b, dist);
    case Term::maximum:
      return paired_distances_of<I, T, Term::maximum>(form.finish, a, b, dist);
    case Term::powers:
      break;
  }
  for (std::int64_t i = 0; i < a.rows; ++i)
    dist[i] = power_distance<I, T>(form.p, a.cols, a.row(i), b.row(i), 1);
}

template void pack_panel<this_isa, float>(In<float>, std::int64_t, float*);
template void pack_panel<this_isa, double>(In<double>, std::int64_t, double*);
template void panel_distances<this_isa, float>(const DistanceForm&, In<float>, const float*, float*);
template void panel_distances<this_isa, double>(const DistanceForm&, In<double>, const double*, double*);
template void paired_distances<this_isa, float>(const DistanceForm&, In<float>, In<float>, float*);
template void paired_distances<this_isa, double>(const DistanceForm&, In<double>, In<double>, double*);

}  // namespace flatland::kernels
