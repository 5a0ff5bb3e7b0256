#include <flatland/kernels/elementwise_formulas.h>
#include <flatland/kernels/elementwise_simd.h>

namespace flatland::kernels {

namespace {

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
  with_op(op, [&](auto formula) { map<I>(x, y, n, formula); });
}

template <Isa I, class T>
void binary_dense(BinaryOp op, const T* a, const T* b, T* y, std::int64_t n) {
  with_op(op, [&](auto formula) { map<I>(a, b, y, n, formula); });
}

template <Isa I, class T>
void axpby_dense(T alpha, const T* x, T beta, T* y, std::int64_t n) {
  const Axpby<T> formula{alpha, beta};
  if (beta == 0) return map<I>(x, y, n, formula);
  map<I>(x, y, y, n, formula);
}

template <Isa I, class T>
void clamp_dense(const T* x, T low, T high, T* y, std::int64_t n) {
  map<I>(x, y, n, Clamp<T>{low, high});
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
