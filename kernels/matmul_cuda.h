#pragma once

#include <flatland/kernels/matmul.h>

namespace flatland::kernels::cuda {

template <class T>
void matmul(const Exec& exec, Transpose transpose, MatView<const T> a, MatView<const T> b, MatView<T> c,
            bool accumulate);
// bias: one value a row of w, or null.
template <class T>
void linear(const Exec& exec, MatView<const T> x, MatView<const T> w, const T* bias,
            const Activation& activation, MatView<T> y);

}  // namespace flatland::kernels::cuda
