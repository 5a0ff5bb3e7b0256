// Private: the parts of optimizer.h that are compiled once an instruction-set level.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/optimizer.h>

namespace flatland::kernels {

// The constants of one step, computed in double and rounded once.
template <class T>
struct SgdConstants {
  T lr, momentum, one_minus_dampening, weight_decay;
  bool nesterov, first;
};
template <class T>
struct AdamConstants {
  T step_size;     // lr / (1 - beta1^t)
  T denom_factor;  // 1 / sqrt(1 - beta2^t)
  T beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
  T weight_decay;  // added to the gradient; 0 when decoupled
  T shrink;        // 1 - lr weight_decay when decoupled, else 1
};

template <Isa I, class T>
void sgd_tile(const SgdConstants<T>& c, T* value, const T* grad, T* velocity, std::int64_t n);
template <Isa I, class T>
void adam_tile(const AdamConstants<T>& c, T* value, const T* grad, T* m, T* v, std::int64_t n);

}  // namespace flatland::kernels
