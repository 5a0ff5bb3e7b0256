#include <flatland/engine/gradient_outputs.h>
#include <flatland/engine/relation_ops.h>
#include <flatland/kernels/similarity.h>

namespace flatland {

using detail::dispatch_float;
using detail::empty_if;
using detail::exec_of;
using detail::maybe_data;
using detail::maybe_span;
using detail::mutable_span_of;
using detail::span_of;

namespace {

void check_one_value(std::string_view who, std::string_view what, const Tensor& dist, const Tensor& t) {
  detail::check_alike(who, dist, t);
  FLATLAND_CHECK(t.numel() == 1, who, ": ", what, " is ", t.shape(), "; it must be a single value");
}

void check_alpha(double alpha) {
  FLATLAND_CHECK(alpha > 0, "student_t: alpha is ", alpha, "; it must be above 0");
}

// A number, or a tensor of one value, which stays where it is.
struct Number {
  double value = 0;
  Tensor tensor;

  bool trained() const { return tensor.defined(); }
  Number detach() const { return {value, trained() ? tensor.detach() : Tensor()}; }
  template <class T>
  kernels::Parameter<T> as() const {
    return trained() ? kernels::Parameter<T>(tensor.data<T>()) : kernels::Parameter<T>(value);
  }
};

Tensor student_t_of(const Tensor& dist, const Number& alpha) {
  Tensor q = detail::empty_like(dist);
  dispatch_float("student_t", dist.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::student_t<T>(exec_of(dist), alpha.as<T>(), span_of<T>(dist), mutable_span_of<T>(q));
  });
  const auto backward = [dist = dist.detach(), q = q.detach(), alpha = alpha.detach()](BackwardContext& ctx) {
    Tensor d_dist = empty_if(ctx.wants(0), dist);
    Tensor d_alpha = empty_if(alpha.trained() && ctx.wants(1), alpha.tensor);
    dispatch_float("student_t", dist.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::student_t_backward<T>(exec_of(dist), alpha.as<T>(), span_of<T>(dist), span_of<T>(q),
                                     span_of<T>(ctx.grad()), maybe_span<T>(d_dist), maybe_data<T>(d_alpha));
    });
    if (d_dist.defined()) ctx.accumulate(0, d_dist);
    if (d_alpha.defined()) ctx.accumulate(1, d_alpha);
  };
  if (alpha.trained())
    record(q, {dist, alpha.tensor}, backward);
  else
    record(q, {dist}, backward);
  return q;
}

Tensor modified_cauchy_of(const Tensor& dist, const Number& a, const Number& b) {
  Tensor q = detail::empty_like(dist);
  dispatch_float("modified_cauchy", dist.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::modified_cauchy<T>(exec_of(dist), a.as<T>(), b.as<T>(), span_of<T>(dist), mutable_span_of<T>(q));
  });
  const auto backward = [dist = dist.detach(), q = q.detach(), a = a.detach(),
                         b = b.detach()](BackwardContext& ctx) {
    Tensor d_dist = empty_if(ctx.wants(0), dist);
    Tensor da = empty_if(a.trained() && ctx.wants(1), a.tensor);
    Tensor db = empty_if(b.trained() && ctx.wants(2), b.tensor);
    dispatch_float("modified_cauchy", dist.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::modified_cauchy_backward<T>(exec_of(dist), a.as<T>(), b.as<T>(), span_of<T>(dist),
                                           span_of<T>(q), span_of<T>(ctx.grad()), maybe_span<T>(d_dist),
                                           maybe_data<T>(da), maybe_data<T>(db));
    });
    if (d_dist.defined()) ctx.accumulate(0, d_dist);
    if (da.defined()) ctx.accumulate(1, da);
    if (db.defined()) ctx.accumulate(2, db);
  };
  if (a.trained())
    record(q, {dist, a.tensor, b.tensor}, backward);
  else
    record(q, {dist}, backward);
  return q;
}

}  // namespace

Tensor student_t(const Tensor& dist, double alpha) {
  detail::check_defined("student_t", dist);
  check_alpha(alpha);
  return student_t_of(dist, {alpha, Tensor()});
}

Tensor student_t(const Tensor& dist, const Tensor& alpha) {
  check_one_value("student_t", "alpha", dist, alpha);
  return student_t_of(dist, {0, alpha});
}

Tensor modified_cauchy(const Tensor& dist, double a, double b) {
  detail::check_defined("modified_cauchy", dist);
  return modified_cauchy_of(dist, {a, Tensor()}, {b, Tensor()});
}

Tensor modified_cauchy(const Tensor& dist, const Tensor& a, const Tensor& b) {
  check_one_value("modified_cauchy", "a", dist, a);
  check_one_value("modified_cauchy", "b", dist, b);
  return modified_cauchy_of(dist, {0, a}, {0, b});
}

}  // namespace flatland
