#include <flatland/engine/op_inputs.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/softmax.h>

namespace flatland {

using detail::dispatch_float;
using detail::exec_of;

Tensor softmax(const Tensor& a) {
  detail::check_rank("softmax", a, 2);
  Tensor y = detail::empty_like(a);
  dispatch_float("softmax", a.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::softmax_rows<T>(exec_of(a), a.matrix<T>(), y.mutable_matrix<T>());
  });
  record(y, {a}, [y = y.detach()](BackwardContext& ctx) {
    Tensor dx = detail::empty_like(y);
    dispatch_float("softmax", y.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::softmax_rows_backward<T>(exec_of(y), y.matrix<T>(), ctx.grad().matrix<T>(),
                                        dx.mutable_matrix<T>());
    });
    ctx.accumulate(0, dx);
  });
  return y;
}

Tensor log_softmax(const Tensor& a) {
  detail::check_rank("log_softmax", a, 2);
  Tensor y = detail::empty_like(a);
  dispatch_float("log_softmax", a.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::log_softmax_rows<T>(exec_of(a), a.matrix<T>(), y.mutable_matrix<T>());
  });
  record(y, {a}, [y = y.detach()](BackwardContext& ctx) {
    Tensor dx = detail::empty_like(y);
    dispatch_float("log_softmax", y.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::log_softmax_rows_backward<T>(exec_of(y), y.matrix<T>(), ctx.grad().matrix<T>(),
                                            dx.mutable_matrix<T>());
    });
    ctx.accumulate(0, dx);
  });
  return y;
}

}  // namespace flatland
