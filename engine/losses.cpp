#include <flatland/engine/gradient_outputs.h>
#include <flatland/engine/losses.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/loss.h>
#include <flatland/kernels/softmax.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace flatland {

namespace {

// A loss before its kernel has run: one value, or as many as there are terms.
class LossResult {
 public:
  LossResult(const char* who, Reduction reduction, const Tensor& like, const Shape& terms)
      : reduction_(reduction),
        terms_(terms.numel()),
        tensor_(Tensor::empty(reduction == Reduction::none ? terms : Shape{}, like.dtype(), like.device())) {
    FLATLAND_CHECK(reduction != Reduction::mean || terms_ > 0, who, ": there are no values in ", terms,
                   "; a mean needs at least 1");
  }

  // For the kernel.
  template <class T>
  kernels::LossOut<T> out() {
    const bool each = reduction_ == Reduction::none;
    T* const data = tensor_.mutable_data<T>();
    return {.divisor = reduction_ == Reduction::mean ? static_cast<double>(terms_) : 1,
            .value = each ? nullptr : data,
            .loss = each ? data : nullptr};
  }
  Tensor& tensor() { return tensor_; }

 private:
  Reduction reduction_;
  std::int64_t terms_;
  Tensor tensor_;
};

// upstream of one value, or of the rows of `gradient`, times `gradient`.
Tensor chained(const Tensor& upstream, const Tensor& gradient) {
  const bool rows = upstream.rank() == 1 && gradient.rank() == 2;
  return detail::scaled_by(rows ? detail::view_as(upstream, {upstream.numel(), 1}) : upstream, gradient);
}

// Where a loss is NaN: Error if that is because a value of x is not in [low, high]. On CUDA nothing is read.
void check_range(const char* who, const char* what, const Tensor& loss, const Tensor& x, double low,
                 double high) {
  if (x.device() != Device::cpu) return;
  detail::dispatch_float(who, x.dtype(), [&]<class T>(std::type_identity<T>) {
    if (std::ranges::none_of(loss.values<T>(), [](T l) { return std::isnan(l); })) return;
    const auto values = x.values<T>();
    const auto bad = std::ranges::find_if(values, [&](T v) { return v < low || v > high; });
    FLATLAND_CHECK(bad == values.end(), who, ": ", what, ' ', bad - values.begin(), " is ", *bad,
                   "; it must be in [", low, ", ", high, "]");
  });
}

void check_no_gradient(const char* who, const Tensor& target) {
  FLATLAND_CHECK(!needs_record({&target}), who,
                 ": the target asks for a gradient, which it has not; give target.detach()");
}

// Where the loss depends on x - t alone, the target's gradient is the negative of the prediction's.
Tensor pointwise(const char* who, const kernels::LossRule& rule, Reduction reduction,
                 const Tensor& prediction, const Tensor& target, bool of_difference) {
  detail::check_same_shape(who, prediction, target);
  if (!of_difference) check_no_gradient(who, target);
  LossResult loss(who, reduction, prediction, prediction.shape());
  const bool wanted = needs_record({&prediction, &target});
  Tensor gradient = detail::empty_if(wanted, prediction);
  detail::dispatch_float(who, prediction.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::pointwise_loss<T>(detail::exec_of(prediction), rule, detail::span_of<T>(prediction),
                               detail::span_of<T>(target), loss.out<T>(), detail::maybe_span<T>(gradient));
  });
  if (wanted) {
    record(loss.tensor(), {prediction, target}, [gradient = std::move(gradient)](BackwardContext& ctx) {
      const Tensor dp = chained(ctx.grad(), gradient);
      if (ctx.wants(1)) ctx.accumulate(1, detail::scaled(dp, -1));
      if (ctx.wants(0)) ctx.accumulate(0, dp);
    });
  }
  return loss.tensor();
}

}  // namespace

Tensor MSELoss::operator()(const Tensor& prediction, const Tensor& target) const {
  return pointwise("mse_loss", {kernels::LossKind::squared}, reduction, prediction, target, true);
}

Tensor L1Loss::operator()(const Tensor& prediction, const Tensor& target) const {
  return pointwise("l1_loss", {kernels::LossKind::absolute}, reduction, prediction, target, true);
}

Tensor SmoothL1Loss::operator()(const Tensor& prediction, const Tensor& target) const {
  FLATLAND_CHECK(beta > 0, "smooth_l1_loss: beta is ", beta, "; it must be above 0, see l1_loss");
  return pointwise("smooth_l1_loss", {kernels::LossKind::smooth_absolute, beta}, reduction, prediction,
                   target, true);
}

Tensor BCELoss::operator()(const Tensor& prediction, const Tensor& target) const {
  const char* const who = "bce_loss";
  const Tensor loss = pointwise(who, {kernels::LossKind::binary}, reduction, prediction, target, false);
  check_range(who, "prediction", loss, prediction, 0, 1);
  check_range(who, "target", loss, target, 0, 1);
  return loss;
}

Tensor BCEWithLogitsLoss::operator()(const Tensor& logits, const Tensor& target) const {
  return pointwise("bce_with_logits_loss", {kernels::LossKind::binary_logit}, reduction, logits, target,
                   false);
}

Tensor CrossEntropy::operator()(const Tensor& logits, const Tensor& labels) const {
  const char* const who = "cross_entropy";
  detail::check_rank(who, logits, 2);
  detail::check_index(who, labels, logits.size(0));
  detail::check_values(who, logits, 1);
  FLATLAND_CHECK(logits.device() == labels.device(), "cross_entropy: the logits are on ",
                 name(logits.device()), " but the labels on ", name(labels.device()),
                 "; bring both to one device with to(Device)");
  LossResult loss(who, reduction, logits, {logits.size(0)});
  const bool wanted = needs_record({&logits});
  Tensor gradient = detail::empty_if(wanted, logits);
  detail::dispatch_float(who, logits.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::softmax_cross_entropy<T>(detail::exec_of(logits), logits.matrix<T>(),
                                      detail::span_of<std::int64_t>(labels), loss.out<T>(),
                                      detail::maybe_matrix<T>(gradient));
  });
  if (wanted) {
    record(loss.tensor(), {logits}, [gradient = std::move(gradient)](BackwardContext& ctx) {
      ctx.accumulate(0, chained(ctx.grad(), gradient));
    });
  }
  return loss.tensor();
}

Tensor GaussianNLLLoss::operator()(const Tensor& mean, const Tensor& target, const Tensor& variance) const {
  const char* const who = "gaussian_nll_loss";
  detail::check_same_shape(who, mean, target);
  detail::check_same_shape(who, mean, variance);
  LossResult loss(who, reduction, mean, mean.shape());
  const bool of_mean = needs_record({&mean, &target}), of_variance = needs_record({&variance});
  Tensor d_mean = detail::empty_if(of_mean, mean), d_variance = detail::empty_if(of_variance, variance);
  detail::dispatch_float(who, mean.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::gaussian_loss<T>(detail::exec_of(mean), {.full = full, .eps = eps}, detail::span_of<T>(mean),
                              detail::span_of<T>(variance), detail::span_of<T>(target), loss.out<T>(),
                              detail::maybe_span<T>(d_mean), detail::maybe_span<T>(d_variance));
  });
  check_range(who, "variance", loss.tensor(), variance, 0, std::numeric_limits<double>::infinity());
  if (of_mean || of_variance) {
    record(loss.tensor(), {mean, target, variance},
           [d_mean = std::move(d_mean), d_variance = std::move(d_variance)](BackwardContext& ctx) {
             if (ctx.wants(2)) ctx.accumulate(2, chained(ctx.grad(), d_variance));
             if (!d_mean.defined()) return;
             const Tensor dm = chained(ctx.grad(), d_mean);
             if (ctx.wants(1)) ctx.accumulate(1, detail::scaled(dm, -1));
             if (ctx.wants(0)) ctx.accumulate(0, dm);
           });
  }
  return loss.tensor();
}

Tensor TripletMarginLoss::operator()(const Tensor& anchor, const Tensor& positive,
                                     const Tensor& negative) const {
  const char* const who = "triplet_margin_loss";
  detail::check_rank(who, anchor, 2);
  detail::check_same_shape(who, anchor, positive);
  detail::check_same_shape(who, anchor, negative);
  LossResult loss(who, reduction, anchor, {anchor.size(0)});
  const std::array<Tensor, 3> inputs{anchor, positive, negative};
  std::array<Tensor, 3> gradients;
  for (std::size_t i = 0; i < 3; ++i) gradients[i] = detail::empty_if(needs_record({&inputs[i]}), anchor);
  detail::dispatch_float(who, anchor.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::triplet_loss<T>(detail::exec_of(anchor), {.margin = margin, .eps = eps}, anchor.matrix<T>(),
                             positive.matrix<T>(), negative.matrix<T>(), loss.out<T>(),
                             {detail::maybe_matrix<T>(gradients[0]), detail::maybe_matrix<T>(gradients[1]),
                              detail::maybe_matrix<T>(gradients[2])});
  });
  if (needs_record(inputs)) {
    record(loss.tensor(), inputs, [gradients = std::move(gradients)](BackwardContext& ctx) {
      for (std::size_t i = 0; i < 3; ++i)
        if (ctx.wants(i)) ctx.accumulate(i, chained(ctx.grad(), gradients[i]));
    });
  }
  return loss.tensor();
}

}  // namespace flatland
