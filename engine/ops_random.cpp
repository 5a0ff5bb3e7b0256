#include <flatland/engine/op_inputs.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/dropout.h>

namespace flatland {

Tensor dropout(const Tensor& a, double p, const Tensor& state) {
  detail::check_defined("dropout", a);
  detail::check_index("dropout", state, 4);
  FLATLAND_CHECK(state.device() == a.device(), "dropout: the values are on ", name(a.device()),
                 " but the random state on ", name(state.device()),
                 "; bring both to one device with to(Device)");
  Tensor y = detail::empty_like(a), mask = detail::empty_like(a), draws = state;
  auto* const words = reinterpret_cast<kernels::DropoutState*>(draws.mutable_data<std::int64_t>());
  detail::dispatch_float("dropout", a.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::dropout<T>(detail::exec_of(a), p, words, detail::span_of<T>(a), detail::mutable_span_of<T>(mask),
                        detail::mutable_span_of<T>(y));
  });
  if (needs_record({&a})) {
    record(y, {a}, [mask = std::move(mask)](BackwardContext& ctx) {
      ctx.accumulate(0, detail::apply_binary("dropout", kernels::BinaryOp::mul, ctx.grad(), mask));
    });
  }
  return y;
}

}  // namespace flatland
