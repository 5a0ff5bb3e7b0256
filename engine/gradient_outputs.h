// For the engine itself: what backward kernels write to, or nothing where no gradient is wanted.
#pragma once

#include <flatland/engine/op_inputs.h>

namespace flatland::detail {

inline Tensor empty_if(bool wanted, const Tensor& like) {
  return wanted ? empty_like(like) : Tensor();
}

template <class T>
kernels::MatView<T> maybe_matrix(Tensor& t) {
  return t.defined() ? t.mutable_matrix<T>() : kernels::MatView<T>();
}
template <class T>
std::span<T> maybe_span(Tensor& t) {
  return t.defined() ? mutable_span_of<T>(t) : std::span<T>();
}
template <class T>
T* maybe_data(Tensor& t) {
  return t.defined() ? t.mutable_data<T>() : nullptr;
}

}  // namespace flatland::detail
