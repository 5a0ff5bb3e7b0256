#include <flatland/kernels/divergence_cuda.h>
#include <flatland/kernels/divergence_formulas.h>
#include <flatland/kernels/sum_parts.cuh>

namespace flatland::kernels::cuda {

namespace {

// Blocks take rows in turn.
template <class T>
__global__ void kl_kernel(MatView<const T> p, MatView<const T> q, T eps, SumOut<T, 1> out) {
  double sum = 0;
  for (std::int64_t i = blockIdx.x; i < p.rows; i += gridDim.x)
    for (std::int64_t j = threadIdx.x; j < p.cols; j += blockDim.x)
      if (i != j) sum += static_cast<double>(kl_term(p(i, j), kl_inverse(q(i, j), eps), eps));
  out.put(0, sum);
}

// dq and dp may lack data.
template <class T>
__global__ void kl_backward_kernel(MatView<const T> p, MatView<const T> q, T eps, const T* upstream,
                                   MatView<T> dq, MatView<T> dp) {
  const T scale = mean_share(*upstream, p.rows);
  for (std::int64_t i = blockIdx.x; i < p.rows; i += gridDim.x)
    for (std::int64_t j = threadIdx.x; j < p.cols; j += blockDim.x) {
      const T pij = p(i, j), inverse = kl_inverse(q(i, j), eps);
      if (dq.data) dq(i, j) = i == j ? T(0) : scale * kl_term_dq(pij, inverse);
      if (dp.data) dp(i, j) = i == j ? T(0) : scale * kl_term_dp(pij, inverse, eps);
    }
}

template <class T>
__global__ void fuzzy_kernel(const T* p, const T* q, std::int64_t n, T eps, SumOut<T, 1> out) {
  double sum = 0;
  for (std::int64_t i = thread_index(); i < n; i += thread_count())
    sum += static_cast<double>(fuzzy_term(p[i], q[i], eps));
  out.put(0, sum);
}

template <class T>
__global__ void fuzzy_backward_kernel(const T* p, const T* q, std::int64_t n, T eps, const T* upstream,
                                      T* dq) {
  const T scale = mean_share(*upstream, n);
  for (std::int64_t i = thread_index(); i < n; i += thread_count())
    dq[i] = scale * fuzzy_term_dq(p[i], q[i], eps);
}

double divisor(std::int64_t n) {
  return static_cast<double>(std::max<std::int64_t>(1, n));
}

}  // namespace

template <class T>
void kl_divergence(const Exec& exec, double eps, MatView<const T> p, MatView<const T> q, T* value) {
  sums<1, T>(exec, p.rows * p.rows, {{value}, nullptr, divisor(p.rows)},
             [&](unsigned blocks, const SumOut<T, 1>& out) {
               launch(exec, kl_kernel<T>, blocks, k_sum_threads, 0, p, q, static_cast<T>(eps), out);
             });
}

template <class T>
void kl_divergence_backward(const Exec& exec, double eps, const T* upstream, MatView<const T> p,
                            MatView<const T> q, MatView<T> dq, MatView<T> dp) {
  launch(exec, kl_backward_kernel<T>, static_cast<unsigned>(std::min<std::int64_t>(p.rows, 4096)), k_threads,
         0, p, q, static_cast<T>(eps), upstream, dq, dp);
}

template <class T>
void fuzzy_cross_entropy(const Exec& exec, double eps, std::span<const T> p, std::span<const T> q, T* value) {
  const std::int64_t n = std::ssize(p);
  sums<1, T>(exec, n, {{value}, nullptr, divisor(n)}, [&](unsigned blocks, const SumOut<T, 1>& out) {
    launch(exec, fuzzy_kernel<T>, blocks, k_sum_threads, 0, p.data(), q.data(), n, static_cast<T>(eps), out);
  });
}

template <class T>
void fuzzy_cross_entropy_backward(const Exec& exec, double eps, const T* upstream, std::span<const T> p,
                                  std::span<const T> q, std::span<T> dq) {
  const std::int64_t n = std::ssize(p);
  launch(exec, fuzzy_backward_kernel<T>, blocks_for(n, k_threads), k_threads, 0, p.data(), q.data(), n,
         static_cast<T>(eps), upstream, dq.data());
}

#define FLATLAND_INSTANTIATE(T)                                                                           \
  template void kl_divergence(const Exec&, double, MatView<const T>, MatView<const T>, T*);               \
  template void kl_divergence_backward(const Exec&, double, const T*, MatView<const T>, MatView<const T>, \
                                       MatView<T>, MatView<T>);                                           \
  template void fuzzy_cross_entropy(const Exec&, double, std::span<const T>, std::span<const T>, T*);     \
  template void fuzzy_cross_entropy_backward(const Exec&, double, const T*, std::span<const T>,           \
                                             std::span<const T>, std::span<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
