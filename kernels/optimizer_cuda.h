#pragma once

#include <flatland/kernels/optimizer.h>

namespace flatland::kernels::cuda {

template <class T>
void sgd_step(const Exec& exec, const SgdRule& rule, const double* lr,
              std::span<const ParameterView<T>> parameters);
template <class T>
void adam_step(const Exec& exec, const AdamRule& rule, const double* lr,
               std::span<const ParameterView<T>> parameters);

}  // namespace flatland::kernels::cuda
