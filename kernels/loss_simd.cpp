#include <flatland/kernels/lane_sum_simd.h>
#include <flatland/kernels/loss_formulas.h>
#include <flatland/kernels/loss_simd.h>
#include <flatland/kernels/range_simd.h>

namespace flatland::kernels {

namespace {

// The first `width` lanes, the others 0.
template <Isa I, class T>
FLATLAND_HD Vec<T, I> first_lanes(Vec<T, I> v, std::int64_t width) {
  constexpr int W = lanes<T, I>;
  if (width >= W) return v;
  T lane[W] = {};
  store_first<I>(lane, v, width);
  return load<I>(lane);
}

}  // namespace

template <Isa I, class T>
double point_loss_range(const LossRule& rule, T share, const T* x, const T* target, T* loss, T* dx,
                        std::int64_t n) {
  LaneSum<T, I> sum;
  with_loss<T>(rule, [&](auto point) {
    for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
      const Vec<T, I> xi = load_part<I>(x + i, width), ti = load_part<I>(target + i, width);
      const Vec<T, I> value = point.value(xi, ti);
      sum.add(first_lanes<I, T>(value, width));
      if (loss != nullptr) store_part<I>(loss + i, value, width);
      if (dx != nullptr) store_part<I, T>(dx + i, share * point.derivative(xi, ti), width);
    });
  });
  return sum.total();
}

template <Isa I, class T>
double gaussian_loss_range(const GaussianRule& rule, T share, const T* mean, const T* variance,
                           const T* target, T* loss, T* d_mean, T* d_variance, std::int64_t n) {
  const T eps = static_cast<T>(rule.eps), constant = gaussian_constant<T>(rule.full);
  LaneSum<T, I> sum;
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    const GaussianLoss<Vec<T, I>> one(load_part<I>(mean + i, width), load_part<I>(variance + i, width, T(1)),
                                      load_part<I>(target + i, width), eps, constant);
    sum.add(first_lanes<I, T>(one.value, width));
    if (loss != nullptr) store_part<I>(loss + i, one.value, width);
    if (d_mean != nullptr) store_part<I, T>(d_mean + i, share * one.d_mean, width);
    if (d_variance != nullptr) store_part<I, T>(d_variance + i, share * one.d_variance, width);
  });
  return sum.total();
}

template <Isa I, class T>
double triplet_loss_row(const TripletRule& rule, T share, const T* anchor, const T* positive,
                        const T* negative, T* loss, T* d_anchor, T* d_positive, T* d_negative,
                        std::int64_t d) {
  const T eps = static_cast<T>(rule.eps);
  const auto apart = [&](const T* other, std::int64_t j, std::int64_t width) {
    return first_lanes<I, T>(load_part<I>(anchor + j, width) - load_part<I>(other + j, width) + eps, width);
  };
  Vec<T, I> near{}, far{};
  for_vectors<T, I>(d, [&](std::int64_t j, std::int64_t width) {
    const Vec<T, I> to_positive = apart(positive, j, width), to_negative = apart(negative, j, width);
    near = fma(to_positive, to_positive, near);
    far = fma(to_negative, to_negative, far);
  });
  const TripletLoss<T> one(add_lanes<I, T>(near), add_lanes<I, T>(far), static_cast<T>(rule.margin), share);
  if (loss != nullptr) *loss = one.value;
  for_vectors<T, I>(d, [&](std::int64_t j, std::int64_t width) {
    const Vec<T, I> to_positive = one.near * apart(positive, j, width),
                    to_negative = one.far * apart(negative, j, width);
    if (d_anchor != nullptr) store_part<I, T>(d_anchor + j, to_positive - to_negative, width);
    if (d_positive != nullptr) store_part<I, T>(d_positive + j, -to_positive, width);
    if (d_negative != nullptr) store_part<I, T>(d_negative + j, to_negative, width);
  });
  return static_cast<double>(one.value);
}

#define FLATLAND_INSTANTIATE(T)                                                                              \
  template double point_loss_range<this_isa, T>(const LossRule&, T, const T*, const T*, T*, T*,              \
                                                std::int64_t);                                               \
  template double gaussian_loss_range<this_isa, T>(const GaussianRule&, T, const T*, const T*, const T*, T*, \
                                                   T*, T*, std::int64_t);                                    \
  template double triplet_loss_row<this_isa, T>(const TripletRule&, T, const T*, const T*, const T*, T*, T*, \
                                                T*, T*, std::int64_t)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
