#include <flatland/kernels/optimizer_simd.h>
#include <flatland/kernels/simd.h>

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
               T* __restrict__ m, T* __restrict__ v, std::int64_t n) {
  const AdamConstants<T> c = constants;
  for (std::int64_t i = 0; i < n; ++i) adam_update(c, value[i], grad[i], m[i], v[i]);
}

template void sgd_tile<this_isa, float>(const SgdConstants<float>&, float*, const float*, float*,
                                        std::int64_t);
template void sgd_tile<this_isa, double>(const SgdConstants<double>&, double*, const double*, double*,
                                         std::int64_t);
template void adam_tile<this_isa, float>(const AdamConstants<float>&, float*, const float*, float*, float*,
                                         std::int64_t);
template void adam_tile<this_isa, double>(const AdamConstants<double>&, double*, const double*, double*,
                                          double*, std::int64_t);

}  // namespace flatland::kernels
