// The functions of kernels/vecmath.h by name, for one value and on arrays, compiled once for each
// instruction-set level.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/vecmath.h>

#include <cstdint>

namespace flatland::test {

enum class Function { exp, expm1, log, log1p, softplus, sigmoid, tanh, sqrt };

// V: a number, or a register of a level.
template <class V>
FLATLAND_HD V value(Function function, V x) {
  switch (function) {
    case Function::exp:
      return kernels::exp(x);
    case Function::expm1:
      return kernels::expm1(x);
    case Function::log:
      return kernels::log(x);
    case Function::log1p:
      return kernels::log1p(x);
    case Function::softplus:
      return kernels::softplus(x);
    case Function::sigmoid:
      return kernels::sigmoid(x);
    case Function::tanh:
      return kernels::tanh(x);
    case Function::sqrt:
      break;
  }
  return kernels::sqrt(x);
}

template <kernels::Isa I, class T>
void apply_function(Function function, const T* x, T* y, std::int64_t n);

}  // namespace flatland::test
