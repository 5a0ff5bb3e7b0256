#include <flatland/kernels/dropout_cuda.h>
#include <flatland/kernels/dropout_formulas.h>
#include <flatland/kernels/random.h>
#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

namespace {

// The last block to be done moves the state on: all have read it by then.
template <class T>
__global__ void dropout_kernel(Dropout<T> rule, DropoutState* state, std::int64_t n, const T* x, T* mask,
                               T* y) {
  const RandomStream random{state->seed, state->stream};
  const std::uint64_t first = state->next;
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) {
    const T m = rule.mask(static_cast<T>(random.uniform(first + static_cast<std::uint64_t>(i))));
    mask[i] = m;
    y[i] = x[i] * m;
  }
  __syncthreads();
  if (threadIdx.x != 0 || atomicAdd(&state->arrived, 1ull) + 1 != gridDim.x) return;
  state->arrived = 0;
  state->next = first + static_cast<std::uint64_t>(n);
}

}  // namespace

template <class T>
void dropout(const Exec& exec, double p, DropoutState* state, std::span<const T> x, std::span<T> mask,
             std::span<T> y) {
  const std::int64_t n = std::ssize(y);
  launch(exec, dropout_kernel<T>, blocks_for(n, k_threads), k_threads, 0, Dropout<T>(p), state, n, x.data(),
         mask.data(), y.data());
}

template void dropout(const Exec&, double, DropoutState*, std::span<const float>, std::span<float>,
                      std::span<float>);
template void dropout(const Exec&, double, DropoutState*, std::span<const double>, std::span<double>,
                      std::span<double>);

}  // namespace flatland::kernels::cuda
