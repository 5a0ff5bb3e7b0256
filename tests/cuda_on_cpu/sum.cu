// A .cu file as flatland's are, compiled into the test program by flatland_cuda_as_cpp.
#include "sum.h"

#include <cuda_runtime.h>

namespace flatland::test {

namespace {

template <class T>
__device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
  for (int lanes = warpSize / 2; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

// A sum a block.
template <class T>
__global__ void __launch_bounds__(1024) sum_kernel(const T* __restrict__ x, int n, T* __restrict__ sums) {
  FLATLAND_DYNAMIC_SHARED(T, part);
  const int warp = static_cast<int>(threadIdx.x) / warpSize, lane = static_cast<int>(threadIdx.x) % warpSize;
  const int warps = static_cast<int>(blockDim.x) / warpSize;
  T sum = 0;
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < n;
       i += static_cast<int>(gridDim.x * blockDim.x))
    sum += x[i];
  sum = warp_sum(sum);
  if (lane == 0) part[warp] = sum;
  __syncthreads();
  if (warp > 0) return;
  sum = warp_sum(lane < warps ? T(part[lane]) : T(0));
  if (lane == 0) sums[blockIdx.x] = sum;
}

}  // namespace

template <class T>
int sum_by_blocks(const T* x, int n, T* sums, unsigned blocks, unsigned threads) {
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = threads / warpSize * sizeof(T);
  return cudaLaunchKernelEx(&config, sum_kernel<T>, x, n, sums);
}

template int sum_by_blocks(const float*, int, float*, unsigned, unsigned);
template int sum_by_blocks(const double*, int, double*, unsigned, unsigned);
template int sum_by_blocks(const int*, int, int*, unsigned, unsigned);

}  // namespace flatland::test
