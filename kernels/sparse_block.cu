// Two launches: scan_kernel finds the entries of every row of the block and orders them, finish_kernel
// divides them by their sum and takes the items off the position map.
#include <flatland/kernels/sparse_block_cuda.h>
#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

namespace {

// Items of the block, and where they stand in it: position[index[i]] = i, -1 for all others.
struct Items {
  const std::int64_t* index;
  std::int64_t size;
  std::int32_t* position;
  std::int64_t count;  // of the matrix

  __device__ bool there(std::int64_t i) const { return index[i] >= 0 && index[i] < count; }
  __device__ void mark(std::int64_t first, std::int64_t step) const {
    for (std::int64_t i = first; i < size; i += step)
      if (there(i)) position[index[i]] = static_cast<std::int32_t>(i);
  }
  __device__ void unmark(std::int64_t first, std::int64_t step) const {
    for (std::int64_t i = first; i < size; i += step)
      if (there(i)) position[index[i]] = -1;
  }
  __device__ std::int32_t position_of(std::int64_t col) const {
    return col >= 0 && col < count ? position[col] : -1;
  }
};

__global__ void mark_kernel(Items items) {
  items.mark(thread_index(), thread_count());
}

// A warp's row of the block as a set of its columns, 32 a word, that knows how many stand before each word.
// `words` of bits and `words` of counts from `first` on in shared memory.
template <class Shared>
class WarpColumns {
 public:
  __device__ WarpColumns(const Shared& memory, int first, int words, int lane)
      : memory_(memory), bits_(first), counts_(first + words), words_(words), lane_(lane) {}

  __device__ void clear() const {
    for (int w = lane_; w < words_; w += k_warp) memory_[bits_ + w] = 0;
    __syncwarp();
  }
  __device__ void insert(std::int32_t col) const { atomicOr(&memory_[bits_ + col / 32], 1u << (col % 32)); }
  // To be called when all are inserted; returns how many there are.
  __device__ unsigned count() const {
    __syncwarp();
    unsigned before = 0;
    for (int first = 0; first < words_; first += k_warp) {
      const int w = first + lane_;
      const unsigned own = w < words_ ? __popc(static_cast<unsigned>(memory_[bits_ + w])) : 0;
      unsigned sum = own;
      for (int offset = 1; offset < k_warp; offset *= 2) {
        const unsigned left = __shfl_up_sync(k_all_lanes, sum, offset);
        if (lane_ >= offset) sum += left;
      }
      if (w < words_) memory_[counts_ + w] = before + sum - own;
      before += __shfl_sync(k_all_lanes, sum, k_warp - 1);
    }
    __syncwarp();
    return before;
  }
  __device__ unsigned rank(std::int32_t col) const {
    const unsigned below = static_cast<unsigned>(memory_[bits_ + col / 32]) & ((1u << (col % 32)) - 1);
    return static_cast<unsigned>(memory_[counts_ + col / 32]) + __popc(below);
  }

 private:
  Shared memory_;
  int bits_, counts_, words_, lane_;
};

// Where the block goes: rows of `capacity` entries, or a dense matrix.
template <class T>
struct SparseOut {
  std::int64_t capacity;
  std::int64_t *begin, *end;
  std::int32_t* col;
  T* value;
};

// Calls take(position, value) for each entry of item `item`'s row that is in the block; a warp a row.
template <class T, class Take>
__device__ void for_entries(const SparseRows<T>& m, const Items& items, std::int64_t item, int lane,
                            const Take& take) {
  for (std::int64_t e = m.begin[item] + lane; e < m.end[item]; e += k_warp) {
    const std::int32_t at = items.position_of(m.col[e]);
    if (at >= 0) take(at, m.value[e]);
  }
}

// row_sum[i] = the sum of row i of the block. Every block of threads marks all items when `marks`: all write
// the same.
template <class T>
__global__ void sparse_scan_kernel(SparseRows<T> m, Items items, bool marks, SparseOut<T> out,
                                   double* row_sum) {
  FLATLAND_DYNAMIC_SHARED(unsigned, memory);
  if (marks) items.mark(threadIdx.x, blockDim.x);
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % k_warp, warp = static_cast<int>(threadIdx.x) / k_warp;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / k_warp) + warp;
  if (i >= items.size) return;
  const int words = static_cast<int>((items.size + 31) / 32);
  const WarpColumns columns(memory, warp * 2 * words, words, lane);
  columns.clear();
  const bool there = items.there(i);
  double sum = 0;
  if (there)
    for_entries(m, items, items.index[i], lane, [&](std::int32_t at, T value) {
      columns.insert(at);
      sum += static_cast<double>(value);
    });
  const std::int64_t found = columns.count();
  const std::int64_t first = i * out.capacity;
  if (there)
    for_entries(m, items, items.index[i], lane, [&](std::int32_t at, T value) {
      const std::int64_t rank = columns.rank(at);
      if (rank >= out.capacity) return;
      out.col[first + rank] = at;
      out.value[first + rank] = value;
    });
  sum = warp_sum(sum);
  if (lane != 0) return;
  out.begin[i] = first;
  out.end[i] = first + (found < out.capacity ? found : out.capacity);
  row_sum[i] = sum;
}

template <class T>
__global__ void dense_scan_kernel(SparseRows<T> m, Items items, bool marks, MatView<T> out, double* row_sum) {
  if (marks) items.mark(threadIdx.x, blockDim.x);
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % k_warp, warp = static_cast<int>(threadIdx.x) / k_warp;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / k_warp) + warp;
  if (i >= items.size) return;
  for (std::int64_t j = lane; j < items.size; j += k_warp) out(i, j) = 0;
  __syncwarp();
  double sum = 0;
  if (items.there(i))
    for_entries(m, items, items.index[i], lane, [&](std::int32_t at, T value) {
      out(i, at) = value;
      sum += static_cast<double>(value);
    });
  sum = warp_sum(sum);
  if (lane == 0) row_sum[i] = sum;
}

// The sum of the block, in every thread; written once, by the way.
template <class T>
__device__ T block_total(const Items& items, const double* row_sum, T* sum) {
  double total = 0;
  for (std::int64_t i = threadIdx.x; i < items.size; i += k_small_threads) total += row_sum[i];
  const T result = static_cast<T>(block_sum<k_small_threads>(total));
  if (sum != nullptr && blockIdx.x == 0 && threadIdx.x == 0) *sum = result;
  return result;
}

template <class T>
__global__ void sparse_finish_kernel(Items items, bool normalize, SparseOut<T> out, const double* row_sum,
                                     T* sum) {
  const T total = block_total(items, row_sum, sum);
  items.unmark(thread_index(), thread_count());
  if (!normalize || total == 0) return;
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  for (std::int64_t i = thread_index() / k_warp; i < items.size; i += thread_count() / k_warp)
    for (std::int64_t e = out.begin[i] + lane; e < out.end[i]; e += k_warp) out.value[e] /= total;
}

template <class T>
__global__ void dense_finish_kernel(Items items, bool normalize, MatView<T> out, const double* row_sum,
                                    T* sum) {
  const T total = block_total(items, row_sum, sum);
  items.unmark(thread_index(), thread_count());
  if (!normalize || total == 0) return;
  for (std::int64_t at = thread_index(); at < items.size * items.size; at += thread_count())
    out(at / items.size, at % items.size) /= total;
}

// Up to this many items every block marks them all; more have a launch of their own.
constexpr std::int64_t k_marked_by_all = 1024;

bool mark_items(const Exec& exec, const Items& items) {
  if (items.size <= k_marked_by_all) return false;
  launch(exec, mark_kernel, blocks_for(items.size, k_small_threads), k_small_threads, 0, items);
  return true;
}

// At least one block, which writes the sum; each adds all row sums.
unsigned finish_blocks(std::int64_t values) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(values, k_small_threads), 1, 512));
}

}  // namespace

template <class T>
void dense_block(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
                 std::span<std::int32_t> position, bool normalize, MatView<T> block, T* sum) {
  const Items items{index.data(), std::ssize(index), position.data(), m.rows};
  const ScratchArray<double> row_sum(exec, items.size);
  const bool marked = mark_items(exec, items);
  launch(exec, dense_scan_kernel<T>, static_cast<unsigned>(ceil_div(items.size, k_small_threads / k_warp)),
         k_small_threads, 0, m, items, !marked, block, row_sum.data());
  launch(exec, dense_finish_kernel<T>, finish_blocks(items.size * items.size / 4), k_small_threads, 0, items,
         normalize, block, row_sum.data(), sum);
}

template <class T>
void sparse_block(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
                  std::span<std::int32_t> position, bool normalize, std::int64_t capacity,
                  std::span<std::int64_t> begin, std::span<std::int64_t> end, std::span<std::int32_t> col,
                  std::span<T> value, T* sum) {
  // A warp's set of columns: two words for 32 items, in at most 48 KiB.
  constexpr std::int64_t k_most_items = 32 * 48 * 1024 / 8;
  const Items items{index.data(), std::ssize(index), position.data(), m.rows};
  FLATLAND_CHECK(items.size <= k_most_items, "sparse_block: ", items.size, " items, but on a GPU at most ",
                 k_most_items);
  const std::int64_t warps = items.size <= k_most_items / 4 ? 4 : 1;
  const auto bytes = static_cast<std::size_t>(warps * ceil_div(items.size, 32) * 8);
  const SparseOut<T> out{capacity, begin.data(), end.data(), col.data(), value.data()};
  const ScratchArray<double> row_sum(exec, items.size);
  const bool marked = mark_items(exec, items);
  launch(exec, sparse_scan_kernel<T>, static_cast<unsigned>(ceil_div(items.size, warps)),
         static_cast<unsigned>(warps * k_warp), bytes, m, items, !marked, out, row_sum.data());
  launch(exec, sparse_finish_kernel<T>, finish_blocks(items.size * k_warp), k_small_threads, 0, items,
         normalize, out, row_sum.data(), sum);
}

#define FLATLAND_INSTANTIATE(T)                                                                    \
  template void dense_block(const Exec&, const SparseRows<T>&, std::span<const std::int64_t>,      \
                            std::span<std::int32_t>, bool, MatView<T>, T*);                        \
  template void sparse_block(const Exec&, const SparseRows<T>&, std::span<const std::int64_t>,     \
                             std::span<std::int32_t>, bool, std::int64_t, std::span<std::int64_t>, \
                             std::span<std::int64_t>, std::span<std::int32_t>, std::span<T>, T*)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
