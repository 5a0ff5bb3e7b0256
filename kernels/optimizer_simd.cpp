#include <flatland/kernels/lane_sum_simd.h>
#include <flatland/kernels/optimizer_simd.h>
#include <flatland/kernels/range_simd.h>

namespace flatland::kernels {

template <Isa I, class T>
void sgd_tile(const SgdConstants<T>& constants, T* __restrict__ value, const T* __restrict__ grad,
              T* __restrict__ velocity, std::int64_t n) {
  const SgdConstants<T> c = constants;
  if (velocity == nullptr) {
    for (std::int64_t i = 0; i < n; ++i) sgd_update(c, value[i], grad[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) sgd_update(c, value[i], grad[i], velocity[i]);
  }
}

template <Isa I, class T>
void adam_tile(const AdamConstants<T>& constants, T* __restrict__ value, const T* __restrict__ grad,
               T* __restrict__ m, T* __restrict__ v, T* __restrict__ largest, std::int64_t n) {
  const AdamConstants<T> c = constants;
  if (largest == nullptr) {
    for (std::int64_t i = 0; i < n; ++i) {
      T present;
      adam_update<false>(c, value[i], grad[i], m[i], v[i], present);
    }
  } else {
    for (std::int64_t i = 0; i < n; ++i) adam_update<true>(c, value[i], grad[i], m[i], v[i], largest[i]);
  }
}

namespace {

template <bool has_m, bool has_mean, class T>
void rmsprop_loop(const RmspropConstants<T>& constants, T* __restrict__ value, const T* __restrict__ grad,
                  T* __restrict__ m, T* __restrict__ v, T* __restrict__ mean, std::int64_t n) {
  const RmspropConstants<T> c = constants;
  for (std::int64_t i = 0; i < n; ++i) {
    T step = has_m ? m[i] : T(0), centre = has_mean ? mean[i] : T(0);
    rmsprop_update(c, value[i], grad[i], step, v[i], centre);
    if constexpr (has_m) m[i] = step;
    if constexpr (has_mean) mean[i] = centre;
  }
}

}  // namespace

template <Isa I, class T>
void rmsprop_tile(const RmspropConstants<T>& c, T* value, const T* grad, T* m, T* v, T* mean,
                  std::int64_t n) {
  if (m != nullptr && mean != nullptr) return rmsprop_loop<true, true>(c, value, grad, m, v, mean, n);
  if (m != nullptr) return rmsprop_loop<true, false>(c, value, grad, m, v, mean, n);
  if (mean != nullptr) return rmsprop_loop<false, true>(c, value, grad, m, v, mean, n);
  rmsprop_loop<false, false>(c, value, grad, m, v, mean, n);
}

template <Isa I, class T>
double square_sum(const T* x, std::int64_t n) {
  LaneSum<T, I> sum;
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    const Vec<T, I> v = load_part<I>(x + i, width);
    sum.add(v * v);
  });
  return sum.total();
}

template <Isa I, class T>
void scale_values(T factor, T* x, std::int64_t n) {
  for_vectors<T, I>(n, [&](std::int64_t i, std::int64_t width) {
    store_part<I, T>(x + i, factor * load_part<I>(x + i, width), width);
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                          \
  template void sgd_tile<this_isa, T>(const SgdConstants<T>&, T*, const T*, T*, std::int64_t);           \
  template void adam_tile<this_isa, T>(const AdamConstants<T>&, T*, const T*, T*, T*, T*, std::int64_t); \
  template void rmsprop_tile<this_isa, T>(const RmspropConstants<T>&, T*, const T*, T*, T*, T*,          \
                                          std::int64_t);                                                 \
  template double square_sum<this_isa, T>(const T*, std::int64_t);                                       \
  template void scale_values<this_isa, T>(T, T*, std::int64_t)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
