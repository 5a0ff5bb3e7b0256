#include <flatland/engine/op_inputs.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/softmax.h>

namespace flatland {

Tensor mse_loss(const Tensor& prediction, const Tensor& target) {
  detail::check_same_shape("mse_loss", prediction, target);
  detail::check_values("mse_loss", prediction, 1);
  const double n = static_cast<double>(prediction.numel());
  Tensor difference = detail::apply_binary("mse_loss", kernels::BinaryOp::sub, prediction, target);
  const Tensor squares = detail::apply_unary("mse_loss", kernels::UnaryOp::square, difference);
  Tensor loss =
      detail::apply_binary("mse_loss", kernels::BinaryOp::div, detail::sum_all("mse_loss", squares), n);
  if (needs_record({&prediction, &target})) {
    record(loss, {prediction, target}, [difference, n](BackwardContext& ctx) {
      const Tensor dp = detail::scaled_by(ctx.grad(), difference, 2 / n);
      if (ctx.wants(1)) ctx.accumulate(1, detail::scaled(dp, -1));
      ctx.accumulate(0, dp);
    });
  }
  return loss;
}

Tensor cross_entropy(const Tensor& logits, const Tensor& labels) {
  detail::check_rank("cross_entropy", logits, 2);
  detail::check_index("cross_entropy", labels, logits.size(0));
  detail::check_values("cross_entropy", logits, 1);
  const bool wanted = needs_record({&logits});
  Tensor gradient = wanted ? detail::empty_like(logits) : Tensor();
  FLATLAND_CHECK(logits.device() == labels.device(), "cross_entropy: the logits are on ",
                 name(logits.device()), " but the labels on ", name(labels.device()),
                 "; bring both to one device with to(Device)");
  Tensor loss = detail::empty_value(logits);
  detail::dispatch_float("cross_entropy", logits.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::softmax_cross_entropy<T>(
        detail::exec_of(logits), logits.matrix<T>(), detail::span_of<std::int64_t>(labels),
        wanted ? gradient.mutable_matrix<T>() : kernels::MatView<T>(), loss.mutable_data<T>());
  });
  if (wanted) detail::record_known_gradient(loss, logits, std::move(gradient));
  return loss;
}

}  // namespace flatland
