#pragma once

#include <flatland/kernels/dropout.h>

namespace flatland::kernels::cuda {

template <class T>
void dropout(const Exec& exec, double p, DropoutState* state, std::span<const T> x, std::span<T> mask,
             std::span<T> y);

}  // namespace flatland::kernels::cuda
