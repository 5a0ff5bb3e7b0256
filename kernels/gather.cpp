#include <flatland/kernels/check.h>
#include <flatland/kernels/gather.h>
#include <flatland/kernels/gather_cuda.h>
#include <flatland/kernels/gather_formulas.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/rows_view.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <cstring>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_tile_values = 16384;
constexpr std::int64_t k_tile_cols = 64;
constexpr std::int64_t k_narrow = 16;  // up to here a plain loop beats a call of memcpy

}  // namespace

template <class T>
void gather_rows(const Exec& exec, MatView<const T> x, std::span<const std::int64_t> index, Out<T> y) {
  FLATLAND_CHECK(y.rows == std::ssize(index) && y.cols == x.cols, "gather_rows: y is ", y, " but ",
                 index.size(), " rows of x ", x, " were asked for; y must be (", index.size(), ", ", x.cols,
                 ")");
  FLATLAND_ON_CUDA(exec) return cuda::gather_rows<T>(exec, x, index.data(), y);
  check_rows("gather_rows", index, x.rows);
  const std::int64_t tile = std::max<std::int64_t>(1, k_tile_values / std::max<std::int64_t>(1, x.cols));
  parallel_for(exec, ceil_div(y.rows, tile), [&](std::int64_t t, int) {
    const std::int64_t end = std::min((t + 1) * tile, y.rows);
    for (std::int64_t i = t * tile; i < end; ++i) {
      const T* const from = x.row(index[static_cast<std::size_t>(i)]);
      T* const to = y.row(i);
      if (x.cols <= k_narrow) {
        for (std::int64_t j = 0; j < x.cols; ++j) to[j] = from[j];
      } else {
        std::memcpy(to, from, static_cast<std::size_t>(x.cols) * sizeof(T));
      }
    }
  });
}

// Each task owns a block of columns and walks all rows in order, so repeated indices need no care.
template <class T>
void scatter_add_rows(const Exec& exec, MatView<const T> y, std::span<const std::int64_t> index, Out<T> x) {
  FLATLAND_CHECK(y.rows == std::ssize(index) && y.cols == x.cols, "scatter_add_rows: y is ", y, " for ",
                 index.size(), " indices and x ", x, "; y must be (", index.size(), ", ", x.cols, ")");
  FLATLAND_ON_CUDA(exec) return cuda::scatter_add_rows<T>(exec, y, index.data(), x);
  check_rows("scatter_add_rows", index, x.rows);
  parallel_for(exec, ceil_div(x.cols, k_tile_cols), [&](std::int64_t t, int) {
    const std::int64_t begin = t * k_tile_cols;
    const std::int64_t count = std::min(k_tile_cols, x.cols - begin);
    for (std::int64_t i = 0; i < y.rows; ++i) {
      const T* const from = y.row(i) + begin;
      T* const to = x.row(index[static_cast<std::size_t>(i)]) + begin;
      for (std::int64_t j = 0; j < count; ++j) to[j] += from[j];
    }
  });
}

template <class T>
void renormalize_rows(const Exec& exec, double max_norm, std::span<const std::int64_t> index, MatView<T> x) {
  FLATLAND_CHECK(max_norm > 0, "renormalize_rows: max_norm is ", max_norm, "; it must be above 0");
  FLATLAND_ON_CUDA(exec) return cuda::renormalize_rows<T>(exec, max_norm, index, x);
  check_rows("renormalize_rows", index, x.rows);
  const ScratchArray<char> wanted(exec, x.rows);
  std::ranges::fill(wanted.span(), 0);
  for (const std::int64_t i : index) wanted[i] = 1;
  const std::int64_t tile = std::max<std::int64_t>(1, k_tile_values / std::max<std::int64_t>(1, x.cols));
  parallel_for(exec, ceil_div(x.rows, tile), [&](std::int64_t t, int) {
    for (std::int64_t i = t * tile; i < std::min((t + 1) * tile, x.rows); ++i) {
      if (!wanted[i]) continue;
      T* const row = x.row(i);
      double sum = 0;
      for (std::int64_t j = 0; j < x.cols; ++j)
        sum += static_cast<double>(row[j]) * static_cast<double>(row[j]);
      const double factor = renorm_factor(sum, max_norm);
      if (factor == 1) continue;
      for (std::int64_t j = 0; j < x.cols; ++j) row[j] = static_cast<T>(static_cast<double>(row[j]) * factor);
    }
  });
}

template void gather_rows<float>(const Exec&, MatView<const float>, std::span<const std::int64_t>,
                                 Out<float>);
template void gather_rows<double>(const Exec&, MatView<const double>, std::span<const std::int64_t>,
                                  Out<double>);
template void gather_rows<std::int32_t>(const Exec&, MatView<const std::int32_t>,
                                        std::span<const std::int64_t>, Out<std::int32_t>);
template void gather_rows<std::int64_t>(const Exec&, MatView<const std::int64_t>,
                                        std::span<const std::int64_t>, Out<std::int64_t>);
template void scatter_add_rows<float>(const Exec&, MatView<const float>, std::span<const std::int64_t>,
                                      Out<float>);
template void scatter_add_rows<double>(const Exec&, MatView<const double>, std::span<const std::int64_t>,
                                       Out<double>);
template void renormalize_rows(const Exec&, double, std::span<const std::int64_t>, MatView<float>);
template void renormalize_rows(const Exec&, double, std::span<const std::int64_t>, MatView<double>);

}  // namespace flatland::kernels
