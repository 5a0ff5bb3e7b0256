// What every .cu file starts from (private): checked launches, sums within warps and blocks.
#pragma once

#include <cuda_runtime.h>
#include <flatland/kernels/exec.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

// Shared memory of a block; dynamic shared memory of as many bytes as the launch says, once a kernel. Both
// are indexed, never taken the address of: a checking implementation stands behind them where kernels are
// tested without a GPU.
#ifndef FLATLAND_SHARED
#define FLATLAND_SHARED(T, name, count) __shared__ T name[count]
#define FLATLAND_DYNAMIC_SHARED(T, name)                      \
  extern __shared__ double2 flatland_dynamic_shared_memory[]; \
  T* const name = reinterpret_cast<T*>(flatland_dynamic_shared_memory)
#endif

struct cublasContext;

namespace flatland::kernels {

struct CudaContext {
  cudaStream_t stream = nullptr;
  cublasContext* blas = nullptr;

  CudaContext();
  ~CudaContext();
  // Queues on another stream from now on.
  void use(cudaStream_t other);
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;
};

namespace cuda {

inline constexpr int k_warp = 32;
inline constexpr unsigned k_all_lanes = 0xffffffffu;
inline constexpr int k_threads = 256;  // of a block, and its warps
inline constexpr int k_warps = k_threads / k_warp;
inline constexpr int k_small_threads = 128;  // of a block whose rows are of unlike lengths

// Error with `what` and the runtime's own words.
void check(cudaError_t status, std::string_view what);

// Queues kernel(args...); an empty grid is no work.
template <class... Parameters, class... Args>
void launch(const Exec& exec, void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            const Args&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = exec.cuda().stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(args)...), "kernel launch");
}

// Blocks for n independent values in a grid-stride loop.
inline unsigned blocks_for(std::int64_t n, int threads) {
  return static_cast<unsigned>(std::min<std::int64_t>(ceil_div(n, threads), 4096));
}
// The first value and the stride of such a loop.
__device__ inline std::int64_t thread_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t thread_count() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

__device__ inline int warp_lane() {
  return static_cast<int>(threadIdx.x) % k_warp;
}
// Where a warp takes a row, in blocks of k_small_threads: the blocks for all rows, and its row.
inline unsigned warp_blocks(std::int64_t rows) {
  return static_cast<unsigned>(ceil_div(rows, k_small_threads / k_warp));
}
__device__ inline std::int64_t warp_row() {
  return thread_index() / k_warp;
}

// Values that one load or store moves, where pointers are aligned to it.
template <class T, int width>
struct alignas(sizeof(T) * width) Pack {
  T value[width];
};
template <class T>
inline constexpr int k_pack_width = 16 / static_cast<int>(sizeof(T));  // the widest
inline bool aligned_for_packs(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
}

// add(x, y) over the 32 lanes, in every lane; the order of additions is fixed.
template <class T, class Add>
__device__ T warp_reduce(T x, Add add) {
  for (int offset = k_warp / 2; offset > 0; offset /= 2) x = add(x, __shfl_xor_sync(k_all_lanes, x, offset));
  return x;
}
template <class T>
__device__ T warp_sum(T x) {
  return warp_reduce(x, [](T a, T b) { return a + b; });
}

// The same over a block of `threads` threads (a multiple of 32, at most 1,024), in every thread. All threads
// call it.
template <int threads, class T, class Add>
__device__ T block_reduce(T x, T identity, Add add) {
  constexpr int warps = threads / k_warp;
  FLATLAND_SHARED(T, partial, warps);
  x = warp_reduce(x, add);
  if constexpr (warps > 1) {
    const int lane = static_cast<int>(threadIdx.x) % k_warp;
    if (lane == 0) partial[static_cast<int>(threadIdx.x) / k_warp] = x;
    __syncthreads();
    x = warp_reduce(lane < warps ? T(partial[lane]) : identity, add);
    __syncthreads();  // partial may be written again
  }
  return x;
}
template <int threads, class T>
__device__ T block_sum(T x) {
  return block_reduce<threads>(x, T(0), [](T a, T b) { return a + b; });
}

}  // namespace cuda
}  // namespace flatland::kernels
