#include <flatland/kernels/similarity_cuda.h>
#include <flatland/kernels/similarity_formulas.h>
#include <flatland/kernels/sum_parts.cuh>

namespace flatland::kernels::cuda {

namespace {

template <class T, class F>
__device__ void with_kernel(double alpha, const F& f) {
  if (alpha == 1)
    f(StudentT<T, true>(alpha));
  else
    f(StudentT<T, false>(alpha));
}

template <class T>
__global__ void student_t_kernel(Parameter<T> alpha, const T* dist, T* q, std::int64_t n) {
  with_kernel<T>(alpha.get(), [&](const auto& kernel) {
    for (std::int64_t i = thread_index(); i < n; i += thread_count()) q[i] = kernel.weight(dist[i] * dist[i]);
  });
}

// d_dist may be null, or g.
template <class T>
__global__ void student_t_backward_kernel(Parameter<T> alpha, const T* dist, const T* q, const T* g,
                                          T* d_dist, std::int64_t n, SumOut<T, 1> d_alpha) {
  double sum = 0;
  with_kernel<T>(alpha.get(), [&](const auto& kernel) {
    for (std::int64_t i = thread_index(); i < n; i += thread_count()) {
      const T d = dist[i], w = q[i], gi = g[i];
      if (d_alpha.wanted(0)) sum += static_cast<double>(gi * kernel.alpha_slope(d * d, w));
      if (d_dist) d_dist[i] = gi * kernel.slope(d * d, w) * (T(2) * d);
    }
  });
  if (d_alpha.wanted(0)) d_alpha.put(0, sum);
}

template <class T>
__global__ void modified_cauchy_kernel(Parameter<T> a, Parameter<T> b, const T* dist, T* q, std::int64_t n) {
  const ModifiedCauchy<T> kernel(a.get(), b.get());
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) q[i] = kernel.value(dist[i]);
}

template <class T>
__global__ void modified_cauchy_backward_kernel(Parameter<T> a, Parameter<T> b, const T* dist, const T* q,
                                                const T* g, T* d_dist, std::int64_t n, SumOut<T, 2> d_shape) {
  const ModifiedCauchy<T> kernel(a.get(), b.get());
  double da = 0, db = 0;
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) {
    const T gi = g[i];
    const auto slopes = kernel.slopes(dist[i], q[i]);
    da += static_cast<double>(gi * slopes.a);
    db += static_cast<double>(gi * slopes.b);
    if (d_dist) d_dist[i] = gi * slopes.dist;
  }
  if (d_shape.wanted(0)) d_shape.put(0, da);
  if (d_shape.wanted(1)) d_shape.put(1, db);
}

}  // namespace

template <class T>
void student_t(const Exec& exec, Parameter<T> alpha, std::span<const T> dist, std::span<T> q) {
  const std::int64_t n = std::ssize(dist);
  launch(exec, student_t_kernel<T>, blocks_for(n, k_threads), k_threads, 0, alpha, dist.data(), q.data(), n);
}

template <class T>
void student_t_backward(const Exec& exec, Parameter<T> alpha, std::span<const T> dist, std::span<const T> q,
                        std::span<const T> g, std::span<T> d_dist, T* d_alpha) {
  const std::int64_t n = std::ssize(dist);
  const auto run = [&](unsigned blocks, const SumOut<T, 1>& out) {
    launch(exec, student_t_backward_kernel<T>, blocks, k_sum_threads, 0, alpha, dist.data(), q.data(),
           g.data(), d_dist.data(), n, out);
  };
  if (d_alpha == nullptr) return run(blocks_for(n, k_sum_threads), {{nullptr}, nullptr, 1});
  sums<1, T>(exec, n, {{d_alpha}, nullptr, 1}, run);
}

template <class T>
void modified_cauchy(const Exec& exec, Parameter<T> a, Parameter<T> b, std::span<const T> dist,
                     std::span<T> q) {
  const std::int64_t n = std::ssize(dist);
  launch(exec, modified_cauchy_kernel<T>, blocks_for(n, k_threads), k_threads, 0, a, b, dist.data(), q.data(),
         n);
}

template <class T>
void modified_cauchy_backward(const Exec& exec, Parameter<T> a, Parameter<T> b, std::span<const T> dist,
                              std::span<const T> q, std::span<const T> g, std::span<T> d_dist, T* da, T* db) {
  const std::int64_t n = std::ssize(dist);
  const auto run = [&](unsigned blocks, const SumOut<T, 2>& out) {
    launch(exec, modified_cauchy_backward_kernel<T>, blocks, k_sum_threads, 0, a, b, dist.data(), q.data(),
           g.data(), d_dist.data(), n, out);
  };
  if (da == nullptr && db == nullptr)
    return run(blocks_for(n, k_sum_threads), {{nullptr, nullptr}, nullptr, 1});
  sums<2, T>(exec, n, {{da, db}, nullptr, 1}, run);
}

#define FLATLAND_INSTANTIATE(T)                                                                             \
  template void student_t(const Exec&, Parameter<T>, std::span<const T>, std::span<T>);                     \
  template void student_t_backward(const Exec&, Parameter<T>, std::span<const T>, std::span<const T>,       \
                                   std::span<const T>, std::span<T>, T*);                                   \
  template void modified_cauchy(const Exec&, Parameter<T>, Parameter<T>, std::span<const T>, std::span<T>); \
  template void modified_cauchy_backward(const Exec&, Parameter<T>, Parameter<T>, std::span<const T>,       \
                                         std::span<const T>, std::span<const T>, std::span<T>, T*, T*)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
