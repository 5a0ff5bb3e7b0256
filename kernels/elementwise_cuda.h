#pragma once

#include <flatland/kernels/elementwise.h>

namespace flatland::kernels::cuda {

template <class T>
void unary(const Exec& exec, UnaryOp op, std::span<const T> x, std::span<T> y);
template <class T>
void binary(const Exec& exec, BinaryOp op, const std::array<std::int64_t, 4>& shape, Strided<const T> a,
            Strided<const T> b, T* y);
template <class T>
void axpby(const Exec& exec, T alpha, std::span<const T> x, T beta, std::span<T> y);
template <class T>
void fill(const Exec& exec, T value, std::span<T> y);
template <class T>
void clamp(const Exec& exec, std::span<const T> x, T low, T high, std::span<T> y);
template <class To, class From>
void convert(const Exec& exec, std::span<const From> x, std::span<To> y);

}  // namespace flatland::kernels::cuda
