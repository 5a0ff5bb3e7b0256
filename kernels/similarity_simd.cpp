#include <flatland/kernels/lane_sum_simd.h>
#include <flatland/kernels/range_simd.h>
#include <flatland/kernels/similarity_formulas.h>
#include <flatland/kernels/similarity_simd.h>

namespace flatland::kernels {

namespace {

template <Isa I, class T, class Kernel>
void evaluate(const Kernel& kernel, const T* dist, T* q, std::int64_t n) {
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    const Vec<T, I> d = load_part<I>(dist + i, width, T(1));
    store_part<I, T>(q + i, kernel.weight(d * d), width);
  });
}

template <Isa I, bool with_alpha, class T, class Kernel>
double backward(const Kernel& kernel, const T* dist, const T* q, const T* g, T* d_dist, std::int64_t n) {
  LaneSum<T, I> alpha_sum;
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    using V = Vec<T, I>;
    const V d = load_part<I>(dist + i, width, T(1));
    const V w = load_part<I>(q + i, width, T(0));
    const V gi = load_part<I>(g + i, width, T(0));
    if constexpr (with_alpha) alpha_sum.add(gi * kernel.alpha_slope(d * d, w));
    if (d_dist) store_part<I, T>(d_dist + i, gi * kernel.slope(d * d, w) * (T(2) * d), width);
  });
  return alpha_sum.total();
}

template <Isa I, class T, class Kernel>
double backward(bool with_alpha, const Kernel& kernel, const T* dist, const T* q, const T* g, T* d_dist,
                std::int64_t n) {
  return with_alpha ? backward<I, true>(kernel, dist, q, g, d_dist, n)
                    : backward<I, false>(kernel, dist, q, g, d_dist, n);
}

}  // namespace

template <Isa I, class T>
void student_t_range(double alpha, const T* dist, T* q, std::int64_t n) {
  if (alpha == 1) return evaluate<I>(StudentT<T, true>(alpha), dist, q, n);
  evaluate<I>(StudentT<T, false>(alpha), dist, q, n);
}

template <Isa I, class T>
double student_t_backward_range(double alpha, bool with_alpha, const T* dist, const T* q, const T* g,
                                T* d_dist, std::int64_t n) {
  if (alpha == 1) return backward<I>(with_alpha, StudentT<T, true>(alpha), dist, q, g, d_dist, n);
  return backward<I>(with_alpha, StudentT<T, false>(alpha), dist, q, g, d_dist, n);
}

template <Isa I, class T>
void modified_cauchy_range(double a, double b, const T* dist, T* q, std::int64_t n) {
  const ModifiedCauchy<T> kernel(a, b);
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    store_part<I, T>(q + i, kernel.value(load_part<I>(dist + i, width, T(1))), width);
  });
}

template <Isa I, class T>
CauchyGradient<double> modified_cauchy_backward_range(double a, double b, const T* dist, const T* q,
                                                      const T* g, T* d_dist, std::int64_t n) {
  const ModifiedCauchy<T> kernel(a, b);
  LaneSum<T, I> da;
  LaneSum<T, I> db;
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    const Vec<T, I> gi = load_part<I>(g + i, width, T(0));
    const auto slopes = kernel.slopes(load_part<I>(dist + i, width, T(1)), load_part<I>(q + i, width, T(0)));
    da.add(gi * slopes.a);
    db.add(gi * slopes.b);
    if (d_dist) store_part<I, T>(d_dist + i, gi * slopes.dist, width);
  });
  return {da.total(), db.total()};
}

#define FLATLAND_SIMILARITY(T)                                                                          \
  template void student_t_range<this_isa, T>(double, const T*, T*, std::int64_t);                       \
  template double student_t_backward_range<this_isa, T>(double, bool, const T*, const T*, const T*, T*, \
                                                        std::int64_t);                                  \
  template void modified_cauchy_range<this_isa, T>(double, double, const T*, T*, std::int64_t);         \
  template CauchyGradient<double> modified_cauchy_backward_range<this_isa, T>(                          \
      double, double, const T*, const T*, const T*, T*, std::int64_t);
FLATLAND_SIMILARITY(float)
FLATLAND_SIMILARITY(double)

}  // namespace flatland::kernels
