#include <flatland/kernels/elementwise_simd.h>
#include <flatland/kernels/simd.h>
#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

namespace {

template <Isa I, class T>
FLATLAND_HD Vec<T, I> power(Vec<T, I> a, Vec<T, I> b) {
  for (int k = 0; k < lanes<T, I>; ++k) {
    a[k] = sizeof(T) == 4
               ? static_cast<T>(__builtin_powf(static_cast<float>(a[k]), static_cast<float>(b[k])))
               : static_cast<T>(__builtin_pow(static_cast<double>(a[k]), static_cast<double>(b[k])));
  }
  return a;
}

// y[i] = f(x[i]) by whole vectors, the last one partial.
template <Isa I, class T, class F>
FLATLAND_HD void map(const T* x, T* y, std::int64_t n, F f) {
  constexpr int W = lanes<T, I>;
  std::int64_t i = 0;
  for (; i + W <= n; i += W) store<I>(y + i, f(load<I>(x + i)));
  if (i < n) store_first<I>(y + i, f(load_first<I>(x + i, n - i, T(1))), n - i);
}
template <Isa I, class T, class F>
FLATLAND_HD void map(const T* a, const T* b, T* y, std::int64_t n, F f) {
  constexpr int W = lanes<T, I>;
  std::int64_t i = 0;
  for (; i + W <= n; i += W) store<I>(y + i, f(load<I>(a + i), load<I>(b + i)));
  if (i < n) {
    store_first<I>(y + i, f(load_first<I>(a + i, n - i, T(1)), load_first<I>(b + i, n - i, T(1))), n - i);
  }
}

}  // namespace

template <Isa I, class T>
void unary_dense(UnaryOp op, const T* x, T* y, std::int64_t n) {
  using V = Vec<T, I>;
  const V one = broadcast<I>(T(1));
  switch (op) {
    case UnaryOp::neg:
      return map<I>(x, y, n, [](V v) { return -v; });
    case UnaryOp::exp:
      return map<I>(x, y, n, [](V v) { return exp(v); });
    case UnaryOp::log:
      return map<I>(x, y, n, [](V v) { return log(v); });
    case UnaryOp::sqrt:
      return map<I>(x, y, n, [](V v) { return sqrt(v); });
    case UnaryOp::abs:
      return map<I>(x, y, n, [](V v) { return abs(v); });
    case UnaryOp::square:
      return map<I>(x, y, n, [](V v) { return v * v; });
    case UnaryOp::reciprocal:
      return map<I>(x, y, n, [one](V v) { return one / v; });
  }
}

// Of maximum and minimum, NaN wins.
template <Isa I, class T>
void binary_dense(BinaryOp op, const T* a, const T* b, T* y, std::int64_t n) {
  using V = Vec<T, I>;
  const V one = broadcast<I>(T(1)), zero{};
  switch (op) {
    case BinaryOp::add:
      return map<I>(a, b, y, n, [](V u, V v) { return u + v; });
    case BinaryOp::sub:
      return map<I>(a, b, y, n, [](V u, V v) { return u - v; });
    case BinaryOp::mul:
      return map<I>(a, b, y, n, [](V u, V v) { return u * v; });
    case BinaryOp::div:
      return map<I>(a, b, y, n, [](V u, V v) { return u / v; });
    case BinaryOp::maximum:
      return map<I>(a, b, y, n, [](V u, V v) { return ((u > v) | (u != u)) ? u : v; });
    case BinaryOp::minimum:
      return map<I>(a, b, y, n, [](V u, V v) { return ((u < v) | (u != u)) ? u : v; });
    case BinaryOp::pow:
      return map<I>(a, b, y, n, [](V u, V v) { return power<I, T>(u, v); });
    case BinaryOp::less:
      return map<I>(a, b, y, n, [=](V u, V v) { return (u < v) ? one : zero; });
    case BinaryOp::less_equal:
      return map<I>(a, b, y, n, [=](V u, V v) { return (u <= v) ? one : zero; });
    case BinaryOp::equal:
      return map<I>(a, b, y, n, [=](V u, V v) { return (u == v) ? one : zero; });
  }
}

template <Isa I, class T>
void axpby_dense(T alpha, const T* x, T beta, T* y, std::int64_t n) {
  using V = Vec<T, I>;
  const V va = broadcast<I>(alpha), vb = broadcast<I>(beta);
  if (beta == 0) return map<I>(x, y, n, [=](V u) { return va * u; });
  map<I>(x, y, y, n, [=](V u, V v) { return va * u + vb * v; });
}

template <Isa I, class T>
void clamp_dense(const T* x, T low, T high, T* y, std::int64_t n) {
  using V = Vec<T, I>;
  const V vl = broadcast<I>(low), vh = broadcast<I>(high);
  map<I>(x, y, n, [=](V v) {
    const V raised = (v < vl) ? vl : v;
    return (raised > vh) ? vh : raised;
  });
}

template void unary_dense<this_isa>(UnaryOp, const float*, float*, std::int64_t);
template void unary_dense<this_isa>(UnaryOp, const double*, double*, std::int64_t);
template void binary_dense<this_isa>(BinaryOp, const float*, const float*, float*, std::int64_t);
template void binary_dense<this_isa>(BinaryOp, const double*, const double*, double*, std::int64_t);
template void axpby_dense<this_isa>(float, const float*, float, float*, std::int64_t);
template void axpby_dense<this_isa>(double, const double*, double, double*, std::int64_t);
template void clamp_dense<this_isa>(const float*, float, float, float*, std::int64_t);
template void clamp_dense<this_isa>(const double*, double, double, double*, std::int64_t);

}  // namespace flatland::kernels
