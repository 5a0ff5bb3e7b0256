// Products of rows with few nonzeros, for matmul_simd.cpp: each row takes its own steps along k, a row at a
// time, with no value but the nonzero ones multiplied.
#pragma once

#include <flatland/kernels/matmul_pack_simd.h>
#include <flatland/kernels/rows_view.h>
#include <flatland/kernels/simd.h>

#include <bit>
#include <cstdint>
#include <type_traits>

namespace flatland::kernels {

// op(a): value (i, k) stands in row i at k, or in row k at i where transposed.
template <class T>
struct Left {
  RowsView<T> values;
  bool transposed;
  std::int64_t i = 0, k = 0;  // its first value

  FLATLAND_HD Left at(std::int64_t di, std::int64_t dk) const { return {values, transposed, i + di, k + dk}; }
};

// Where fewer values than this are not 0, a row at a time takes less than blocks of rows.
inline constexpr double k_few_nonzeros = 0.5;

// The share of nonzeros in a part of some rows.
template <Isa I, class T>
double nonzero_share(const RowsView<T>& m) {
  constexpr std::int64_t looked_at = 16, width = lanes<T, I>;
  const std::int64_t step = ceil_div(m.rows, looked_at), stride = m.cols > 16 * width ? 4 * width : width;
  std::int64_t nonzero = 0, all = 0;
  for (std::int64_t i = 0; i < m.rows; i += step)
    for (std::int64_t k = i / step * width % stride; k < m.cols; k += stride) {
      nonzero += std::popcount(mask_bits<I, T>(load_part<I>(m.row(i) + k, m.cols - k) != 0));
      all += smaller(width, m.cols - k);
    }
  return all == 0 ? 1 : static_cast<double>(nonzero) / static_cast<double>(all);
}

// Where the nonzeros are in up to `rows` rows of op(a) and `words` times 64 steps: bit l of word (w, i) says
// that value (i, 64 w + l) is not 0.
struct NonzeroBits {
  static constexpr std::int64_t rows = 96, words = 8, steps = 64;

  std::uint64_t bits[words][rows];
};

template <Isa I, class T>
void find_in_rows(const Left<T>& a, std::int64_t m, std::int64_t height, NonzeroBits& found) {
  constexpr std::int64_t width = lanes<T, I>, ahead = 2;
  for (std::int64_t i = 0; i < m; ++i) {
    const T* const row = a.values.row(a.i + i) + a.k;
    const T* const next = i + ahead < m ? a.values.row(a.i + i + ahead) + a.k : row;
    for (std::int64_t w = 0; NonzeroBits::steps * w < height; ++w) {
      const std::int64_t begin = NonzeroBits::steps * w, end = begin + NonzeroBits::steps;
      std::uint64_t word = 0;
      for (std::int64_t k = begin; k < end && k < height; k += width) {
        __builtin_prefetch(next + k);
        word |= std::uint64_t{mask_bits<I, T>(load_part<I>(row + k, height - k) != 0)} << (k - begin);
      }
      found.bits[w][i] = word;
    }
  }
}
// The same for columns, each in a lane of its own, over as many steps at a time as a lane has bits.
template <Isa I, class T>
void find_in_columns(const Left<T>& a, std::int64_t m, std::int64_t height, NonzeroBits& found) {
  using Bits = IntVec<T, I>;
  constexpr std::int64_t width = lanes<T, I>, part = 8 * sizeof(T), ahead = 8;
  for (std::int64_t k = 0; k < height; k += part) {
    Bits bits[NonzeroBits::rows / width] = {};
    Bits bit = Bits{} + 1;
    for (std::int64_t l = k; l < k + part && l < height; ++l, bit <<= 1) {
      const T* const values = a.values.row(a.k + l) + a.i;
      const T* const next = l + ahead < height ? a.values.row(a.k + l + ahead) + a.i : values;
      for (std::int64_t i = 0; i < m; i += width) {
        __builtin_prefetch(next + i);
        bits[i / width] |= (load_part<I>(values + i, m - i) != 0) & bit;
      }
    }
    for (std::int64_t i = 0; i < m; ++i) {
      const auto lane = bits[i / width][i % width];
      const std::uint64_t value = static_cast<std::make_unsigned_t<std::remove_cv_t<decltype(lane)>>>(lane);
      std::uint64_t& word = found.bits[k / NonzeroBits::steps][i];
      word = k % NonzeroBits::steps == 0 ? value : word | value << (k % NonzeroBits::steps);
    }
  }
}

// Panels of op(b) side by side, `panel_size` values from one to the next, from step k on.
template <class T>
struct PackedColumns {
  const T* values;
  std::int64_t panel_size;
  std::int64_t k;
};

// m rows of c (m, n) = or += those of op(a) times op(b) at up to 64 steps. n fills `vectors` vectors, the
// last in part; `panel` of them stand side by side in a panel. Each value is one chain over ascending steps.
template <Isa I, class T, int vectors, int panel, bool transposed>
[[gnu::noinline]] void sparse_rows(const Left<T>& a, const std::uint64_t* nonzero, std::int64_t m,
                                   const PackedColumns<T>& b, T* c, std::int64_t ldc, std::int64_t n,
                                   bool add) {
  using V = Vec<T, I>;
  constexpr int width = lanes<T, I>, panels = (vectors + panel - 1) / panel;
  const auto stride = [](int p) { return (p < panels - 1 ? panel : vectors - (panels - 1) * panel) * width; };
  const std::int64_t last = n - (vectors - 1) * width;
  const T* from[panels];
  FLATLAND_UNROLL for (int p = 0; p < panels; ++p) from[p] = b.values + p * b.panel_size + b.k * stride(p);
  for (std::int64_t i = 0; i < m; ++i, c += ldc) {
    std::uint64_t steps = nonzero[i];
    if (steps == 0 && add) continue;
    V sum[vectors] = {};
    if (add) {
      FLATLAND_UNROLL for (int v = 0; v < vectors - 1; ++v) sum[v] = load<I>(c + v * width);
      sum[vectors - 1] = load_part<I>(c + (vectors - 1) * width, last);
    }
    const T* const row = transposed ? nullptr : a.values.row(a.i + i) + a.k;
    for (; steps != 0; steps &= steps - 1) {
      const std::int64_t l = std::countr_zero(steps);
      const V x = splat<V>(transposed ? a.values.row(a.k + l)[a.i + i] : row[l]);
      FLATLAND_UNROLL for (int v = 0; v < vectors; ++v) sum[v] =
          fma(x, load<I>(from[v / panel] + l * stride(v / panel) + v % panel * width), sum[v]);
    }
    FLATLAND_UNROLL for (int v = 0; v < vectors - 1; ++v) store<I>(c + v * width, sum[v]);
    store_part<I>(c + (vectors - 1) * width, sum[vectors - 1], last);
  }
}

}  // namespace flatland::kernels
