#include <flatland/engine/op_inputs.h>
#include <flatland/engine/ops.h>

namespace flatland {

using detail::apply_binary;
using detail::apply_unary;
using detail::expand_to;
using detail::scaled;
using detail::sum_to;
using kernels::BinaryOp;
using kernels::UnaryOp;

namespace {

Tensor times(const Tensor& a, const Tensor& b) {
  return apply_binary("operator*", BinaryOp::mul, a, b);
}

// A binary op whose gradient goes to a where `mask(a, b)` is 1, else to b.
Tensor choose(std::string_view who, BinaryOp op, const Tensor& a, const Tensor& b, bool a_when_less) {
  Tensor y = apply_binary(who, op, a, b);
  if (needs_record({&a, &b})) {
    record(y, {a, b}, [a = a.detach(), b = b.detach(), a_when_less](BackwardContext& ctx) {
      const Tensor mask = a_when_less ? less_equal(a, b) : less_equal(b, a);
      if (ctx.wants(0)) ctx.accumulate(0, sum_to(times(ctx.grad(), mask), a.shape()));
      if (ctx.wants(1)) ctx.accumulate(1, sum_to(times(ctx.grad(), 1.0 - mask), b.shape()));
    });
  }
  return y;
}

}  // namespace

Tensor operator+(const Tensor& a, const Tensor& b) {
  Tensor y = apply_binary("operator+", BinaryOp::add, a, b);
  if (needs_record({&a, &b})) {
    record(y, {a, b}, [a = a.shape(), b = b.shape()](BackwardContext& ctx) {
      if (ctx.wants(0)) ctx.accumulate(0, sum_to(ctx.grad(), a));
      if (ctx.wants(1)) ctx.accumulate(1, sum_to(ctx.grad(), b));
    });
  }
  return y;
}

Tensor operator-(const Tensor& a, const Tensor& b) {
  Tensor y = apply_binary("operator-", BinaryOp::sub, a, b);
  if (needs_record({&a, &b})) {
    record(y, {a, b}, [a = a.shape(), b = b.shape()](BackwardContext& ctx) {
      if (ctx.wants(0)) ctx.accumulate(0, sum_to(ctx.grad(), a));
      if (ctx.wants(1)) ctx.accumulate(1, scaled(sum_to(ctx.grad(), b), -1));
    });
  }
  return y;
}

Tensor operator*(const Tensor& a, const Tensor& b) {
  Tensor y = times(a, b);
  if (needs_record({&a, &b})) {
    record(y, {a, b}, [a = a.detach(), b = b.detach()](BackwardContext& ctx) {
      if (ctx.wants(0)) ctx.accumulate(0, sum_to(times(ctx.grad(), b), a.shape()));
      if (ctx.wants(1)) ctx.accumulate(1, sum_to(times(ctx.grad(), a), b.shape()));
    });
  }
  return y;
}

Tensor operator/(const Tensor& a, const Tensor& b) {
  Tensor y = apply_binary("operator/", BinaryOp::div, a, b);
  if (needs_record({&a, &b})) {
    record(y, {a, b}, [a = a.shape(), b = b.detach(), y = y.detach()](BackwardContext& ctx) {
      const Tensor da = apply_binary("operator/", BinaryOp::div, ctx.grad(), b);
      if (ctx.wants(1)) ctx.accumulate(1, scaled(sum_to(times(da, y), b.shape()), -1));
      if (ctx.wants(0)) ctx.accumulate(0, sum_to(da, a));
    });
  }
  return y;
}

Tensor operator-(const Tensor& a) {
  return a * -1.0;
}

Tensor operator+(const Tensor& a, double b) {
  Tensor y = apply_binary("operator+", BinaryOp::add, a, b);
  record(y, {a}, [](BackwardContext& ctx) { ctx.accumulate(0, ctx.grad()); });
  return y;
}

Tensor operator*(const Tensor& a, double b) {
  Tensor y = scaled(a, b);
  record(y, {a}, [b](BackwardContext& ctx) { ctx.accumulate(0, scaled(ctx.grad(), b)); });
  return y;
}

Tensor operator-(const Tensor& a, double b) {
  return a + -b;
}

Tensor operator/(const Tensor& a, double b) {
  Tensor y = apply_binary("operator/", BinaryOp::div, a, b);
  record(y, {a}, [b](BackwardContext& ctx) {
    ctx.accumulate(0, apply_binary("operator/", BinaryOp::div, ctx.grad(), b));
  });
  return y;
}

Tensor operator+(double a, const Tensor& b) {
  return b + a;
}

Tensor operator-(double a, const Tensor& b) {
  Tensor y = apply_binary("operator-", BinaryOp::sub, a, b);
  record(y, {b}, [](BackwardContext& ctx) { ctx.accumulate(0, scaled(ctx.grad(), -1)); });
  return y;
}

Tensor operator*(double a, const Tensor& b) {
  return b * a;
}

Tensor operator/(double a, const Tensor& b) {
  Tensor y = apply_binary("operator/", BinaryOp::div, a, b);
  if (needs_record({&b})) {
    record(y, {b}, [b = b.detach(), y = y.detach()](BackwardContext& ctx) {
      const Tensor over_b = apply_binary("operator/", BinaryOp::div, ctx.grad(), b);
      ctx.accumulate(0, scaled(times(over_b, y), -1));
    });
  }
  return y;
}

Tensor maximum(const Tensor& a, const Tensor& b) {
  return choose("maximum", BinaryOp::maximum, a, b, false);
}

Tensor minimum(const Tensor& a, const Tensor& b) {
  return choose("minimum", BinaryOp::minimum, a, b, true);
}

Tensor pow(const Tensor& a, double exponent) {
  Tensor y = apply_binary("pow", BinaryOp::pow, a, exponent);
  if (needs_record({&a})) {
    record(y, {a}, [a = a.detach(), exponent](BackwardContext& ctx) {
      if (exponent == 0) return;
      const Tensor power = apply_binary("pow", BinaryOp::pow, a, exponent - 1);
      ctx.accumulate(0, times(ctx.grad(), scaled(power, exponent)));
    });
  }
  return y;
}

Tensor exp(const Tensor& a) {
  Tensor y = apply_unary("exp", UnaryOp::exp, a);
  if (needs_record({&a})) {
    record(y, {a}, [y = y.detach()](BackwardContext& ctx) { ctx.accumulate(0, times(ctx.grad(), y)); });
  }
  return y;
}

Tensor log(const Tensor& a) {
  Tensor y = apply_unary("log", UnaryOp::log, a);
  if (needs_record({&a})) {
    record(y, {a}, [a = a.detach()](BackwardContext& ctx) {
      ctx.accumulate(0, apply_binary("log", BinaryOp::div, ctx.grad(), a));
    });
  }
  return y;
}

Tensor sqrt(const Tensor& a) {
  Tensor y = apply_unary("sqrt", UnaryOp::sqrt, a);
  if (needs_record({&a})) {
    record(y, {a}, [y = y.detach()](BackwardContext& ctx) {
      const Tensor positive = apply_binary("sqrt", BinaryOp::less, 0, y);
      const Tensor divisor = 2.0 * y + (1.0 - positive);  // never 0
      ctx.accumulate(0, times(ctx.grad(), positive) / divisor);
    });
  }
  return y;
}

Tensor abs(const Tensor& a) {
  Tensor y = apply_unary("abs", UnaryOp::abs, a);
  if (needs_record({&a})) {
    record(y, {a}, [a = a.detach()](BackwardContext& ctx) {
      const Tensor sign =
          apply_binary("abs", BinaryOp::less, 0, a) - apply_binary("abs", BinaryOp::less, a, 0);
      ctx.accumulate(0, times(ctx.grad(), sign));
    });
  }
  return y;
}

Tensor square(const Tensor& a) {
  Tensor y = apply_unary("square", UnaryOp::square, a);
  if (needs_record({&a})) {
    record(y, {a},
           [a = a.detach()](BackwardContext& ctx) { ctx.accumulate(0, scaled(times(ctx.grad(), a), 2)); });
  }
  return y;
}

Tensor clamp(const Tensor& a, double low, double high) {
  detail::check_defined("clamp", a);
  Tensor y = detail::empty_like(a);
  detail::dispatch_float("clamp", a.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::clamp<T>(detail::exec_of(a), detail::span_of<T>(a), static_cast<T>(low), static_cast<T>(high),
                      detail::mutable_span_of<T>(y));
  });
  if (needs_record({&a})) {
    record(y, {a}, [a = a.detach(), low, high](BackwardContext& ctx) {
      const Tensor inside = times(apply_binary("clamp", BinaryOp::less_equal, low, a),
                                  apply_binary("clamp", BinaryOp::less_equal, a, high));
      ctx.accumulate(0, times(ctx.grad(), inside));
    });
  }
  return y;
}

Tensor less(const Tensor& a, const Tensor& b) {
  return apply_binary("less", BinaryOp::less, a, b);
}
Tensor less_equal(const Tensor& a, const Tensor& b) {
  return apply_binary("less_equal", BinaryOp::less_equal, a, b);
}
Tensor equal(const Tensor& a, const Tensor& b) {
  return apply_binary("equal", BinaryOp::equal, a, b);
}

}  // namespace flatland
