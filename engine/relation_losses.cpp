#include <flatland/engine/gradient_outputs.h>
#include <flatland/engine/relation_ops.h>
#include <flatland/kernels/divergence.h>

namespace flatland {

using detail::dispatch_float;
using detail::exec_of;
using detail::maybe_matrix;
using detail::mutable_span_of;
using detail::span_of;

namespace {

// A single value that a kernel is to fill.
Tensor empty_loss(const Tensor& like) {
  return Tensor::empty(Shape{}, like.dtype(), like.device());
}

}  // namespace

Tensor kl_divergence(const Tensor& p, const Tensor& q, double eps) {
  detail::check_same_shape("kl_divergence", p, q);
  detail::check_rank("kl_divergence", p, 2);
  FLATLAND_CHECK(p.size(0) == p.size(1) && p.size(0) > 0, "kl_divergence: got ", p.shape(),
                 "; it needs square matrices, see condensed_to_square");
  Tensor loss = empty_loss(p);
  dispatch_float("kl_divergence", p.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::kl_divergence<T>(exec_of(p), eps, p.matrix<T>(), q.matrix<T>(), loss.mutable_data<T>());
  });
  record(loss, {p, q}, [p = p.detach(), q = q.detach(), eps](BackwardContext& ctx) {
    Tensor dp = detail::empty_if(ctx.wants(0), p);
    Tensor dq = detail::empty_if(ctx.wants(1), q);
    dispatch_float("kl_divergence", p.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::kl_divergence_backward<T>(exec_of(p), eps, ctx.grad().data<T>(), p.matrix<T>(), q.matrix<T>(),
                                         maybe_matrix<T>(dq), maybe_matrix<T>(dp));
    });
    if (dp.defined()) ctx.accumulate(0, dp);
    if (dq.defined()) ctx.accumulate(1, dq);
  });
  return loss;
}

Tensor fuzzy_cross_entropy(const Tensor& p, const Tensor& q, double eps) {
  detail::check_same_shape("fuzzy_cross_entropy", p, q);
  detail::check_values("fuzzy_cross_entropy", p, 1);
  FLATLAND_CHECK(!needs_record({&p}),
                 "fuzzy_cross_entropy: p asks for a gradient, which it has not; give p.detach()");
  Tensor loss = empty_loss(p);
  dispatch_float("fuzzy_cross_entropy", p.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::fuzzy_cross_entropy<T>(exec_of(p), eps, span_of<T>(p), span_of<T>(q), loss.mutable_data<T>());
  });
  record(loss, {q}, [p, q = q.detach(), eps](BackwardContext& ctx) {
    Tensor dq = detail::empty_like(q);
    dispatch_float("fuzzy_cross_entropy", q.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::fuzzy_cross_entropy_backward<T>(exec_of(q), eps, ctx.grad().data<T>(), span_of<T>(p),
                                               span_of<T>(q), mutable_span_of<T>(dq));
    });
    ctx.accumulate(0, dq);
  });
  return loss;
}

namespace {

void check_block(const Tensor& y, const SparseBlock& p) {
  detail::check_rank("kl_student_t", y, 2);
  detail::check_alike("kl_student_t", y, p.value);
  FLATLAND_CHECK(p.rows == y.size(0), "kl_student_t: the affinities are of ", p.rows, " items but y is ",
                 y.shape(), "; the numbers must be equal");
  detail::check_index("kl_student_t", p.begin, p.rows);
  detail::check_index("kl_student_t", p.end, p.rows);
  detail::check_defined("kl_student_t", p.col);
  FLATLAND_CHECK(p.col.dtype() == Dtype::int32 && p.col.numel() == p.value.numel(),
                 "kl_student_t: the columns are ", p.col.shape(), " of ", name(p.col.dtype()),
                 " but the values are ", p.value.shape(), "; they must be int32, one a value");
}

}  // namespace

Tensor kl_student_t(const Tensor& y, const SparseBlock& p, double alpha, double eps) {
  check_block(y, p);
  FLATLAND_CHECK(alpha > 0, "kl_student_t: alpha is ", alpha, "; it must be above 0");
  const bool wanted = needs_record({&y});
  Tensor dy = detail::empty_if(wanted, y);
  Tensor loss = empty_loss(y);
  dispatch_float("kl_student_t", y.dtype(), [&]<class T>(std::type_identity<T>) {
    const kernels::SparseRows<T> rows{p.rows,
                                      p.rows,
                                      p.begin.data<std::int64_t>(),
                                      p.end.data<std::int64_t>(),
                                      p.col.data<std::int32_t>(),
                                      p.value.data<T>()};
    kernels::kl_student_t<T>(exec_of(y), alpha, eps, y.matrix<T>(), rows, maybe_matrix<T>(dy),
                             loss.mutable_data<T>());
  });
  if (wanted) detail::record_known_gradient(loss, y, std::move(dy));
  return loss;
}

}  // namespace flatland
