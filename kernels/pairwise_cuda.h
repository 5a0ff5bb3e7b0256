#pragma once

#include <flatland/kernels/distance_form.h>
#include <flatland/kernels/pairwise.h>

#include <span>

namespace flatland::kernels::cuda {

template <class T>
void cross_distances(const Exec& exec, const DistanceForm& form, MatView<const T> x, MatView<const T> y,
                     MatView<T> dist);
template <class T>
void cross_distances_backward(const Exec& exec, const DistanceForm& form, MatView<const T> x,
                              MatView<const T> y, MatView<const T> dist, MatView<const T> g, MatView<T> dx,
                              MatView<T> dy);
template <class T>
void condensed_distances(const Exec& exec, const DistanceForm& form, MatView<const T> x, std::span<T> dist);
template <class T>
void condensed_distances_backward(const Exec& exec, const DistanceForm& form, MatView<const T> x,
                                  std::span<const T> dist, std::span<const T> g, MatView<T> dx);
template <class T>
void pair_distances(const Exec& exec, const DistanceForm& form, MatView<const T> a, MatView<const T> b,
                    std::span<T> dist);
template <class T>
void pair_distances_backward(const Exec& exec, const DistanceForm& form, MatView<const T> a,
                             MatView<const T> b, std::span<const T> dist, std::span<const T> g, MatView<T> da,
                             MatView<T> db);
template <class T>
void condensed_to_square(const Exec& exec, std::span<const T> condensed, MatView<T> square);
template <class T>
void condensed_to_square_backward(const Exec& exec, MatView<const T> square, std::span<T> condensed);
template <class T>
void square_to_condensed(const Exec& exec, MatView<const T> square, std::span<T> condensed);
template <class T>
void square_to_condensed_backward(const Exec& exec, std::span<const T> condensed, MatView<T> square);

}  // namespace flatland::kernels::cuda
