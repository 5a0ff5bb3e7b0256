#include <flatland/kernels/memory.h>
#include <flatland/kernels/knn_steps.cuh>

#include <vector>

namespace flatland::kernels::cuda {

namespace {

constexpr std::int64_t k_mean_rows = 1024;

template <class T>
__global__ void unit_keys_kernel(DistanceForm form, MatView<const T> x, UnitRow* units) {
  for (std::int64_t i = thread_index(); i < x.rows; i += thread_count())
    units[i] = unit_row(form, x.row(i), x.cols);
}

template <class T>
__global__ void mean_kernel(KeyRows<T> rows, double* mean) {
  const std::int64_t n = rows.x.rows < k_mean_rows ? rows.x.rows : k_mean_rows;
  const double share = 1 / static_cast<double>(n);  // before the sum, which might overflow
  for (std::int64_t k = thread_index(); k < rows.columns(); k += thread_count()) {
    double sum = 0;
#pragma unroll 8
    for (std::int64_t s = 0; s < n; ++s) sum += rows.column(s * rows.x.rows / n, k) * share;
    mean[k] = sum;
  }
}

template <class T>
__global__ void largest_kernel(KeyRows<T> rows, const double* shift, double* largest) {
  const std::int64_t cols = rows.columns();
  double most = 0;
  for (std::int64_t at = thread_index(); at < rows.x.rows * cols; at += thread_count()) {
    const std::int64_t i = at / cols, k = at - i * cols;
    const double d = abs(rows.column(i, k) - shift[k]);
    most = d <= most ? most : d < __builtin_inf() ? d : __builtin_inf();
  }
  most = block_reduce<k_knn_threads>(most, 0., [](double a, double b) { return max(a, b); });
  if (threadIdx.x == 0) largest[blockIdx.x] = most;
}

// Rounded to the nearest value of 11 significant bits.
__device__ float rounded_for_tensor_cores(float z) {
  return from_bits<float>((to_bits(z) + 0x1000) & ~0x1fff);
}

// A warp a row.
template <class T>
__global__ void tile_rows_kernel(KeyRows<T> rows, RowList list, const double* shift, double factor,
                                 double keep, bool for_tensor_cores, MatView<float> z, float* norm) {
  const std::int64_t r = thread_index() / k_warp;
  if (r >= list.count) return;
  const std::int64_t i = list[r], cols = rows.columns();
  double sum = 0;
  for (std::int64_t k = threadIdx.x % k_warp; k < z.cols; k += k_warp) {
    float value = k < cols ? static_cast<float>((rows.column(i, k) - shift[k]) * factor) : 0.f;
    if (for_tensor_cores) value = rounded_for_tensor_cores(value);
    z(r, k) = value;
    sum += static_cast<double>(value) * static_cast<double>(value);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % k_warp == 0) norm[r] = static_cast<float>(keep * sum);
}

}  // namespace

template <class T>
void make_unit_rows(const Exec& exec, const DistanceForm& form, MatView<const T> x, UnitRow* units) {
  launch(exec, unit_keys_kernel<T>, blocks_for(x.rows, 64), 64, 0, form, x, units);
}

template <class T>
void mean_of_rows(const Exec& exec, const KeyRows<T>& rows, double* shift) {
  launch(exec, mean_kernel<T>, blocks_for(rows.columns(), 64), 64, 0, rows, shift);
}

template <class T>
double largest_difference(const Exec& exec, const KeyRows<T>& rows, const double* shift) {
  const auto blocks = std::min(blocks_for(rows.x.rows * rows.columns(), 8 * k_knn_threads), 1024u);
  const ScratchArray<double> largest(exec, blocks);
  launch(exec, largest_kernel<T>, blocks, k_knn_threads, 0, rows, shift, largest.data());
  std::vector<double> of_blocks(blocks);
  copy_to_host(exec, of_blocks.data(), largest.data(), blocks * sizeof(double));
  return of_blocks.empty() ? 0 : *std::max_element(of_blocks.begin(), of_blocks.end());
}

template <class T>
void make_tile_rows(const Exec& exec, const KeyRows<T>& rows, const RowList& list, const TileScale& scale,
                    bool for_tensor_cores, MatView<float> z, float* norm) {
  const auto blocks = static_cast<unsigned>(ceil_div(list.count, k_knn_threads / k_warp));
  launch(exec, tile_rows_kernel<T>, blocks, k_knn_threads, 0, rows, list, scale.shift.data(), scale.factor,
         1 - scale.bound, for_tensor_cores, z, norm);
}

#define FLATLAND_INSTANTIATE(T)                                                                           \
  template void make_unit_rows<T>(const Exec&, const DistanceForm&, MatView<const T>, UnitRow*);          \
  template void mean_of_rows<T>(const Exec&, const KeyRows<T>&, double*);                                 \
  template double largest_difference<T>(const Exec&, const KeyRows<T>&, const double*);                   \
  template void make_tile_rows<T>(const Exec&, const KeyRows<T>&, const RowList&, const TileScale&, bool, \
                                  MatView<float>, float*)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
