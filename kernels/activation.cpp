#include <flatland/kernels/activation.h>
#include <flatland/kernels/activation_cuda.h>
#include <flatland/kernels/activation_simd.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/row_tiles.h>
#include <flatland/kernels/with_cuda.h>

namespace flatland {

std::string_view name(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::identity:
      return "identity";
    case ActivationKind::relu:
      return "relu";
    case ActivationKind::leaky_relu:
      return "leaky_relu";
    case ActivationKind::elu:
      return "elu";
    case ActivationKind::softplus:
      return "softplus";
    case ActivationKind::sigmoid:
      return "sigmoid";
    case ActivationKind::tanh:
      return "tanh";
  }
  return "unknown";
}

namespace kernels {

template <class T>
void activate(const Exec& exec, const Activation& activation, In<T> x, MatView<T> y) {
  FLATLAND_CHECK(x.rows == y.rows && x.cols == y.cols, "activate: x is ", x, " but y is ", y,
                 "; they must have the same shape");
  FLATLAND_ON_CUDA(exec) return cuda::activate<T>(exec, activation, x, y);
  const bool dense = x.contiguous() && y.contiguous();
  row_tiles(exec, x.rows, x.cols, [&](std::int64_t first, std::int64_t last) {
    const MatView<const T> from = rows_of(x, first, last);
    const MatView<T> to = rows_of(y, first, last);
    with_isa([&](auto isa) {
      activate_tile<isa, T>(activation, dense ? as_one_row(from) : from, dense ? as_one_row(to) : to);
    });
  });
}

template <class T>
void activate_backward(const Exec& exec, const Activation& activation, In<T> y, In<T> dy, MatView<T> dx) {
  FLATLAND_CHECK(y.rows == dy.rows && y.cols == dy.cols && y.rows == dx.rows && y.cols == dx.cols,
                 "activate_backward: y is ", y, ", dy is ", dy, " and dx is ", dx,
                 "; they must have the same shape");
  FLATLAND_ON_CUDA(exec) return cuda::activate_backward<T>(exec, activation, y, dy, dx);
  const bool dense = y.contiguous() && dy.contiguous() && dx.contiguous();
  row_tiles(exec, y.rows, y.cols, [&](std::int64_t first, std::int64_t last) {
    const MatView<const T> out = rows_of(y, first, last), g = rows_of(dy, first, last);
    const MatView<T> to = rows_of(dx, first, last);
    with_isa([&](auto isa) {
      activate_backward_tile<isa, T>(activation, dense ? as_one_row(out) : out, dense ? as_one_row(g) : g,
                                     dense ? as_one_row(to) : to);
    });
  });
}

#define FLATLAND_INSTANTIATE(T)                                              \
  template void activate(const Exec&, const Activation&, In<T>, MatView<T>); \
  template void activate_backward(const Exec&, const Activation&, In<T>, In<T>, MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace kernels
}  // namespace flatland
