#pragma once

#include <flatland/kernels/loss.h>

namespace flatland::kernels::cuda {

template <class T>
void pointwise_loss(const Exec& exec, const LossRule& rule, std::span<const T> x, std::span<const T> target,
                    const LossOut<T>& out, std::span<T> dx);
template <class T>
void gaussian_loss(const Exec& exec, const GaussianRule& rule, std::span<const T> mean,
                   std::span<const T> variance, std::span<const T> target, const LossOut<T>& out,
                   std::span<T> d_mean, std::span<T> d_variance);
template <class T>
void triplet_loss(const Exec& exec, const TripletRule& rule, MatView<const T> anchor,
                  MatView<const T> positive, MatView<const T> negative, const LossOut<T>& out,
                  const TripletGradients<T>& gradients);

}  // namespace flatland::kernels::cuda
