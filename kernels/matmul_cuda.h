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
// All of linear_backward in one launch, where that is worth it and dw is asked for; else does nothing and
// returns false. db may be null, dx without data.
template <class T>
bool small_linear_backward(const Exec& exec, MatView<const T> x, MatView<const T> w,
                           const Activation& activation, MatView<const T> y, MatView<const T> dy,
                           MatView<T> dx, MatView<T> dw, T* db);

}  // namespace flatland::kernels::cuda
