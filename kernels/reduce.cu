#include <flatland/kernels/reduce_cuda.h>
#include <flatland/kernels/reduce_formulas.h>
#include <flatland/kernels/cuda.cuh>

#include <limits>

namespace flatland::kernels::cuda {

namespace {

// --- of all values ------------------------------------------------------------------------------------

struct Sum {
  using Partial = double;
  static constexpr double identity = 0;
  FLATLAND_HD double operator()(double a, double b) const { return a + b; }
};

template <class T>
struct Max {
  using Partial = T;
  static constexpr T identity = -std::numeric_limits<T>::infinity();
  FLATLAND_HD T operator()(T a, T b) const { return larger(a, b); }
};

// result[block] = add over the block's share of x. The shares depend on the size of x and of the grid alone.
template <class Op, class T, class R>
__global__ void reduce_kernel(MatView<const T> x, R* result) {
  using Partial = typename Op::Partial;
  const Op add;
  Partial total = Op::identity;
  for (std::int64_t i = thread_index(); i < x.rows * x.cols; i += thread_count()) {
    const std::int64_t row = x.rows == 1 ? 0 : i / x.cols;
    total = add(total, static_cast<Partial>(x(row, i - row * x.cols)));
  }
  total = block_reduce<k_threads>(total, Op::identity, add);
  if (threadIdx.x == 0) result[blockIdx.x] = static_cast<R>(total);
}

// One block where that is quick, else blocks of equal shares and a block that adds their results.
template <class Op, class T>
void reduce_all(const Exec& exec, MatView<const T> x, T* value) {
  constexpr std::int64_t share = 16 * k_threads, most_blocks = 1024;
  if (x.contiguous()) x = {x.data, 1, x.rows * x.cols};
  const std::int64_t blocks = std::min(ceil_div(x.rows * x.cols, share), most_blocks);
  if (blocks <= 1) return launch(exec, reduce_kernel<Op, T, T>, 1, k_threads, 0, x, value);
  using Partial = typename Op::Partial;
  const ScratchArray<Partial> partial(exec, blocks);
  launch(exec, reduce_kernel<Op, T, Partial>, static_cast<unsigned>(blocks), k_threads, 0, x, partial.data());
  launch(exec, reduce_kernel<Op, Partial, T>, 1, k_threads, 0,
         MatView<const Partial>(partial.data(), 1, blocks), value);
}

// --- along rows ---------------------------------------------------------------------------------------

// `group` threads (1, 32 or a whole block) work on a row.
template <int group, class T>
__global__ void row_sums_kernel(MatView<const T> x, T* s) {
  constexpr std::int64_t rows = k_threads / group;
  const int lane = static_cast<int>(threadIdx.x) % group;
  for (std::int64_t i = blockIdx.x * rows + threadIdx.x / group; i < x.rows; i += gridDim.x * rows) {
    double total = 0;
    for (std::int64_t j = lane; j < x.cols; j += group) total += static_cast<double>(x(i, j));
    if constexpr (group == k_warp) total = warp_sum(total);
    if constexpr (group == k_threads) total = block_sum<k_threads>(total);
    if (lane == 0) s[i] = static_cast<T>(total);
  }
}

// A warp a row.
template <class T>
__global__ void row_argmax_kernel(MatView<const T> x, std::int64_t* index) {
  constexpr std::int64_t rows = k_threads / k_warp;
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  for (std::int64_t i = blockIdx.x * rows + threadIdx.x / k_warp; i < x.rows; i += gridDim.x * rows) {
    std::int64_t best = lane < x.cols ? lane : x.cols - 1;
    T value = x(i, best);
    for (std::int64_t j = best + k_warp; j < x.cols; j += k_warp) {
      const T other = x(i, j);
      if (!goes_before(other, j, value, best)) continue;
      value = other;
      best = j;
    }
    for (int offset = k_warp / 2; offset > 0; offset /= 2) {
      const T other = __shfl_xor_sync(k_all_lanes, value, offset);
      const std::int64_t j = __shfl_xor_sync(k_all_lanes, best, offset);
      if (!goes_before(other, j, value, best)) continue;
      value = other;
      best = j;
    }
    if (lane == 0) index[i] = best;
  }
}

// --- along columns ------------------------------------------------------------------------------------

constexpr int k_sum_cols = 32, k_row_lanes = 32;
constexpr std::int64_t k_sum_rows = 1024;

// total[tile][j] = sum of the term of column j over the rows of a tile, or that added to `accumulate`. Blocks
// of 32 columns, 32 rows of them at a time.
template <ColumnTerm term, class T, class R>
__global__ void __launch_bounds__(1024)
    column_totals_kernel(MatView<const T> x, const double* center, bool accumulate, R* total) {
  constexpr int stride = k_sum_cols + 1;
  FLATLAND_SHARED(double, partial, k_row_lanes* stride);
  const int col = static_cast<int>(threadIdx.x) % k_sum_cols,
            lane = static_cast<int>(threadIdx.x) / k_sum_cols;
  const std::int64_t across = (x.cols + k_sum_cols - 1) / k_sum_cols, tile = blockIdx.x / across;
  const std::int64_t first_col = blockIdx.x % across * k_sum_cols, j = first_col + col;
  const std::int64_t begin = tile * k_sum_rows, end = std::min(x.rows, begin + k_sum_rows);
  double sum = 0;
  if (j < x.cols) {
    const double c = term == ColumnTerm::value ? 0 : center[j];
    for (std::int64_t i = begin + lane; i < end; i += k_row_lanes)
      sum += column_term<term>(static_cast<double>(x(i, j)), c);
  }
  partial[lane * stride + col] = sum;
  __syncthreads();
  const std::int64_t own = first_col + lane;
  sum = warp_sum<double>(partial[col * stride + lane]);
  if (col != 0 || own >= x.cols) return;
  R& out = total[tile * x.cols + own];
  out = static_cast<R>(accumulate ? static_cast<double>(out) + sum : sum);
}

// s[j] = sum of total[:,j] in order, or that added to s[j].
template <class R>
__global__ void add_tiles_kernel(MatView<const double> total, bool accumulate, R* s) {
  for (std::int64_t j = thread_index(); j < total.cols; j += thread_count()) {
    double sum = 0;
    for (std::int64_t tile = 0; tile < total.rows; ++tile) sum += total(tile, j);
    s[j] = static_cast<R>(accumulate ? static_cast<double>(s[j]) + sum : sum);
  }
}

template <ColumnTerm term, class T, class R>
void column_totals(const Exec& exec, MatView<const T> x, const double* center, bool accumulate, R* s) {
  const std::int64_t tiles = std::max<std::int64_t>(1, ceil_div(x.rows, k_sum_rows));
  const auto blocks = static_cast<unsigned>(tiles * ceil_div(x.cols, k_sum_cols));
  constexpr int threads = k_sum_cols * k_row_lanes;
  if (tiles == 1)
    return launch(exec, column_totals_kernel<term, T, R>, blocks, threads, 0, x, center, accumulate, s);
  const ScratchArray<double> total(exec, checked_mul(tiles, x.cols));
  launch(exec, column_totals_kernel<term, T, double>, blocks, threads, 0, x, center, false, total.data());
  launch(exec, add_tiles_kernel<R>, blocks_for(x.cols, k_threads), k_threads, 0,
         MatView<const double>(total.data(), tiles, x.cols), accumulate, s);
}

template <class T>
__global__ void first_row_kernel(MatView<const T> x, double* center) {
  for (std::int64_t j = thread_index(); j < x.cols; j += thread_count())
    center[j] = static_cast<double>(x(0, j));
}

// center += total / rows, and the mean is that.
template <class T>
__global__ void means_kernel(std::int64_t rows, std::int64_t cols, const double* total, double* center,
                             T* mean) {
  for (std::int64_t j = thread_index(); j < cols; j += thread_count()) {
    center[j] += total[j] / static_cast<double>(rows);
    mean[j] = static_cast<T>(center[j]);
  }
}

template <class T>
__global__ void variances_kernel(std::int64_t divisor, std::int64_t cols, const double* total, T* variance) {
  for (std::int64_t j = thread_index(); j < cols; j += thread_count())
    variance[j] = static_cast<T>(total[j] / static_cast<double>(divisor));
}

// --- NaN and infinity ---------------------------------------------------------------------------------

// Integer atomics: any order gives the same numbers.
struct FoundNonFinite {
  unsigned long long count;
  long long first;
};
template <class T>
__global__ void non_finite_kernel(MatView<const T> x, FoundNonFinite* found) {
  for (std::int64_t i = thread_index(); i < x.rows * x.cols; i += thread_count()) {
    const T v = x(i / x.cols, i % x.cols);
    if (v - v == 0) continue;
    atomicAdd(&found->count, 1ull);
    atomicMin(&found->first, static_cast<long long>(i));
  }
}

}  // namespace

template <class T>
void sum(const Exec& exec, MatView<const T> x, T* value) {
  reduce_all<Sum>(exec, x, value);
}

template <class T>
void max(const Exec& exec, MatView<const T> x, T* value) {
  reduce_all<Max<T>>(exec, x, value);
}

template <class T>
void row_sums(const Exec& exec, MatView<const T> x, std::span<T> s) {
  if (x.rows == 1) return sum(exec, x, s.data());
  const auto run = [&](auto group) {
    launch(exec, row_sums_kernel<group, T>, blocks_for(x.rows, k_threads / group), k_threads, 0, x, s.data());
  };
  if (x.cols <= 8) return run(std::integral_constant<int, 1>{});
  if (x.cols <= 4096) return run(std::integral_constant<int, k_warp>{});
  run(std::integral_constant<int, k_threads>{});
}

template <class T>
void column_sums(const Exec& exec, MatView<const T> x, std::span<T> s, bool accumulate) {
  column_totals<ColumnTerm::value>(exec, x, nullptr, accumulate, s.data());
}

template <class T>
void row_argmax(const Exec& exec, MatView<const T> x, std::span<std::int64_t> index) {
  launch(exec, row_argmax_kernel<T>, blocks_for(x.rows, k_threads / k_warp), k_threads, 0, x, index.data());
}

template <class T>
void column_moments(const Exec& exec, MatView<const T> x, int ddof, std::span<T> mean,
                    std::span<T> variance) {
  const ScratchArray<double> center(exec, x.cols), total(exec, x.cols);
  const unsigned blocks = blocks_for(x.cols, k_threads);
  launch(exec, first_row_kernel<T>, blocks, k_threads, 0, x, center.data());
  column_totals<ColumnTerm::deviation>(exec, x, center.data(), false, total.data());
  launch(exec, means_kernel<T>, blocks, k_threads, 0, x.rows, x.cols, total.data(), center.data(),
         mean.data());
  column_totals<ColumnTerm::squared_deviation>(exec, x, center.data(), false, total.data());
  launch(exec, variances_kernel<T>, blocks, k_threads, 0, x.rows - ddof, x.cols, total.data(),
         variance.data());
}

template <class T>
NonFinite find_non_finite(const Exec& exec, MatView<const T> x) {
  FoundNonFinite found{0, std::numeric_limits<long long>::max()};
  const ScratchArray<FoundNonFinite> on_device(exec, 1);
  copy_to_device(exec, on_device.data(), &found, sizeof(found));
  launch(exec, non_finite_kernel<T>, blocks_for(x.rows * x.cols, k_threads), k_threads, 0, x,
         on_device.data());
  copy_to_host(exec, &found, on_device.data(), sizeof(found));
  if (found.count == 0) return {};
  return {static_cast<std::int64_t>(found.count), found.first / x.cols, found.first % x.cols};
}

#define FLATLAND_INSTANTIATE(T)                                                                 \
  template void sum(const Exec&, MatView<const T>, T*);                                         \
  template void row_sums(const Exec&, MatView<const T>, std::span<T>);                          \
  template void column_sums(const Exec&, MatView<const T>, std::span<T>, bool);                 \
  template void max(const Exec&, MatView<const T>, T*);                                         \
  template void row_argmax(const Exec&, MatView<const T>, std::span<std::int64_t>);             \
  template void column_moments(const Exec&, MatView<const T>, int, std::span<T>, std::span<T>); \
  template NonFinite find_non_finite(const Exec&, MatView<const T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
