#include <flatland/engine/op_inputs.h>
#include <flatland/engine/ops.h>

namespace flatland {

Tensor activate(const Tensor& a, const Activation& activation) {
  detail::check_defined("activate", a);
  Tensor y = detail::empty_like(a);
  detail::dispatch_float("activate", a.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::activate<T>(detail::exec_of(a), activation, a.matrix<T>(), y.mutable_matrix<T>());
  });
  if (needs_record({&a})) {
    record(y, {a}, [y = y.detach(), activation](BackwardContext& ctx) {
      Tensor dx = detail::empty_like(y);
      detail::dispatch_float("activate", y.dtype(), [&]<class T>(std::type_identity<T>) {
        kernels::activate_backward<T>(detail::exec_of(y), activation, y.matrix<T>(), ctx.grad().matrix<T>(),
                                      dx.mutable_matrix<T>());
      });
      ctx.accumulate(0, dx);
    });
  }
  return y;
}

Tensor relu(const Tensor& a) {
  return activate(a, activation::relu);
}
Tensor leaky_relu(const Tensor& a, double slope) {
  return activate(a, activation::leaky_relu(slope));
}
Tensor elu(const Tensor& a, double alpha) {
  return activate(a, activation::elu(alpha));
}
Tensor softplus(const Tensor& a) {
  return activate(a, activation::softplus);
}
Tensor sigmoid(const Tensor& a) {
  return activate(a, activation::sigmoid);
}
Tensor tanh(const Tensor& a) {
  return activate(a, activation::tanh);
}

}  // namespace flatland
