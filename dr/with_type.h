// From a tensor's floating type to a template argument (private to this folder).
#pragma once

#include <flatland/engine/tensor.h>

namespace flatland {

// f(0.0f) or f(0.0).
template <class F>
auto with_type(const Tensor& values, F&& f) {
  return values.dtype() == Dtype::float32 ? f(float{}) : f(double{});
}

}  // namespace flatland
