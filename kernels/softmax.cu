#include <flatland/kernels/elementwise.h>
#include <flatland/kernels/softmax_cuda.h>
#include <flatland/kernels/cuda.cuh>

#include <limits>

namespace flatland::kernels::cuda {

namespace {

__device__ std::int64_t first_row() {
  return static_cast<std::int64_t>(blockIdx.x) * k_warps + threadIdx.x / k_warp;
}
__device__ std::int64_t row_step() {
  return static_cast<std::int64_t>(gridDim.x) * k_warps;
}

// The shift that keeps exp from overflowing. NaN may be passed over: exp brings it back.
template <class T>
__device__ T row_max(MatView<const T> x, std::int64_t i) {
  T largest = -std::numeric_limits<T>::infinity();
  for (std::int64_t j = warp_lane(); j < x.cols; j += k_warp) largest = kernels::max(x(i, j), largest);
  return warp_reduce(largest, [](T a, T b) { return kernels::max(a, b); });
}

// y = exp(x - shift) and its sum; y may have no data.
template <class T>
__device__ T exp_sum(MatView<const T> x, std::int64_t i, T shift, MatView<T> y) {
  T sum = 0;
  for (std::int64_t j = warp_lane(); j < x.cols; j += k_warp) {
    const T e = kernels::exp(x(i, j) - shift);
    if (y.data != nullptr) y(i, j) = e;
    sum += e;
  }
  return warp_sum(sum);
}

template <SoftmaxForm form, class T>
__global__ void softmax_kernel(MatView<const T> x, MatView<T> y) {
  for (std::int64_t i = first_row(); i < x.rows; i += row_step()) {
    const T shift = row_max(x, i);
    if (form == SoftmaxForm::plain) {
      const T sum = exp_sum(x, i, shift, y);
      for (std::int64_t j = warp_lane(); j < x.cols; j += k_warp) y(i, j) /= sum;
    } else {
      const T log_sum = kernels::log(exp_sum(x, i, shift, MatView<T>()));
      for (std::int64_t j = warp_lane(); j < x.cols; j += k_warp) y(i, j) = x(i, j) - shift - log_sum;
    }
  }
}

template <SoftmaxForm form, class T>
__global__ void softmax_backward_kernel(MatView<const T> y, MatView<const T> dy, MatView<T> dx) {
  for (std::int64_t i = first_row(); i < y.rows; i += row_step()) {
    T sum = 0;
    for (std::int64_t j = warp_lane(); j < y.cols; j += k_warp)
      sum = softmax_backward_term<form>(y(i, j), dy(i, j), sum);
    sum = warp_sum(sum);
    for (std::int64_t j = warp_lane(); j < y.cols; j += k_warp)
      dx(i, j) = softmax_gradient<form>(y(i, j), dy(i, j), sum);
  }
}

template <class T>
__global__ void cross_entropy_kernel(MatView<const T> x, const std::int64_t* label, T scale, double* loss,
                                     MatView<T> dx) {
  for (std::int64_t i = first_row(); i < x.rows; i += row_step()) {
    const std::int64_t l = label[i];
    const bool known = l >= 0 && l < x.cols;
    const T shift = row_max(x, i);
    const T sum = exp_sum(x, i, shift, dx);
    if (warp_lane() == 0) loss[i] = known ? cross_entropy_of(x(i, l), shift, sum) : 0.0;
    if (dx.data == nullptr) continue;
    const T factor = known ? scale / sum : T(0);
    for (std::int64_t j = warp_lane(); j < x.cols; j += k_warp)
      dx(i, j) = dx(i, j) * factor - (j == l ? scale : T(0));
  }
}

// value = the sum of n losses / divisor.
template <class T>
__global__ void __launch_bounds__(1024)
    sum_kernel(std::int64_t n, const double* loss, double divisor, T* value) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += loss[i];
  sum = block_sum<1024>(sum);
  if (threadIdx.x == 0) *value = static_cast<T>(sum / divisor);
}

}  // namespace

template <class T>
void softmax(const Exec& exec, SoftmaxForm form, MatView<const T> x, MatView<T> y) {
  const auto kernel = form == SoftmaxForm::plain ? softmax_kernel<SoftmaxForm::plain, T>
                                                 : softmax_kernel<SoftmaxForm::log, T>;
  launch(exec, kernel, blocks_for(x.rows, k_warps), k_threads, 0, x, y);
}

template <class T>
void softmax_backward(const Exec& exec, SoftmaxForm form, MatView<const T> y, MatView<const T> dy,
                      MatView<T> dx) {
  const auto kernel = form == SoftmaxForm::plain ? softmax_backward_kernel<SoftmaxForm::plain, T>
                                                 : softmax_backward_kernel<SoftmaxForm::log, T>;
  launch(exec, kernel, blocks_for(y.rows, k_warps), k_threads, 0, y, dy, dx);
}

template <class T>
void softmax_cross_entropy(const Exec& exec, MatView<const T> x, const std::int64_t* label,
                           const LossOut<T>& out, MatView<T> dx) {
  const ScratchArray<double> loss(exec, x.rows);
  launch(exec, cross_entropy_kernel<T>, blocks_for(x.rows, k_warps), k_threads, 0, x, label,
         static_cast<T>(1 / out.divisor), loss.data(), dx);
  if (out.loss != nullptr)
    kernels::convert(exec, std::span<const double>(loss.span()),
                     std::span<T>(out.loss, static_cast<std::size_t>(x.rows)));
  if (out.value != nullptr)
    launch(exec, sum_kernel<T>, 1, 1024, 0, x.rows, loss.data(), out.divisor, out.value);
}

#define FLATLAND_INSTANTIATE(T)                                                                              \
  template void softmax(const Exec&, SoftmaxForm, MatView<const T>, MatView<T>);                             \
  template void softmax_backward(const Exec&, SoftmaxForm, MatView<const T>, MatView<const T>, MatView<T>);  \
  template void softmax_cross_entropy(const Exec&, MatView<const T>, const std::int64_t*, const LossOut<T>&, \
                                      MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
