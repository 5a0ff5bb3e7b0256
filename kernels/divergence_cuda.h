#pragma once

#include <flatland/kernels/divergence.h>

namespace flatland::kernels::cuda {

template <class T>
void kl_divergence(const Exec& exec, double eps, MatView<const T> p, MatView<const T> q, T* value);
template <class T>
void kl_divergence_backward(const Exec& exec, double eps, const T* upstream, MatView<const T> p,
                            MatView<const T> q, MatView<T> dq, MatView<T> dp);
template <class T>
void fuzzy_cross_entropy(const Exec& exec, double eps, std::span<const T> p, std::span<const T> q, T* value);
template <class T>
void fuzzy_cross_entropy_backward(const Exec& exec, double eps, const T* upstream, std::span<const T> p,
                                  std::span<const T> q, std::span<T> dq);

}  // namespace flatland::kernels::cuda
