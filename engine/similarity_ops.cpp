#include <flatland/engine/op_inputs.h>
#include <flatland/engine/relation_ops.h>
#include <flatland/kernels/similarity.h>

namespace flatland {

using detail::dispatch_float;
using detail::exec_of;
using detail::mutable_span_of;
using detail::span_of;

namespace {

void check_one_value(std::string_view who, std::string_view what, const Tensor& dist, const Tensor& t) {
  detail::check_alike(who, dist, t);
  FLATLAND_CHECK(t.numel() == 1, who, ": ", what, " is ", t.shape(), "; it must be a single value");
}

// With the shape of a parameter of one value.
Tensor value_like(const Tensor& t, double value) {
  return Tensor::full(t.shape(), value, t.dtype(), t.device());
}

void check_alpha(double alpha) {
  FLATLAND_CHECK(alpha > 0, "student_t: alpha is ", alpha, "; it must be above 0");
}

Tensor student_t_values(const Tensor& dist, double alpha) {
  Tensor q = detail::empty_like(dist);
  dispatch_float("student_t", dist.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::student_t<T>(exec_of(dist), alpha, span_of<T>(dist), mutable_span_of<T>(q));
  });
  return q;
}

Tensor modified_cauchy_values(const Tensor& dist, double a, double b) {
  Tensor q = detail::empty_like(dist);
  dispatch_float("modified_cauchy", dist.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::modified_cauchy<T>(exec_of(dist), a, b, span_of<T>(dist), mutable_span_of<T>(q));
  });
  return q;
}

// What backward of a similarity gives for its distances (undefined where not wanted) and its parameters.
struct StudentGradient {
  Tensor dist;
  double alpha = 0;
};
StudentGradient student_t_gradient(const Tensor& dist, const Tensor& q, double alpha, BackwardContext& ctx) {
  StudentGradient result;
  if (ctx.wants(0)) result.dist = detail::empty_like(dist);
  dispatch_float("student_t", dist.dtype(), [&]<class T>(std::type_identity<T>) {
    result.alpha = kernels::student_t_backward<T>(
        exec_of(dist), alpha, span_of<T>(dist), span_of<T>(q), span_of<T>(ctx.grad()),
        result.dist.defined() ? mutable_span_of<T>(result.dist) : std::span<T>());
  });
  return result;
}

struct CauchyGradients {
  Tensor dist;
  kernels::CauchyGradient shape;
};
CauchyGradients modified_cauchy_gradient(const Tensor& dist, const Tensor& q, double a, double b,
                                         BackwardContext& ctx) {
  CauchyGradients result;
  if (ctx.wants(0)) result.dist = detail::empty_like(dist);
  dispatch_float("modified_cauchy", dist.dtype(), [&]<class T>(std::type_identity<T>) {
    result.shape = kernels::modified_cauchy_backward<T>(
        exec_of(dist), a, b, span_of<T>(dist), span_of<T>(q), span_of<T>(ctx.grad()),
        result.dist.defined() ? mutable_span_of<T>(result.dist) : std::span<T>());
  });
  return result;
}

}  // namespace

Tensor student_t(const Tensor& dist, double alpha) {
  detail::check_defined("student_t", dist);
  check_alpha(alpha);
  Tensor q = student_t_values(dist, alpha);
  record(q, {dist}, [dist = dist.detach(), q = q.detach(), alpha](BackwardContext& ctx) {
    ctx.accumulate(0, student_t_gradient(dist, q, alpha, ctx).dist);
  });
  return q;
}

Tensor student_t(const Tensor& dist, const Tensor& alpha) {
  check_one_value("student_t", "alpha", dist, alpha);
  const double value = alpha.item();
  check_alpha(value);
  Tensor q = student_t_values(dist, value);
  record(q, {dist, alpha},
         [dist = dist.detach(), alpha = alpha.detach(), q = q.detach(), value](BackwardContext& ctx) {
           const StudentGradient d = student_t_gradient(dist, q, value, ctx);
           if (d.dist.defined()) ctx.accumulate(0, d.dist);
           if (ctx.wants(1)) ctx.accumulate(1, value_like(alpha, d.alpha));
         });
  return q;
}

Tensor modified_cauchy(const Tensor& dist, double a, double b) {
  detail::check_defined("modified_cauchy", dist);
  Tensor q = modified_cauchy_values(dist, a, b);
  record(q, {dist}, [dist = dist.detach(), q = q.detach(), a, b](BackwardContext& ctx) {
    ctx.accumulate(0, modified_cauchy_gradient(dist, q, a, b, ctx).dist);
  });
  return q;
}

Tensor modified_cauchy(const Tensor& dist, const Tensor& a, const Tensor& b) {
  check_one_value("modified_cauchy", "a", dist, a);
  check_one_value("modified_cauchy", "b", dist, b);
  const double av = a.item(), bv = b.item();
  Tensor q = modified_cauchy_values(dist, av, bv);
  record(
      q, {dist, a, b},
      [dist = dist.detach(), q = q.detach(), a = a.detach(), b = b.detach(), av, bv](BackwardContext& ctx) {
        const CauchyGradients d = modified_cauchy_gradient(dist, q, av, bv, ctx);
        if (d.dist.defined()) ctx.accumulate(0, d.dist);
        if (ctx.wants(1)) ctx.accumulate(1, value_like(a, d.shape.da));
        if (ctx.wants(2)) ctx.accumulate(2, value_like(b, d.shape.db));
      });
  return q;
}

}  // namespace flatland
