#include <flatland/kernels/loss_cuda.h>
#include <flatland/kernels/loss_formulas.h>
#include <flatland/kernels/sum_parts.cuh>

namespace flatland::kernels::cuda {

namespace {

// dx may be null, and so on below.
template <class Loss, class T>
__global__ void point_loss_kernel(Loss point, std::int64_t n, T share, const T* x, const T* target, T* loss,
                                  T* dx, SumOut<T, 1> out) {
  double sum = 0;
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) {
    const T xi = x[i], ti = target[i];
    const T value = point.value(xi, ti);
    sum += static_cast<double>(value);
    if (loss != nullptr) loss[i] = value;
    if (dx != nullptr) dx[i] = share * point.derivative(xi, ti);
  }
  out.put(0, sum);
}

template <class T>
__global__ void gaussian_loss_kernel(std::int64_t n, T eps, T constant, T share, const T* mean,
                                     const T* variance, const T* target, T* loss, T* d_mean, T* d_variance,
                                     SumOut<T, 1> out) {
  double sum = 0;
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) {
    const GaussianLoss<T> one(mean[i], variance[i], target[i], eps, constant);
    sum += static_cast<double>(one.value);
    if (loss != nullptr) loss[i] = one.value;
    if (d_mean != nullptr) d_mean[i] = share * one.d_mean;
    if (d_variance != nullptr) d_variance[i] = share * one.d_variance;
  }
  out.put(0, sum);
}

// A warp a triplet.
template <class T>
__global__ void triplet_loss_kernel(MatView<const T> anchor, MatView<const T> positive,
                                    MatView<const T> negative, T margin, T eps, T share, T* loss,
                                    TripletGradients<T> gradients, SumOut<T, 1> out) {
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  double sum = 0;
  for (std::int64_t i = thread_index() / k_warp; i < anchor.rows; i += thread_count() / k_warp) {
    T near = 0, far = 0;
    for (std::int64_t j = lane; j < anchor.cols; j += k_warp) {
      const T to_positive = anchor(i, j) - positive(i, j) + eps,
              to_negative = anchor(i, j) - negative(i, j) + eps;
      near = kernels::fma(to_positive, to_positive, near);
      far = kernels::fma(to_negative, to_negative, far);
    }
    const TripletLoss<T> one(warp_sum(near), warp_sum(far), margin, share);
    if (lane == 0) {
      sum += static_cast<double>(one.value);
      if (loss != nullptr) loss[i] = one.value;
    }
    for (std::int64_t j = lane; j < anchor.cols; j += k_warp) {
      const T to_positive = one.near * (anchor(i, j) - positive(i, j) + eps),
              to_negative = one.far * (anchor(i, j) - negative(i, j) + eps);
      if (gradients.anchor.data != nullptr) gradients.anchor(i, j) = to_positive - to_negative;
      if (gradients.positive.data != nullptr) gradients.positive(i, j) = -to_positive;
      if (gradients.negative.data != nullptr) gradients.negative(i, j) = to_negative;
    }
  }
  out.put(0, sum);
}

template <class T>
SumOut<T, 1> sum_of(const LossOut<T>& out) {
  return {{out.value}, nullptr, out.divisor};
}
template <class T>
T share_of(const LossOut<T>& out) {
  return static_cast<T>(1 / out.divisor);
}
template <class T>
T* data_or_null(std::span<T> values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

template <class T>
void pointwise_loss(const Exec& exec, const LossRule& rule, std::span<const T> x, std::span<const T> target,
                    const LossOut<T>& out, std::span<T> dx) {
  const std::int64_t n = std::ssize(x);
  with_loss<T>(rule, [&](auto point) {
    sums<1, T>(exec, n, sum_of(out), [&](unsigned blocks, const SumOut<T, 1>& sum) {
      launch(exec, point_loss_kernel<decltype(point), T>, blocks, k_sum_threads, 0, point, n, share_of(out),
             x.data(), target.data(), out.loss, data_or_null(dx), sum);
    });
  });
}

template <class T>
void gaussian_loss(const Exec& exec, const GaussianRule& rule, std::span<const T> mean,
                   std::span<const T> variance, std::span<const T> target, const LossOut<T>& out,
                   std::span<T> d_mean, std::span<T> d_variance) {
  const std::int64_t n = std::ssize(mean);
  sums<1, T>(exec, n, sum_of(out), [&](unsigned blocks, const SumOut<T, 1>& sum) {
    launch(exec, gaussian_loss_kernel<T>, blocks, k_sum_threads, 0, n, static_cast<T>(rule.eps),
           gaussian_constant<T>(rule.full), share_of(out), mean.data(), variance.data(), target.data(),
           out.loss, data_or_null(d_mean), data_or_null(d_variance), sum);
  });
}

template <class T>
void triplet_loss(const Exec& exec, const TripletRule& rule, MatView<const T> anchor,
                  MatView<const T> positive, MatView<const T> negative, const LossOut<T>& out,
                  const TripletGradients<T>& gradients) {
  sums<1, T>(exec, anchor.rows * k_warp, sum_of(out), [&](unsigned blocks, const SumOut<T, 1>& sum) {
    launch(exec, triplet_loss_kernel<T>, blocks, k_sum_threads, 0, anchor, positive, negative,
           static_cast<T>(rule.margin), static_cast<T>(rule.eps), share_of(out), out.loss, gradients, sum);
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                         \
  template void pointwise_loss(const Exec&, const LossRule&, std::span<const T>, std::span<const T>,    \
                               const LossOut<T>&, std::span<T>);                                        \
  template void gaussian_loss(const Exec&, const GaussianRule&, std::span<const T>, std::span<const T>, \
                              std::span<const T>, const LossOut<T>&, std::span<T>, std::span<T>);       \
  template void triplet_loss(const Exec&, const TripletRule&, MatView<const T>, MatView<const T>,       \
                             MatView<const T>, const LossOut<T>&, const TripletGradients<T>&)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
