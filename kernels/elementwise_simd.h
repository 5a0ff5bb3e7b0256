// Private: the parts of elementwise.h that are compiled once an instruction-set level.
#pragma once

#include <flatland/kernels/elementwise.h>
#include <flatland/kernels/isa.h>

namespace flatland::kernels {

// All on n dense values; y may be an input.
template <Isa I, class T>
void unary_dense(UnaryOp op, const T* x, T* y, std::int64_t n);
template <Isa I, class T>
void binary_dense(BinaryOp op, const T* a, const T* b, T* y, std::int64_t n);
template <Isa I, class T>
void axpby_dense(T alpha, const T* x, T beta, T* y, std::int64_t n);
template <Isa I, class T>
void clamp_dense(const T* x, T low, T high, T* y, std::int64_t n);

}  // namespace flatland::kernels
