// A warp a row. Of a product its lanes are `columns` columns of x times 32 / columns shares of the row's
// entries, so that a narrow x keeps all lanes busy and a wide one is read in whole lines.
#include <flatland/kernels/memory.h>
#include <flatland/kernels/primitives.h>
#include <flatland/kernels/sparse_cuda.h>
#include <flatland/kernels/cuda.cuh>

#include <limits>
#include <type_traits>

namespace flatland::kernels::cuda {

namespace {

// --- looking at rows ------------------------------------------------------------------------------------

constexpr unsigned long long k_no_rows = std::numeric_limits<unsigned long long>::max();

// *longest is k_no_rows where a row is none.
__global__ void longest_row_kernel(std::int64_t rows, std::int64_t cols, const std::int64_t* row_offset,
                                   const std::int32_t* col, std::int64_t entries,
                                   unsigned long long* longest) {
  const std::int64_t i = warp_row();
  if (i >= rows) return;
  const std::int64_t begin = row_offset[i], end = row_offset[i + 1];
  bool good = 0 <= begin && begin <= end && end <= entries;
  good = good && (i > 0 || begin == 0) && (i + 1 < rows || end == entries);
  if (good)
    for (std::int64_t e = begin + warp_lane(); e < end; e += k_warp)
      good = good && col[e] >= 0 && col[e] < cols && (e == begin || col[e - 1] < col[e]);
  good = __all_sync(k_all_lanes, good);
  if (warp_lane() == 0) atomicMax(longest, good ? static_cast<unsigned long long>(end - begin) : k_no_rows);
}

// --- values of rows -------------------------------------------------------------------------------------

template <class T>
__global__ void normalize_rows_kernel(std::int64_t rows, const std::int64_t* row_offset, T* value) {
  const std::int64_t i = warp_row();
  if (i >= rows) return;
  double sum = 0;
  for (std::int64_t e = row_offset[i] + warp_lane(); e < row_offset[i + 1]; e += k_warp)
    sum += static_cast<double>(value[e]);
  sum = warp_sum(sum);
  if (sum == 0) return;
  for (std::int64_t e = row_offset[i] + warp_lane(); e < row_offset[i + 1]; e += k_warp)
    value[e] = static_cast<T>(static_cast<double>(value[e]) / sum);
}

template <class T>
__global__ void off_diagonal_kernel(std::int64_t rows, const std::int64_t* row_offset,
                                    const std::int32_t* col, T* mask) {
  const std::int64_t i = warp_row();
  if (i >= rows) return;
  const std::int64_t begin = row_offset[i];
  for (std::int64_t e = begin + warp_lane(); e < row_offset[i + 1]; e += k_warp)
    mask[e] = static_cast<T>((col == nullptr ? e - begin : col[e]) != i);
}

// --- products -------------------------------------------------------------------------------------------

// A single column is a dot product, summed in double as on the CPU.
template <int columns, class T>
__global__ void product_kernel(SparseRows<T> m, MatView<const T> x, MatView<T> y) {
  using Sum = std::conditional_t<columns == 1, double, T>;
  constexpr int shares = k_warp / columns;
  const int lane = warp_lane();
  const std::int64_t i = warp_row();
  if (i >= m.rows) return;
  const std::int64_t begin = m.begin[i] + lane / columns, end = m.end[i];
  for (std::int64_t first = 0; first < x.cols; first += columns) {
    const std::int64_t c = first + lane % columns;
    Sum sum = 0;
    if (c < x.cols)
      for (std::int64_t e = begin; e < end; e += shares)
        sum = fma(static_cast<Sum>(m.value[e]), static_cast<Sum>(x(m.col[e], c)), sum);
    for (int offset = columns; offset < k_warp; offset *= 2) sum += __shfl_xor_sync(k_all_lanes, sum, offset);
    if (lane < columns && c < x.cols) y(i, c) = static_cast<T>(sum);
  }
}

}  // namespace

std::int64_t longest_row(const Exec& exec, std::int64_t cols, std::span<const std::int64_t> row_offset,
                         std::span<const std::int32_t> col) {
  const std::int64_t rows = std::ssize(row_offset) - 1;
  if (rows == 0) return col.empty() ? 0 : -1;
  unsigned long long longest = 0;
  const ScratchArray<unsigned long long> on_device(exec, 1);
  copy_to_device(exec, on_device.data(), &longest, sizeof(longest));
  launch(exec, longest_row_kernel, warp_blocks(rows), k_small_threads, 0, rows, cols, row_offset.data(),
         col.data(), std::ssize(col), on_device.data());
  copy_to_host(exec, &longest, on_device.data(), sizeof(longest));
  return longest == k_no_rows ? -1 : static_cast<std::int64_t>(longest);
}

template <class T>
void normalize_rows(const Exec& exec, std::span<const std::int64_t> row_offset, std::span<T> value) {
  const std::int64_t rows = std::ssize(row_offset) - 1;
  launch(exec, normalize_rows_kernel<T>, warp_blocks(rows), k_small_threads, 0, rows, row_offset.data(),
         value.data());
}

template <class T>
void off_diagonal(const Exec& exec, std::span<const std::int64_t> row_offset,
                  std::span<const std::int32_t> col, std::span<T> mask) {
  const std::int64_t rows = std::ssize(row_offset) - 1;
  launch(exec, off_diagonal_kernel<T>, warp_blocks(rows), k_small_threads, 0, rows, row_offset.data(),
         col.empty() ? nullptr : col.data(), mask.data());
}

template <class T>
void sparse_times_dense(const Exec& exec, const SparseRows<T>& m, MatView<const T> x, MatView<T> y) {
  const auto run = [&](auto kernel) {
    launch(exec, kernel, warp_blocks(m.rows), k_small_threads, 0, m, x, y);
  };
  if (x.cols <= 1) return run(product_kernel<1, T>);
  if (x.cols <= 2) return run(product_kernel<2, T>);
  if (x.cols <= 4) return run(product_kernel<4, T>);
  if (x.cols <= 8) return run(product_kernel<8, T>);
  if (x.cols <= 16) return run(product_kernel<16, T>);
  run(product_kernel<32, T>);
}

#define FLATLAND_INSTANTIATE(T)                                                                         \
  template void normalize_rows(const Exec&, std::span<const std::int64_t>, std::span<T>);               \
  template void off_diagonal(const Exec&, std::span<const std::int64_t>, std::span<const std::int32_t>, \
                             std::span<T>);                                                             \
  template void sparse_times_dense(const Exec&, const SparseRows<T>&, MatView<const T>, MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
