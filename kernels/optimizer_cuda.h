#pragma once

#include <flatland/kernels/optimizer.h>

namespace flatland::kernels::cuda {

template <class T>
void sgd_step(const Exec& exec, const SgdRule& rule, LearningRate lr,
              std::span<const ParameterView<T>> parameters);
template <class T>
void adam_step(const Exec& exec, const AdamRule& rule, LearningRate lr,
               std::span<const ParameterView<T>> parameters);
template <class T>
void rmsprop_step(const Exec& exec, const RmspropRule& rule, LearningRate lr,
                  std::span<const ParameterView<T>> parameters);
template <class T>
void clip_norm(const Exec& exec, double max_norm, std::span<const GradientView<T>> gradients, T* norm);

}  // namespace flatland::kernels::cuda
