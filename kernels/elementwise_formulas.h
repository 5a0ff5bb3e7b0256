// The operations of elementwise.h, for scalars and vectors.
#pragma once

#include <flatland/kernels/elementwise.h>
#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

namespace detail {
FLATLAND_HD float power(float a, float b) {
  return __builtin_powf(a, b);
}
FLATLAND_HD double power(double a, double b) {
  return __builtin_pow(a, b);
}
template <class V>
FLATLAND_HD V power(V a, V b) {
  for (unsigned k = 0; k < sizeof(V) / sizeof(a[0]); ++k)
    a[k] = power(scalar_of<V>(a[k]), scalar_of<V>(b[k]));
  return a;
}
}  // namespace detail

// The operations as function objects, so that loops know their formula.
template <UnaryOp op>
struct Unary {
  template <class V>
  FLATLAND_HD V operator()(V x) const {
    using enum UnaryOp;
    if constexpr (op == neg) return -x;
    if constexpr (op == exp) return kernels::exp(x);
    if constexpr (op == log) return kernels::log(x);
    if constexpr (op == sqrt) return kernels::sqrt(x);
    if constexpr (op == abs) return kernels::abs(x);
    if constexpr (op == square) return x * x;
    if constexpr (op == reciprocal) return splat<V>(scalar_of<V>(1)) / x;
  }
};

// Of maximum and minimum, NaN wins.
template <BinaryOp op>
struct Binary {
  template <class V>
  FLATLAND_HD V operator()(V a, V b) const {
    using enum BinaryOp;
    [[maybe_unused]] const V one = splat<V>(scalar_of<V>(1)), zero{};
    if constexpr (op == add) return a + b;
    if constexpr (op == sub) return a - b;
    if constexpr (op == mul) return a * b;
    if constexpr (op == div) return a / b;
    if constexpr (op == maximum) return select((a > b) | (a != a), a, b);
    if constexpr (op == minimum) return select((a < b) | (a != a), a, b);
    if constexpr (op == pow) return detail::power(a, b);
    if constexpr (op == less) return select(a < b, one, zero);
    if constexpr (op == less_equal) return select(a <= b, one, zero);
    if constexpr (op == equal) return select(a == b, one, zero);
  }
};

// alpha x, and alpha x + beta y.
template <class T>
struct Axpby {
  T alpha, beta;
  template <class V>
  FLATLAND_HD V operator()(V x) const {
    return alpha * x;
  }
  template <class V>
  FLATLAND_HD V operator()(V x, V y) const {
    return alpha * x + beta * y;
  }
};

// NaN stays NaN.
template <class T>
struct Clamp {
  T low, high;
  template <class V>
  FLATLAND_HD V operator()(V x) const {
    const V raised = select(x < low, splat<V>(low), x);
    return select(raised > high, splat<V>(high), raised);
  }
};

// Calls f(Unary<op>{}), f(Binary<op>{}).
template <class F>
FLATLAND_HD void with_op(UnaryOp op, const F& f) {
  using enum UnaryOp;
  switch (op) {
    case neg:
      return f(Unary<neg>{});
    case exp:
      return f(Unary<exp>{});
    case log:
      return f(Unary<log>{});
    case sqrt:
      return f(Unary<sqrt>{});
    case abs:
      return f(Unary<abs>{});
    case square:
      return f(Unary<square>{});
    case reciprocal:
      return f(Unary<reciprocal>{});
  }
}
template <class F>
FLATLAND_HD void with_op(BinaryOp op, const F& f) {
  using enum BinaryOp;
  switch (op) {
    case add:
      return f(Binary<add>{});
    case sub:
      return f(Binary<sub>{});
    case mul:
      return f(Binary<mul>{});
    case div:
      return f(Binary<div>{});
    case maximum:
      return f(Binary<maximum>{});
    case minimum:
      return f(Binary<minimum>{});
    case pow:
      return f(Binary<pow>{});
    case less:
      return f(Binary<less>{});
    case less_equal:
      return f(Binary<less_equal>{});
    case equal:
      return f(Binary<equal>{});
  }
}

}  // namespace flatland::kernels
