#include <flatland/engine/op_inputs.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/reduce.h>

namespace flatland {

using detail::exec_of;
using kernels::Transpose;

namespace {

// op(a) op(b) for the given transposition; a and b as matrices.
Tensor product(Transpose transpose, const Tensor& a, const Tensor& b, const Shape& shape) {
  Tensor c = Tensor::empty(shape, a.dtype(), a.device());
  detail::dispatch_float("matmul", a.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::matmul<T>(exec_of(a), transpose, a.matrix<T>(), b.matrix<T>(), c.mutable_matrix<T>());
  });
  return c;
}

// The gradient before the activation.
Tensor before_activation(const Activation& activation, const Tensor& y, const Tensor& dy) {
  Tensor dz = detail::empty_like(dy);
  detail::dispatch_float("linear", dy.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::activate_backward<T>(exec_of(dy), activation, y.matrix<T>(), dy.matrix<T>(),
                                  dz.mutable_matrix<T>());
  });
  return dz;
}

Tensor column_sums(const Tensor& dz, std::int64_t cols) {
  Tensor sums = Tensor::empty({cols}, dz.dtype(), dz.device());
  detail::dispatch_float("linear", dz.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::column_sums<T>(exec_of(dz), dz.matrix<T>(), detail::mutable_span_of<T>(sums));
  });
  return sums;
}

void check_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  detail::check_alike("linear", x, weight);
  detail::check_rank("linear", weight, 2);
  FLATLAND_CHECK(x.rank() >= 1 && x.size(-1) == weight.size(1), "linear: x is ", x.shape(),
                 " but the weight is ", weight.shape(), "; x must have ", weight.size(1), " columns");
  if (!bias.defined()) return;
  detail::check_alike("linear", x, bias);
  FLATLAND_CHECK(bias.shape() == Shape{weight.size(0)}, "linear: the bias is ", bias.shape(),
                 " but the weight is ", weight.shape(), "; the bias must have ", weight.size(0), " values");
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  detail::check_alike("matmul", a, b);
  detail::check_rank("matmul", a, 2);
  detail::check_rank("matmul", b, 2);
  FLATLAND_CHECK(a.size(1) == b.size(0), "matmul: a is ", a.shape(), " but b is ", b.shape(),
                 "; the columns of a must be as many as the rows of b");
  Tensor c = product(Transpose::none, a, b, {a.size(0), b.size(1)});
  if (needs_record({&a, &b})) {
    record(c, {a, b}, [a = a.detach(), b = b.detach()](BackwardContext& ctx) {
      if (ctx.wants(0)) ctx.accumulate(0, product(Transpose::b, ctx.grad(), b, a.shape()));
      if (ctx.wants(1)) ctx.accumulate(1, product(Transpose::a, a, ctx.grad(), b.shape()));
    });
  }
  return c;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Activation& activation) {
  check_linear(x, weight, bias);
  std::array<std::int64_t, 4> sizes{};
  for (int i = 0; i < x.rank(); ++i) sizes[static_cast<std::size_t>(i)] = x.size(i);
  sizes[static_cast<std::size_t>(x.rank() - 1)] = weight.size(0);
  Tensor y =
      Tensor::empty(Shape(std::span<const std::int64_t>(sizes).first(static_cast<std::size_t>(x.rank()))),
                    x.dtype(), x.device());
  detail::dispatch_float("linear", x.dtype(), [&]<class T>(std::type_identity<T>) {
    const auto b = bias.defined() ? detail::span_of<T>(bias) : std::span<const T>{};
    kernels::linear<T>(exec_of(x), x.matrix<T>(), weight.matrix<T>(), b, activation, y.mutable_matrix<T>());
  });
  if (needs_record({&x, &weight, &bias})) {
    const bool identity = activation.kind == ActivationKind::identity;
    record(y, {x, weight, bias},
           [x = x.detach(), weight = weight.detach(), y = identity ? Tensor() : y.detach(),
            activation](BackwardContext& ctx) {
             const Tensor dz = y.defined() ? before_activation(activation, y, ctx.grad()) : ctx.grad();
             if (ctx.wants(1)) ctx.accumulate(1, product(Transpose::a, dz, x, weight.shape()));
             if (ctx.wants(2)) ctx.accumulate(2, column_sums(dz, weight.size(0)));
             if (ctx.wants(0)) ctx.accumulate(0, product(Transpose::none, dz, weight, x.shape()));
           });
  }
  return y;
}

}  // namespace flatland
