// Cutting matrices into tiles of rows for parallel_for.
#pragma once

#include <flatland/kernels/parallel.h>
#include <flatland/kernels/size.h>
#include <flatland/kernels/view.h>

#include <algorithm>
#include <cstdint>

namespace flatland::kernels {

// Calls f(first row, past the last) for tiles of about 16,384 values, in parallel.
template <class F>
void row_tiles(const Exec& exec, std::int64_t rows, std::int64_t cols, F&& f) {
  const std::int64_t step = std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, cols));
  parallel_for(exec, ceil_div(rows, step),
               [&](std::int64_t tile, int) { f(tile * step, std::min(rows, (tile + 1) * step)); });
}

// Rows first ... last - 1.
template <class T>
MatView<T> rows_of(MatView<T> m, std::int64_t first, std::int64_t last) {
  return {m.row(first), last - first, m.cols, m.ld};
}

// A matrix without gaps as one row, so that elementwise loops fill their vectors however narrow it is.
template <class T>
MatView<T> as_one_row(MatView<T> m) {
  return {m.data, 1, m.rows * m.cols};
}

}  // namespace flatland::kernels
