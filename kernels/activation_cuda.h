#pragma once

#include <flatland/kernels/activation.h>

namespace flatland::kernels::cuda {

template <class T>
void activate(const Exec& exec, const Activation& activation, MatView<const T> x, MatView<T> y);
template <class T>
void activate_backward(const Exec& exec, const Activation& activation, MatView<const T> y,
                       MatView<const T> dy, MatView<T> dx);

}  // namespace flatland::kernels::cuda
