#include <flatland/kernels/check.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/reduce.h>
#include <flatland/kernels/reduce_cuda.h>
#include <flatland/kernels/reduce_simd.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <cmath>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_reduce_tile = 16384;  // values of a task
constexpr std::int64_t k_tile_rows = 512;
constexpr std::int64_t k_tile_cols = 128;

// Rows that lie one behind the other are one long row.
template <class T>
MatView<const T> flat(MatView<const T> x) {
  return x.contiguous() ? MatView<const T>(x.data, x.rows * x.cols > 0 ? 1 : 0, x.rows * x.cols) : x;
}

// The values of x in row-major order are cut into tiles. f(first, count, out) yields one partial result for a
// run of values inside a row, combine(a, b) joins two; partial[tile] gets the tile's result.
template <class T, class R, class F, class Combine>
void reduce_tiles(const Exec& exec, MatView<const T> x, std::span<R> partial, F f, Combine combine) {
  const std::int64_t n = x.rows * x.cols;
  parallel_for(exec, std::ssize(partial), [&](std::int64_t tile, int) {
    std::int64_t at = tile * k_reduce_tile;
    const std::int64_t end = std::min(at + k_reduce_tile, n);
    bool any = false;
    R result{};
    while (at < end) {
      const std::int64_t i = at / x.cols, j = at % x.cols;
      const std::int64_t count = std::min(end - at, x.cols - j);
      const R part = f(x.row(i) + j, count);
      result = any ? combine(result, part) : part;
      any = true;
      at += count;
    }
    partial[static_cast<std::size_t>(tile)] = result;
  });
}

template <class T>
std::int64_t tiles_of(MatView<const T> x) {
  return ceil_div(x.rows * x.cols, k_reduce_tile);
}

// total[j] = sum over all rows of the term of column j; row tiles are added in order.
template <class T>
void column_totals(const Exec& exec, ColumnTerm term, MatView<const T> x, const double* center,
                   double* total) {
  const std::int64_t row_tiles = ceil_div(x.rows, k_tile_rows), col_tiles = ceil_div(x.cols, k_tile_cols);
  const ScratchArray<double> partial(exec, checked_mul(row_tiles, x.cols));
  const auto tile = with_isa([](auto isa) { return &column_sums_tile<isa, T>; });
  parallel_for(exec, row_tiles * col_tiles, [&](std::int64_t task, int) {
    const std::int64_t r = task / col_tiles, i = r * k_tile_rows, j = task % col_tiles * k_tile_cols;
    tile(term, x.row(i) + j, x.ld, std::min(k_tile_rows, x.rows - i), std::min(k_tile_cols, x.cols - j),
         center == nullptr ? nullptr : center + j, partial.data() + r * x.cols + j);
  });
  std::fill_n(total, x.cols, 0.0);
  for (std::int64_t r = 0; r < row_tiles; ++r) {
    for (std::int64_t j = 0; j < x.cols; ++j) total[j] += partial[r * x.cols + j];
  }
}

}  // namespace

template <class T>
void sum(const Exec& exec, In<T> x, T* value) {
  FLATLAND_ON_CUDA(exec) return cuda::sum<T>(exec, x, value);
  const MatView<const T> values = flat(x);
  const ScratchArray<double> partial(exec, tiles_of(values));
  const auto add = with_isa([](auto isa) { return &sum_dense<isa, T>; });
  reduce_tiles(exec, values, partial.span(), add, [](double a, double b) { return a + b; });
  double total = 0;
  for (const double part : partial.span()) total += part;
  *value = static_cast<T>(total);
}

template <class T>
void row_sums(const Exec& exec, In<T> x, std::span<T> s) {
  FLATLAND_CHECK(std::ssize(s) == x.rows, "row_sums: s has ", s.size(), " values but x is ", x,
                 "; give one a row");
  FLATLAND_ON_CUDA(exec) return cuda::row_sums<T>(exec, x, s);
  const auto add = with_isa([](auto isa) { return &sum_dense<isa, T>; });
  const std::int64_t rows = std::max<std::int64_t>(1, k_reduce_tile / std::max<std::int64_t>(1, x.cols));
  parallel_for(exec, ceil_div(x.rows, rows), [&](std::int64_t tile, int) {
    const std::int64_t end = std::min((tile + 1) * rows, x.rows);
    for (std::int64_t i = tile * rows; i < end; ++i) {
      s[static_cast<std::size_t>(i)] = static_cast<T>(add(x.row(i), x.cols));
    }
  });
}

template <class T>
void column_sums(const Exec& exec, In<T> x, std::span<T> s, bool accumulate) {
  FLATLAND_CHECK(std::ssize(s) == x.cols, "column_sums: s has ", s.size(), " values but x is ", x,
                 "; give one a column");
  FLATLAND_ON_CUDA(exec) return cuda::column_sums<T>(exec, x, s, accumulate);
  const ScratchArray<double> total(exec, x.cols);
  column_totals<T>(exec, ColumnTerm::value, x, nullptr, total.data());
  for (std::size_t j = 0; j < s.size(); ++j) {
    s[j] = static_cast<T>(accumulate ? static_cast<double>(s[j]) + total.data()[j] : total.data()[j]);
  }
}

template <class T>
void max(const Exec& exec, In<T> x, T* value) {
  FLATLAND_CHECK(x.rows > 0 && x.cols > 0, "max: x is ", x, "; the largest of no values is not defined");
  FLATLAND_ON_CUDA(exec) return cuda::max<T>(exec, x, value);
  const MatView<const T> values = flat(x);
  const ScratchArray<T> partial(exec, tiles_of(values));
  const auto largest = with_isa([](auto isa) { return &max_dense<isa, T>; });
  reduce_tiles(exec, values, partial.span(), largest, [](T a, T b) { return larger(b, a); });
  T result = partial[0];
  for (const T part : partial.span()) result = larger(part, result);
  *value = result;
}

template <class T>
void row_argmax(const Exec& exec, MatView<const T> x, std::span<std::int64_t> index) {
  FLATLAND_CHECK(std::ssize(index) == x.rows, "row_argmax: index has ", index.size(), " values but x is ", x,
                 "; give one a row");
  FLATLAND_CHECK(x.cols > 0 || x.rows == 0, "row_argmax: x is ", x, "; it needs a column at least");
  FLATLAND_ON_CUDA(exec) return cuda::row_argmax<T>(exec, x, index);
  const std::int64_t rows = std::max<std::int64_t>(1, k_reduce_tile / std::max<std::int64_t>(1, x.cols));
  parallel_for(exec, ceil_div(x.rows, rows), [&](std::int64_t tile, int) {
    const std::int64_t end = std::min((tile + 1) * rows, x.rows);
    for (std::int64_t i = tile * rows; i < end; ++i) {
      const T* const row = x.row(i);
      std::int64_t best = 0;
      for (std::int64_t j = 1; j < x.cols; ++j)
        if (goes_before(row[j], j, row[best], best)) best = j;
      index[static_cast<std::size_t>(i)] = best;
    }
  });
}

// Deviations are taken from the first row, so that a constant column has variance 0 exactly.
template <class T>
void column_moments(const Exec& exec, In<T> x, int ddof, std::span<T> mean, std::span<T> variance) {
  FLATLAND_CHECK(std::ssize(mean) == x.cols && std::ssize(variance) == x.cols, "column_moments: mean has ",
                 mean.size(), " and variance ", variance.size(), " values but x is ", x,
                 "; give one a column");
  FLATLAND_CHECK(ddof >= 0 && x.rows > ddof, "column_moments: ", x.rows, " rows with ddof ", ddof,
                 "; more rows than ddof are needed");
  FLATLAND_ON_CUDA(exec) return cuda::column_moments<T>(exec, x, ddof, mean, variance);
  const ScratchArray<double> center(exec, x.cols);
  const ScratchArray<double> total(exec, x.cols);
  for (std::int64_t j = 0; j < x.cols; ++j) center[j] = static_cast<double>(x(0, j));
  column_totals<T>(exec, ColumnTerm::deviation, x, center.data(), total.data());
  for (std::int64_t j = 0; j < x.cols; ++j) {
    center[j] += total[j] / static_cast<double>(x.rows);
    mean[static_cast<std::size_t>(j)] = static_cast<T>(center[j]);
  }
  column_totals<T>(exec, ColumnTerm::squared_deviation, x, center.data(), total.data());
  for (std::int64_t j = 0; j < x.cols; ++j) {
    variance[static_cast<std::size_t>(j)] = static_cast<T>(total[j] / static_cast<double>(x.rows - ddof));
  }
}

template <class T>
NonFinite find_non_finite(const Exec& exec, MatView<const T> x) {
  FLATLAND_ON_CUDA(exec) return cuda::find_non_finite<T>(exec, x);
  const MatView<const T> values = flat(x);
  const ScratchArray<std::int64_t> partial(exec, tiles_of(values));
  const auto count = with_isa([](auto isa) { return &count_non_finite<isa, T>; });
  reduce_tiles(exec, values, partial.span(), count, [](std::int64_t a, std::int64_t b) { return a + b; });
  NonFinite found;
  for (std::int64_t tile = 0; tile < std::ssize(partial.span()); ++tile) {
    found.count += partial[tile];
    if (partial[tile] == 0 || found.row >= 0) continue;
    std::int64_t at = tile * k_reduce_tile;
    while (std::isfinite(x(at / x.cols, at % x.cols))) ++at;
    found.row = at / x.cols;
    found.col = at % x.cols;
  }
  return found;
}

template void sum<float>(const Exec&, In<float>, float*);
template void sum<double>(const Exec&, In<double>, double*);
template void row_sums<float>(const Exec&, In<float>, std::span<float>);
template void row_sums<double>(const Exec&, In<double>, std::span<double>);
template void column_sums<float>(const Exec&, In<float>, std::span<float>, bool);
template void column_sums<double>(const Exec&, In<double>, std::span<double>, bool);
template void max<float>(const Exec&, In<float>, float*);
template void max<double>(const Exec&, In<double>, double*);
template void row_argmax<float>(const Exec&, MatView<const float>, std::span<std::int64_t>);
template void row_argmax<double>(const Exec&, MatView<const double>, std::span<std::int64_t>);
template void column_moments<float>(const Exec&, In<float>, int, std::span<float>, std::span<float>);
template void column_moments<double>(const Exec&, In<double>, int, std::span<double>, std::span<double>);
template NonFinite find_non_finite<float>(const Exec&, MatView<const float>);
template NonFinite find_non_finite<double>(const Exec&, MatView<const double>);

}  // namespace flatland::kernels
