#include <flatland/kernels/optimizer_simd.h>
#include <flatland/kernels/simd.h>

namespace flatland::kernels {

namespace {

FLATLAND_HD float root(float x) {
  return __builtin_sqrtf(x);
}
FLATLAND_HD double root(double x) {
  return __builtin_sqrt(x);
}

}  // namespace

template <Isa I, class T>
void sgd_tile(const SgdConstants<T>& constants, T* __restrict__ value, const T* __restrict__ grad,
              T* __restrict__ velocity, std::int64_t n) {
  const SgdConstants<T> c = constants;
  if (velocity == nullptr) {
    for (std::int64_t i = 0; i < n; ++i) value[i] -= c.lr * (grad[i] + c.weight_decay * value[i]);
    return;
  }
  // The first velocity is the gradient itself, undamped (PyTorch).
  const T keep = c.first ? T(0) : c.momentum;
  const T take = c.first ? T(1) : c.one_minus_dampening;
  const T direct = c.nesterov ? T(1) : T(0);
  const T through = c.nesterov ? c.momentum : T(1);
  for (std::int64_t i = 0; i < n; ++i) {
    const T g = grad[i] + c.weight_decay * value[i];
    const T moved = keep * velocity[i] + take * g;
    velocity[i] = moved;
    value[i] -= c.lr * (direct * g + through * moved);
  }
}

template <Isa I, class T>
void adam_tile(const AdamConstants<T>& constants, T* __restrict__ value, const T* __restrict__ grad,
               T* __restrict__ m, T* __restrict__ v, std::int64_t n) {
  const AdamConstants<T> c = constants;
  for (std::int64_t i = 0; i < n; ++i) {
    const T g = grad[i] + c.weight_decay * value[i];
    const T mi = c.beta1 * m[i] + c.one_minus_beta1 * g;
    const T vi = c.beta2 * v[i] + c.one_minus_beta2 * (g * g);
    m[i] = mi;
    v[i] = vi;
    value[i] = c.shrink * value[i] - c.step_size * (mi / (root(vi) * c.denom_factor + c.eps));
  }
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
