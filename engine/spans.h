// For the libraries themselves: a tensor's values as kernels take them.
#pragma once

#include <flatland/engine/tensor.h>

#include <span>

namespace flatland::detail {

// All values in a row, in memory of the tensor's device; Tensor::values() is for the host.
template <class T>
std::span<const T> span_of(const Tensor& t) {
  return {t.data<T>(), static_cast<std::size_t>(t.numel())};
}
template <class T>
std::span<T> mutable_span_of(Tensor& t) {
  return {t.mutable_data<T>(), static_cast<std::size_t>(t.numel())};
}

}  // namespace flatland::detail
