#include <flatland/kernels/divergence_formulas.h>
#include <flatland/kernels/divergence_simd.h>
#include <flatland/kernels/lane_sum_simd.h>
#include <flatland/kernels/range_simd.h>

namespace flatland::kernels {

template <Isa I, class T>
double kl_range(double eps, const T* p, const T* q, std::int64_t n) {
  const T e = static_cast<T>(eps);
  LaneSum<T, I> sum;
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    const Vec<T, I> inverse = kl_inverse(load_part<I>(q + i, width, T(0)), e);
    sum.add(kl_term(load_part<I>(p + i, width, T(0)), inverse, e));
  });
  return sum.total();
}

template <Isa I, class T>
void kl_backward_range(double eps, T scale, const T* p, const T* q, T* dq, T* dp, std::int64_t n) {
  const T e = static_cast<T>(eps);
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    const Vec<T, I> pi = load_part<I>(p + i, width, T(0));
    const Vec<T, I> inverse = kl_inverse(load_part<I>(q + i, width, T(0)), e);
    if (dq) store_part<I, T>(dq + i, scale * kl_term_dq(pi, inverse), width);
    if (dp) store_part<I, T>(dp + i, scale * kl_term_dp(pi, inverse, e), width);
  });
}

template <Isa I, class T>
double fuzzy_range(double eps, const T* p, const T* q, std::int64_t n) {
  LaneSum<T, I> sum;
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    // Past the end p = 0 and q = 0 add -log 1.
    sum.add(
        fuzzy_term(load_part<I>(p + i, width, T(0)), load_part<I>(q + i, width, T(0)), static_cast<T>(eps)));
  });
  return sum.total();
}

template <Isa I, class T>
void fuzzy_backward_range(double eps, T scale, const T* p, const T* q, T* dq, std::int64_t n) {
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    const Vec<T, I> pi = load_part<I>(p + i, width, T(0));
    const Vec<T, I> qi = load_part<I>(q + i, width, T(0));
    store_part<I, T>(dq + i, scale * fuzzy_term_dq(pi, qi, static_cast<T>(eps)), width);
  });
}

#define FLATLAND_DIVERGENCE(T)                                                                       \
  template double kl_range<this_isa, T>(double, const T*, const T*, std::int64_t);                   \
  template void kl_backward_range<this_isa, T>(double, T, const T*, const T*, T*, T*, std::int64_t); \
  template double fuzzy_range<this_isa, T>(double, const T*, const T*, std::int64_t);                \
  template void fuzzy_backward_range<this_isa, T>(double, T, const T*, const T*, T*, std::int64_t);
FLATLAND_DIVERGENCE(float)
FLATLAND_DIVERGENCE(double)

}  // namespace flatland::kernels
