#include <flatland/engine/gradient_outputs.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/matmul.h>

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

// x as a matrix; rows that have not been fetched yet stay where they are.
template <class T>
kernels::RowsView<T> rows_of(const Tensor& x) {
  const detail::RowsOf* const rows = x.impl()->storage->rows();
  if (rows == nullptr || x.rank() != 2 || rows->all.rank() != 2 || rows->all.size(1) != x.size(1) ||
      x.device() != Device::cpu)
    return x.matrix<T>();
  return {rows->all.matrix<T>(), rows->index.data<std::int64_t>(), rows->index.numel()};
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
    kernels::linear<T>(exec_of(x), rows_of<T>(x), weight.matrix<T>(), b, activation, y.mutable_matrix<T>());
  });
  if (needs_record({&x, &weight, &bias})) {
    const bool identity = activation.kind == ActivationKind::identity;
    record(y, {x, weight, bias},
           [x = x.detach(), weight = weight.detach(), bias, y = identity ? Tensor() : y.detach(),
            activation](BackwardContext& ctx) {
             Tensor dx = detail::empty_if(ctx.wants(0), x);
             Tensor dw = detail::empty_if(ctx.wants(1), weight);
             Tensor db = detail::empty_if(ctx.wants(2), bias);
             detail::dispatch_float("linear", x.dtype(), [&]<class T>(std::type_identity<T>) {
               kernels::linear_backward<T>(exec_of(x), rows_of<T>(x), weight.matrix<T>(), activation,
                                           y.defined() ? y.matrix<T>() : kernels::In<T>(),
                                           ctx.grad().matrix<T>(), detail::maybe_matrix<T>(dx),
                                           detail::maybe_matrix<T>(dw), detail::maybe_span<T>(db));
             });
             if (dw.defined()) ctx.accumulate(1, dw);
             if (db.defined()) ctx.accumulate(2, db);
             if (dx.defined()) ctx.accumulate(0, dx);
           });
  }
  return y;
}

}  // namespace flatland
