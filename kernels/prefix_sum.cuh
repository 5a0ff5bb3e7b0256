// Sums over the threads before (private).
#pragma once

#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

// x of the threads before this one, added; integers. All threads of a block of `threads` call it.
template <int threads, class T>
__device__ T exclusive_sum(T x) {
  FLATLAND_SHARED(T, warp_total, threads / k_warp);
  const int lane = static_cast<int>(threadIdx.x) % k_warp, warp = static_cast<int>(threadIdx.x) / k_warp;
  T sum = x;
  for (int offset = 1; offset < k_warp; offset *= 2) {
    const T before = __shfl_up_sync(k_all_lanes, sum, offset);
    if (lane >= offset) sum += before;
  }
  if (lane == k_warp - 1) warp_total[warp] = sum;
  __syncthreads();
  for (int w = 0; w < warp; ++w) sum += warp_total[w];
  __syncthreads();  // warp_total may be written again
  return sum - x;
}

}  // namespace flatland::kernels::cuda
