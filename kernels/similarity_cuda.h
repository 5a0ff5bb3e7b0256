#pragma once

#include <flatland/kernels/similarity.h>

namespace flatland::kernels::cuda {

template <class T>
void student_t(const Exec& exec, Parameter<T> alpha, std::span<const T> dist, std::span<T> q);
template <class T>
void student_t_backward(const Exec& exec, Parameter<T> alpha, std::span<const T> dist, std::span<const T> q,
                        std::span<const T> g, std::span<T> d_dist, T* d_alpha);
template <class T>
void modified_cauchy(const Exec& exec, Parameter<T> a, Parameter<T> b, std::span<const T> dist,
                     std::span<T> q);
template <class T>
void modified_cauchy_backward(const Exec& exec, Parameter<T> a, Parameter<T> b, std::span<const T> dist,
                              std::span<const T> q, std::span<const T> g, std::span<T> d_dist, T* da, T* db);

}  // namespace flatland::kernels::cuda
