#include <flatland/kernels/activation_cuda.h>
#include <flatland/kernels/activation_formulas.h>
#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

namespace {

template <ActivationKind kind, class T>
__global__ void activate_kernel(T slope, MatView<const T> x, MatView<T> y) {
  for (std::int64_t i = thread_index(); i < x.rows * x.cols; i += thread_count()) {
    const std::int64_t row = i / x.cols, col = i % x.cols;
    y(row, col) = activation_value<kind>(x(row, col), slope);
  }
}

template <ActivationKind kind, class T>
__global__ void activate_backward_kernel(T slope, MatView<const T> y, MatView<const T> dy, MatView<T> dx) {
  for (std::int64_t i = thread_index(); i < y.rows * y.cols; i += thread_count()) {
    const std::int64_t row = i / y.cols, col = i % y.cols;
    dx(row, col) = dy(row, col) * activation_derivative<kind>(y(row, col), slope);
  }
}

}  // namespace

template <class T>
void activate(const Exec& exec, const Activation& activation, MatView<const T> x, MatView<T> y) {
  const T slope = static_cast<T>(activation.slope);
  with_activation(activation.kind, [&](auto kind) {
    launch(exec, activate_kernel<kind, T>, blocks_for(x.rows * x.cols, k_threads), k_threads, 0, slope, x, y);
  });
}

template <class T>
void activate_backward(const Exec& exec, const Activation& activation, MatView<const T> y,
                       MatView<const T> dy, MatView<T> dx) {
  const T slope = static_cast<T>(activation.slope);
  with_activation(activation.kind, [&](auto kind) {
    launch(exec, activate_backward_kernel<kind, T>, blocks_for(y.rows * y.cols, k_threads), k_threads, 0,
           slope, y, dy, dx);
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                       \
  template void activate(const Exec&, const Activation&, MatView<const T>, MatView<T>);               \
  template void activate_backward(const Exec&, const Activation&, MatView<const T>, MatView<const T>, \
                                  MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
