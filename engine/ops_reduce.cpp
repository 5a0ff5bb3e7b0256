#include <flatland/engine/op_inputs.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/reduce.h>

namespace flatland {

using detail::check_values;
using detail::dispatch_float;
using detail::exec_of;
using detail::mutable_span_of;

namespace {

// The shape of a sum along `dim`, with that dimension kept as 1, so that it broadcasts back.
Shape kept(const Shape& shape, int dim) {
  std::array<std::int64_t, 4> sizes{};
  for (int i = 0; i < shape.rank(); ++i) sizes[static_cast<std::size_t>(i)] = i == dim ? 1 : shape[i];
  return Shape(std::span<const std::int64_t>(sizes).first(static_cast<std::size_t>(shape.rank())));
}

}  // namespace

Tensor sum(const Tensor& a) {
  Tensor y = detail::sum_all("sum", a);
  record(y, {a}, [shape = a.shape()](BackwardContext& ctx) {
    ctx.accumulate(0, detail::expand_to(ctx.grad(), shape));
  });
  return y;
}

Tensor mean(const Tensor& a) {
  check_values("mean", a, 1);
  return sum(a) / static_cast<double>(a.numel());
}

Tensor sum(const Tensor& a, int dim) {
  detail::check_defined("sum", a);
  Tensor y = detail::sum_dim(a, dim);
  const int d = a.shape().checked_dim(dim);
  record(y, {a}, [shape = a.shape(), d](BackwardContext& ctx) {
    ctx.accumulate(0, detail::expand_to(detail::view_as(ctx.grad(), kept(shape, d)), shape));
  });
  return y;
}

Tensor mean(const Tensor& a, int dim) {
  detail::check_defined("mean", a);
  FLATLAND_CHECK(a.size(dim) > 0, "mean: dimension ", dim, " of ", a.shape(), " has no values");
  return sum(a, dim) / static_cast<double>(a.size(dim));
}

Tensor variance(const Tensor& a, int ddof) {
  check_values("variance", a, ddof + 1);
  return sum(square(a - mean(a))) / static_cast<double>(a.numel() - ddof);
}

Tensor covariance(const Tensor& a, const Tensor& b, int ddof) {
  detail::check_same_shape("covariance", a, b);
  check_values("covariance", a, ddof + 1);
  return sum((a - mean(a)) * (b - mean(b))) / static_cast<double>(a.numel() - ddof);
}

Tensor std_dev(const Tensor& a, int ddof) {
  check_values("std_dev", a, ddof + 1);
  return sqrt(variance(a, ddof));
}

double max_value(const Tensor& a) {
  check_values("max_value", a, 1);
  return dispatch_float("max_value", a.dtype(), [&]<class T>(std::type_identity<T>) {
    return static_cast<double>(kernels::max<T>(exec_of(a), a.matrix<T>()));
  });
}

Tensor argmax(const Tensor& a) {
  detail::check_rank("argmax", a, 2);
  FLATLAND_CHECK(a.size(1) > 0 || a.size(0) == 0, "argmax: the rows of ", a.shape(), " have no values");
  Tensor index = Tensor::empty({a.size(0)}, Dtype::int64, a.device());
  dispatch_float("argmax", a.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::row_argmax<T>(exec_of(a), a.matrix<T>(), mutable_span_of<std::int64_t>(index));
  });
  return index;
}

}  // namespace flatland
