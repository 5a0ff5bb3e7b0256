#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/loss.h>
#include <flatland/kernels/softmax_formulas.h>
#include <flatland/kernels/view.h>

namespace flatland::kernels::cuda {

template <class T>
void softmax(const Exec& exec, SoftmaxForm form, MatView<const T> x, MatView<T> y);
template <class T>
void softmax_backward(const Exec& exec, SoftmaxForm form, MatView<const T> y, MatView<const T> dy,
                      MatView<T> dx);
template <class T>
void softmax_cross_entropy(const Exec& exec, MatView<const T> x, const std::int64_t* label,
                           const LossOut<T>& out, MatView<T> dx);

}  // namespace flatland::kernels::cuda
