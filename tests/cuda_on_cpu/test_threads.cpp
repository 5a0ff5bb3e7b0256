// Barriers, shuffles, votes, launches.
#include "launch.h"

#include <doctest/doctest.h>

#include <numeric>

namespace flatland::test {

namespace {

// One block a segment: shared memory, barriers, then a warp's shuffles.
template <class T>
__global__ void sum_kernel(const T* __restrict__ x, int n, T* sums) {
  FLATLAND_DYNAMIC_SHARED(T, part);
  T sum = 0;
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < n;
       i += static_cast<int>(gridDim.x * blockDim.x))
    sum += x[i];
  part[threadIdx.x] = sum;
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half >= warpSize; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x >= warpSize) return;
  T value = part[threadIdx.x];
  for (int lanes = warpSize / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  if (threadIdx.x == 0) sums[blockIdx.x] = value;
}

}  // namespace

TEST_CASE_TEMPLATE("a reduction through shared memory, barriers and shuffles", T, float, double, int) {
  for (const int n : {1, 2, 31, 32, 33, 100, 255, 256, 257, 1000, 1023, 1024, 1025, 4097, 10000}) {
    for (const unsigned block : {32u, 64u, 256u, 1024u}) {
      for (const unsigned grid : {1u, 3u}) {
        CAPTURE(n);
        CAPTURE(block);
        CAPTURE(grid);
        std::vector<T> values(static_cast<std::size_t>(n));
        std::iota(values.begin(), values.end(), T{1});
        const DeviceVector<T> x(values), sums(grid);
        launch(sum_kernel<T>, grid, block, block * sizeof(T), x.data(), n, sums.data());
        const std::vector<T> host = sums.host();
        CHECK(std::accumulate(host.begin(), host.end(), T{0}) ==
              static_cast<T>(static_cast<double>(n) * (n + 1) / 2));
      }
    }
  }
}

}  // namespace flatland::test
