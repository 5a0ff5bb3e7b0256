#pragma once

#include <flatland/kernels/reduce.h>

namespace flatland::kernels::cuda {

template <class T>
void sum(const Exec& exec, MatView<const T> x, T* value);
template <class T>
void row_sums(const Exec& exec, MatView<const T> x, std::span<T> s);
template <class T>
void column_sums(const Exec& exec, MatView<const T> x, std::span<T> s, bool accumulate);
template <class T>
void max(const Exec& exec, MatView<const T> x, T* value);
template <class T>
void row_argmax(const Exec& exec, MatView<const T> x, std::span<std::int64_t> index);
template <class T>
void column_moments(const Exec& exec, MatView<const T> x, int ddof, std::span<T> mean, std::span<T> variance);
template <class T>
NonFinite find_non_finite(const Exec& exec, MatView<const T> x);

}  // namespace flatland::kernels::cuda
