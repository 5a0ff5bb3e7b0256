// Sums of many terms that become single numbers (private). One block writes its number itself; several leave
// a part each, which another launch adds. Blocks and shares depend on the number of terms alone.
#pragma once

#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

inline constexpr int k_sum_threads = 256;

// What a kernel of k_sum_threads threads a block gets, for `count` sums of T.
template <class T, int count>
struct SumOut {
  T* value[count];  // null where not wanted
  double* part;     // (count, blocks)
  double divisor;

  __device__ bool wanted(int which) const { return value[which] != nullptr; }
  // The calling thread's share of a sum. All threads of a block call it.
  __device__ void put(int which, double x) const {
    x = block_sum<k_sum_threads>(x);
    if (threadIdx.x != 0 || !wanted(which)) return;
    if (gridDim.x == 1)
      *value[which] = static_cast<T>(x / divisor);
    else
      part[which * gridDim.x + blockIdx.x] = x;
  }
};

// Block `which` writes sum `which`.
template <class T, int count>
__global__ void add_parts_kernel(SumOut<T, count> out, std::int64_t blocks) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < blocks; i += k_sum_threads) sum += out.part[blockIdx.x * blocks + i];
  sum = block_sum<k_sum_threads>(sum);
  if (threadIdx.x == 0 && out.wanted(static_cast<int>(blockIdx.x)))
    *out.value[blockIdx.x] = static_cast<T>(sum / out.divisor);
}

// Calls run(blocks, out), which launches the kernel, and adds the parts. divisor: what the sums are divided
// by before they are written.
template <int count, class T, class Run>
void sums(const Exec& exec, std::int64_t terms, SumOut<T, count> out, const Run& run) {
  constexpr std::int64_t k_share = 16 * k_sum_threads, k_most_blocks = 1024;
  const std::int64_t blocks = std::clamp<std::int64_t>(ceil_div(terms, k_share), 1, k_most_blocks);
  const ScratchArray<double> part(exec, count * blocks);
  out.part = part.data();
  run(static_cast<unsigned>(blocks), out);
  if (blocks > 1) launch(exec, add_parts_kernel<T, count>, count, k_sum_threads, 0, out, blocks);
}

}  // namespace flatland::kernels::cuda
