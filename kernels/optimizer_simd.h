// Private: the parts of optimizer.h that are compiled once an instruction-set level.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/optimizer_formulas.h>

namespace flatland::kernels {

// Without velocity the plain step.
template <Isa I, class T>
void sgd_tile(const SgdConstants<T>& c, T* value, const T* grad, T* velocity, std::int64_t n);
// AMSGrad where `largest` is given.
template <Isa I, class T>
void adam_tile(const AdamConstants<T>& c, T* value, const T* grad, T* m, T* v, T* largest, std::int64_t n);
// Without m no momentum, without `mean` not centered.
template <Isa I, class T>
void rmsprop_tile(const RmspropConstants<T>& c, T* value, const T* grad, T* m, T* v, T* mean, std::int64_t n);
// The sum of the squares, in double.
template <Isa I, class T>
double square_sum(const T* x, std::int64_t n);
template <Isa I, class T>
void scale_values(T factor, T* x, std::int64_t n);

}  // namespace flatland::kernels
