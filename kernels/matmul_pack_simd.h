// How op(b) is packed into panels, for matmul_simd.cpp.
#pragma once

#include <flatland/kernels/matmul_simd.h>
#include <flatland/kernels/rows_view.h>
#include <flatland/kernels/simd.h>

#include <cstdint>
#include <utility>

namespace flatland::kernels {

FLATLAND_HD constexpr std::int64_t smaller(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

// Panels of `height` steps from columns j0 ... j0 + n - 1 of b, filled at k steps, whose rows start at b's
// row k0 and the panels' step l0: copied row by row, zeros past the last column.
template <Isa I, class T>
void pack_columns(const RowsView<T>& b, std::int64_t k0, std::int64_t j0, std::int64_t n, std::int64_t k,
                  T* packed, std::int64_t height, std::int64_t l0) {
  constexpr std::int64_t panel = gemm_panel<I, T>, width = lanes<T, I>;
  for (std::int64_t l = 0; l < k; ++l) {
    const T* const row = b.row(k0 + l) + j0;
    for (std::int64_t first = 0; first < n; first += panel) {
      const std::int64_t cols = smaller(panel, n - first), stride = ceil_div(cols, width) * width;
      T* const to = packed + first * height + (l0 + l) * stride;
      for (std::int64_t j = 0; j < cols; j += width)
        store<I>(to + j, load_part<I>(row + first + j, cols - j));
    }
  }
}

// Transposes a square of vectors by log2(width) perfect shuffles.
template <class V, int... i>
FLATLAND_HD void zip(V a, V b, V& low, V& high, std::integer_sequence<int, i...>) {
  constexpr int width = sizeof...(i);
  low = __builtin_shufflevector(a, b, (i / 2 + i % 2 * width)...);
  high = __builtin_shufflevector(a, b, (width / 2 + i / 2 + i % 2 * width)...);
}
template <class V, int width>
FLATLAND_HD void transpose_square(V (&rows)[width]) {
  FLATLAND_UNROLL for (int stage = 1; stage < width; stage *= 2) {
    V next[width];
    FLATLAND_UNROLL for (int i = 0; i < width / 2; ++i) zip(
        rows[i], rows[i + width / 2], next[2 * i], next[2 * i + 1], std::make_integer_sequence<int, width>{});
    FLATLAND_UNROLL for (int i = 0; i < width; ++i) rows[i] = next[i];
  }
}
// One panel, from its step l0 on, from rows j0 ... j0 + n - 1 of b, their values k0 ... k0 + k - 1.
template <Isa I, class T>
void pack_rows(const RowsView<T>& b, std::int64_t j0, std::int64_t k0, std::int64_t n, std::int64_t k,
               T* panel, std::int64_t l0 = 0) {
  constexpr int width = lanes<T, I>;
  const std::int64_t stride = ceil_div(n, width) * width;
  for (std::int64_t l = 0; l < k; l += width)
    for (std::int64_t j = 0; j < n; j += width) {
      Vec<T, I> square[width];
      for (int i = 0; i < width; ++i)
        square[i] = j + i < n ? load_part<I>(b.row(j0 + j + i) + k0 + l, k - l) : Vec<T, I>{};
      transpose_square(square);
      T* p = panel + (l0 + l) * stride + j;
      for (int i = 0; i < width; ++i)
        if (l + i < k) store<I>(p + i * stride, square[i]);
    }
}

}  // namespace flatland::kernels
