// Sums over the threads before (private).
#pragma once

#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

// x of the lanes before this one, added; integers. All lanes of a warp call it.
template <class T>
__device__ T warp_sum_before(T x) {
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  T sum = x;
  for (int offset = 1; offset < k_warp; offset *= 2) {
    const T before = __shfl_up_sync(k_all_lanes, sum, offset);
    if (lane >= offset) sum += before;
  }
  return sum - x;
}

// x of the threads before this one, added; integers. All threads of a block of `threads` call it.
template <int threads, class T>
__device__ T exclusive_sum(T x) {
  FLATLAND_SHARED(T, warp_total, threads / k_warp);
  const int lane = static_cast<int>(threadIdx.x) % k_warp, warp = static_cast<int>(threadIdx.x) / k_warp;
  T sum = warp_sum_before(x);
  if (lane == k_warp - 1) warp_total[warp] = sum + x;
  __syncthreads();
  for (int w = 0; w < warp; ++w) sum += warp_total[w];
  __syncthreads();  // warp_total may be written again
  return sum;
}

}  // namespace flatland::kernels::cuda
