// Softmax of one instruction-set level, for some rows.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/softmax_formulas.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

template <Isa I, class T>
void softmax_tile(SoftmaxForm form, MatView<const T> x, MatView<T> y);
template <Isa I, class T>
void softmax_backward_tile(SoftmaxForm form, MatView<const T> y, MatView<const T> dy, MatView<T> dx);

// loss[i] = -log softmax(x[i,:])[label[i]];   dx = (softmax(x) - onehot) scale, or no data
template <Isa I, class T>
void cross_entropy_tile(MatView<const T> x, const std::int64_t* label, T scale, double* loss, MatView<T> dx);

}  // namespace flatland::kernels
