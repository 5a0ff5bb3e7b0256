#include <flatland/kernels/gather_cuda.h>
#include <flatland/kernels/gather_formulas.h>
#include <flatland/kernels/radix_sort_cuda.h>
#include <flatland/kernels/cuda.cuh>

#include <bit>

namespace flatland::kernels::cuda {

namespace {

// --- gather -------------------------------------------------------------------------------------------

template <int width, class T>
__global__ void gather_kernel(MatView<const T> x, const std::int64_t* index, MatView<T> y) {
  using Values = Pack<T, width>;
  const std::int64_t packs = y.cols / width;
  for (std::int64_t at = thread_index(); at < y.rows * packs; at += thread_count()) {
    const std::int64_t i =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(at) / static_cast<std::uint64_t>(packs));
    const std::int64_t j = (at - i * packs) * width, row = index[i];
    const bool known = row >= 0 && row < x.rows;
    *reinterpret_cast<Values*>(&y(i, j)) = known ? *reinterpret_cast<const Values*>(&x(row, j)) : Values{};
  }
}

template <class T>
bool aligned_for_packs(const MatView<T>& m) {
  return cuda::aligned_for_packs(m.data) && m.ld % k_pack_width<T> == 0 && m.cols % k_pack_width<T> == 0;
}

// --- scatter ------------------------------------------------------------------------------------------

constexpr std::int64_t k_few_indices = 8192;  // so many indices are searched, more are sorted
constexpr int k_held = 4;                     // columns that a lane adds up at once

// x[row,:] += the rows of y that a copy of `places` names, in its order, until it names -1; by one warp.
template <class T, class Places>
__device__ void add_rows(MatView<const T> y, MatView<T> x, std::int64_t row, const Places& places) {
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  for (std::int64_t begin = 0; begin < x.cols; begin += k_held * k_warp) {
    T sum[k_held] = {};
    for (int k = 0; k < k_held; ++k)
      if (const std::int64_t j = begin + k * k_warp + lane; j < x.cols) sum[k] = x(row, j);
    Places next = places;
    for (std::int64_t i = next(); i >= 0; i = next()) {
      for (int k = 0; k < k_held; ++k)
        if (const std::int64_t j = begin + k * k_warp + lane; j < x.cols) sum[k] += y(i, j);
    }
    for (int k = 0; k < k_held; ++k)
      if (const std::int64_t j = begin + k * k_warp + lane; j < x.cols) x(row, j) = sum[k];
  }
}

// The places i, i + 1, ... of `value` in index, found 32 at a time by a warp.
struct Search {
  const std::int64_t* index;
  std::int64_t n, value;
  std::int64_t at;     // of the next 32 places to look at
  unsigned found = 0;  // among the 32 before

  __device__ std::int64_t operator()() {
    const int lane = static_cast<int>(threadIdx.x) % k_warp;
    while (found == 0) {
      if (at >= n) return -1;
      found = __ballot_sync(k_all_lanes, at + lane < n && index[at + lane] == value);
      at += k_warp;
    }
    const int first = __ffs(static_cast<int>(found)) - 1;
    found &= found - 1;
    return at - k_warp + first;
  }
};

// The warp of the first place of an index adds all rows of that index.
template <class T>
__global__ void scatter_few_kernel(MatView<const T> y, const std::int64_t* index, MatView<T> x) {
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * k_warps;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * k_warps + threadIdx.x / k_warp; i < y.rows;
       i += step) {
    const std::int64_t row = index[i];
    if (row < 0 || row >= x.rows) continue;
    bool earlier = false;
    for (std::int64_t at = 0; at < i && !earlier; at += k_warp)
      earlier = __any_sync(k_all_lanes, at + lane < i && index[at + lane] == row) != 0;
    if (!earlier) add_rows(y, x, row, Search{index, y.rows, row, i});
  }
}

// Words of an index above its place, so that sorting brings equal indices together in order. An index out of
// range goes to the end.
__global__ void words_kernel(const std::int64_t* index, std::int64_t n, std::int64_t rows,
                             std::uint64_t* words) {
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) {
    const bool known = index[i] >= 0 && index[i] < rows;
    words[i] = static_cast<std::uint64_t>(known ? index[i] : rows) << 32 | static_cast<std::uint64_t>(i);
  }
}

// The places of `value` in sorted words.
struct Run {
  const std::uint64_t* words;
  std::int64_t n, value, at;

  __device__ std::int64_t operator()() {
    if (at >= n || index_of(words[at]) != value) return -1;
    return static_cast<std::int64_t>(words[at++] & 0xffffffffu);
  }
  static __device__ std::int64_t index_of(std::uint64_t word) {
    return static_cast<std::int64_t>(word >> 32);
  }
};

// The warp of the first word of an index adds all rows of that index.
template <class T>
__global__ void scatter_sorted_kernel(MatView<const T> y, const std::uint64_t* words, MatView<T> x) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * k_warps;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * k_warps + threadIdx.x / k_warp; i < y.rows;
       i += step) {
    const std::int64_t row = Run::index_of(words[i]);
    if (row >= x.rows || (i > 0 && Run::index_of(words[i - 1]) == row)) continue;
    add_rows(y, x, row, Run{words, y.rows, row, i});
  }
}

// --- renormalize --------------------------------------------------------------------------------------

// A warp a row of x.
template <class T>
__global__ void renormalize_kernel(double max_norm, const std::int64_t* index, std::int64_t n, MatView<T> x) {
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * k_warps;
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * k_warps + threadIdx.x / k_warp;
       row < x.rows; row += step) {
    bool wanted = false;
    for (std::int64_t at = 0; at < n && !wanted; at += k_warp)
      wanted = __any_sync(k_all_lanes, at + lane < n && index[at + lane] == row) != 0;
    if (!wanted) continue;
    double sum = 0;
    for (std::int64_t j = lane; j < x.cols; j += k_warp)
      sum += static_cast<double>(x(row, j)) * static_cast<double>(x(row, j));
    const double factor = renorm_factor(warp_sum(sum), max_norm);
    if (factor == 1) continue;
    for (std::int64_t j = lane; j < x.cols; j += k_warp)
      x(row, j) = static_cast<T>(static_cast<double>(x(row, j)) * factor);
  }
}

}  // namespace

template <class T>
void gather_rows(const Exec& exec, MatView<const T> x, const std::int64_t* index, MatView<T> y) {
  constexpr int width = k_pack_width<T>;
  const auto kernel =
      aligned_for_packs(x) && aligned_for_packs(y) ? gather_kernel<width, T> : gather_kernel<1, T>;
  launch(exec, kernel, blocks_for(y.rows * y.cols, k_threads), k_threads, 0, x, index, y);
}

template <class T>
void scatter_add_rows(const Exec& exec, MatView<const T> y, const std::int64_t* index, MatView<T> x) {
  const unsigned grid = x.cols > 0 ? blocks_for(y.rows, k_warps) : 0;
  if (y.rows <= k_few_indices) return launch(exec, scatter_few_kernel<T>, grid, k_threads, 0, y, index, x);
  constexpr std::int64_t limit = std::int64_t{1} << 32;
  FLATLAND_CHECK(y.rows < limit && x.rows < limit, "scatter_add_rows: y is ", y, " and x ", x,
                 "; on cuda they may have fewer than 2^32 rows");
  const ScratchArray<std::uint64_t> words(exec, y.rows), other(exec, y.rows);
  launch(exec, words_kernel, blocks_for(y.rows, k_threads), k_threads, 0, index, y.rows, x.rows,
         words.data());
  const std::uint64_t* sorted =
      radix_sort(exec, words.data(), other.data(), y.rows, 32,
                 32 + static_cast<int>(std::bit_width(static_cast<std::uint64_t>(x.rows))));
  launch(exec, scatter_sorted_kernel<T>, grid, k_threads, 0, y, sorted, x);
}

template <class T>
void renormalize_rows(const Exec& exec, double max_norm, std::span<const std::int64_t> index, MatView<T> x) {
  launch(exec, renormalize_kernel<T>, blocks_for(x.rows, k_warps), k_threads, 0, max_norm, index.data(),
         std::ssize(index), x);
}

template void gather_rows(const Exec&, MatView<const float>, const std::int64_t*, MatView<float>);
template void gather_rows(const Exec&, MatView<const double>, const std::int64_t*, MatView<double>);
template void gather_rows(const Exec&, MatView<const std::int32_t>, const std::int64_t*,
                          MatView<std::int32_t>);
template void gather_rows(const Exec&, MatView<const std::int64_t>, const std::int64_t*,
                          MatView<std::int64_t>);
template void scatter_add_rows(const Exec&, MatView<const float>, const std::int64_t*, MatView<float>);
template void scatter_add_rows(const Exec&, MatView<const double>, const std::int64_t*, MatView<double>);
template void renormalize_rows(const Exec&, double, std::span<const std::int64_t>, MatView<float>);
template void renormalize_rows(const Exec&, double, std::span<const std::int64_t>, MatView<double>);

}  // namespace flatland::kernels::cuda
