#include <flatland/engine/op_inputs.h>
#include <flatland/kernels/reduce.h>

#include <algorithm>

namespace flatland::detail {

namespace {

using Sizes = std::array<std::int64_t, 4>;

// Leading dimensions of 1 up to four.
Sizes padded(const Shape& shape) {
  Sizes sizes{1, 1, 1, 1};
  for (int i = 0; i < shape.rank(); ++i) sizes[static_cast<std::size_t>(4 - shape.rank() + i)] = shape[i];
  return sizes;
}

Shape broadcast_shape(std::string_view who, const Shape& a, const Shape& b) {
  const Sizes x = padded(a), y = padded(b);
  Sizes out{};
  for (std::size_t d = 0; d < 4; ++d) {
    FLATLAND_CHECK(x[d] == y[d] || x[d] == 1 || y[d] == 1, who, ": shapes ", a, " and ", b,
                   " do not broadcast; aligned at the last dimension, sizes must be equal or 1");
    out[d] = x[d] == 1 ? y[d] : x[d];
  }
  const auto rank = static_cast<std::size_t>(std::max(a.rank(), b.rank()));
  return Shape(std::span<const std::int64_t>(out).last(rank));
}

// Row-major strides of `shape`, 0 along dimensions that are repeated to reach `target`.
Sizes strides_in(const Shape& shape, const Sizes& target) {
  const Sizes sizes = padded(shape);
  Sizes strides{};
  std::int64_t step = 1;
  for (std::size_t d = 4; d-- > 0;) {
    strides[d] = sizes[d] == 1 && target[d] != 1 ? 0 : step;
    step *= sizes[d];
  }
  return strides;
}

// x (outer, n, inner) -> (outer, inner)
template <class T>
void sum_middle(const kernels::Exec& exec, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner,
                T* y) {
  if (inner == 1) {
    return kernels::row_sums<T>(exec, {x, outer, n}, {y, static_cast<std::size_t>(outer)});
  }
  for (std::int64_t i = 0; i < outer; ++i) {
    kernels::column_sums<T>(exec, {x + i * n * inner, n, inner},
                            {y + i * inner, static_cast<std::size_t>(inner)});
  }
}

Tensor sum_middle(const Tensor& t, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  Tensor result = Tensor::empty({outer, inner}, t.dtype(), t.device());
  dispatch_float("sum", t.dtype(), [&]<class T>(std::type_identity<T>) {
    sum_middle<T>(exec_of(t), t.data<T>(), outer, n, inner, result.mutable_data<T>());
  });
  return result;
}

}  // namespace

namespace {

// An operand seen in a broadcast to `sizes`: a tensor, or a number.
template <class T>
kernels::Strided<const T> operand(const Tensor& t, const Sizes& sizes) {
  return {t.data<T>(), strides_in(t.shape(), sizes)};
}
template <class T>
kernels::Strided<const T> operand(double number, const Sizes&) {
  return {.value = static_cast<T>(number)};
}

template <class A, class B>
Tensor binary_like(std::string_view who, kernels::BinaryOp op, const A& a, const B& b, const Tensor& like,
                   const Shape& shape) {
  const Sizes sizes = padded(shape);
  Tensor result = Tensor::empty(shape, like.dtype(), like.device());
  dispatch_float(who, like.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::binary<T>(exec_of(like), op, sizes, operand<T>(a, sizes), operand<T>(b, sizes),
                       result.mutable_data<T>());
  });
  return result;
}

}  // namespace

Tensor apply_binary(std::string_view who, kernels::BinaryOp op, const Tensor& a, const Tensor& b) {
  check_alike(who, a, b);
  return binary_like(who, op, a, b, a, broadcast_shape(who, a.shape(), b.shape()));
}
Tensor apply_binary(std::string_view who, kernels::BinaryOp op, const Tensor& a, double b) {
  check_defined(who, a);
  return binary_like(who, op, a, b, a, a.shape());
}
Tensor apply_binary(std::string_view who, kernels::BinaryOp op, double a, const Tensor& b) {
  check_defined(who, b);
  return binary_like(who, op, a, b, b, b.shape());
}

Tensor apply_unary(std::string_view who, kernels::UnaryOp op, const Tensor& a) {
  check_defined(who, a);
  Tensor result = empty_like(a);
  dispatch_float(who, a.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::unary<T>(exec_of(a), op, span_of<T>(a), mutable_span_of<T>(result));
  });
  return result;
}

Tensor scaled(const Tensor& a, double factor) {
  check_defined("operator*", a);
  Tensor result = empty_like(a);
  dispatch_float("operator*", a.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::axpby<T>(exec_of(a), static_cast<T>(factor), span_of<T>(a), T(0), mutable_span_of<T>(result));
  });
  return result;
}

Tensor scaled_by(const Tensor& upstream, const Tensor& a, double factor) {
  if (!upstream.impl()->storage->ones())
    return apply_binary("backward", kernels::BinaryOp::mul, a,
                        factor == 1 ? upstream : scaled(upstream, factor));
  return factor == 1 ? a : scaled(a, factor);
}

Tensor expand_to(const Tensor& t, const Shape& shape) {
  if (t.shape() == shape) return t;
  return binary_like("expand", kernels::BinaryOp::maximum, t, t, t, shape);
}

Tensor sum_to(const Tensor& t, const Shape& shape) {
  if (t.shape() == shape) return t;
  if (shape.numel() == 1) return view_as(sum_all("sum", t), shape);
  Sizes sizes = padded(t.shape());
  const Sizes target = padded(shape);
  Tensor result = t;
  for (std::size_t d = 0; d < 4; ++d) {
    if (sizes[d] == target[d]) continue;
    std::int64_t outer = 1, inner = 1;
    for (std::size_t i = 0; i < d; ++i) outer *= sizes[i];
    for (std::size_t i = d + 1; i < 4; ++i) inner *= sizes[i];
    result = sum_middle(result, outer, sizes[d], inner);
    sizes[d] = 1;
  }
  return view_as(result, shape);
}

Tensor sum_dim(const Tensor& t, int dim) {
  const Shape& shape = t.shape();
  const int d = shape.checked_dim(dim);
  std::int64_t outer = 1, inner = 1;
  std::array<std::int64_t, 4> rest{};
  std::size_t rank = 0;
  for (int i = 0; i < shape.rank(); ++i) {
    if (i < d) outer *= shape[i];
    if (i > d) inner *= shape[i];
    if (i != d) rest[rank++] = shape[i];
  }
  return view_as(sum_middle(t, outer, shape[d], inner),
                 Shape(std::span<const std::int64_t>(rest).first(rank)));
}

Tensor sum_all(std::string_view who, const Tensor& t) {
  check_defined(who, t);
  Tensor total = empty_value(t);
  dispatch_float(who, t.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::sum<T>(exec_of(t), t.matrix<T>(), total.mutable_data<T>());
  });
  return total;
}

void record_known_gradient(Tensor& loss, const Tensor& x, Tensor gradient) {
  record(loss, {x}, [gradient = std::move(gradient)](BackwardContext& ctx) {
    ctx.accumulate(0, scaled_by(ctx.grad(), gradient));
  });
}

}  // namespace flatland::detail
