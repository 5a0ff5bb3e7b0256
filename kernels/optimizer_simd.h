// Private: the parts of optimizer.h that are compiled once an instruction-set level.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/optimizer_formulas.h>

namespace flatland::kernels {

// Without velocity the plain step.
template <Isa I, class T>
void sgd_tile(const SgdConstants<T>& c, T* value, const T* grad, T* velocity, std::int64_t n);
template <Isa I, class T>
void adam_tile(const AdamConstants<T>& c, T* value, const T* grad, T* m, T* v, std::int64_t n);

}  // namespace flatland::kernels
