// The functions of kernels/vecmath.h on arrays, compiled once for each instruction-set level.
#pragma once

#include <flatland/kernels/isa.h>

#include <cstdint>

namespace flatland::test {

enum class Function { exp, expm1, log, log1p, softplus, sigmoid, tanh, sqrt };

template <kernels::Isa I, class T>
void apply_function(Function function, const T* x, T* y, std::int64_t n);

}  // namespace flatland::test
