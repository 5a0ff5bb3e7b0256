// The activations of one instruction-set level, on `cols` values of each row.
#pragma once

#include <flatland/kernels/activation.h>
#include <flatland/kernels/isa.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

template <Isa I, class T>
void activate_tile(const Activation& activation, MatView<const T> x, MatView<T> y);
template <Isa I, class T>
void activate_backward_tile(const Activation& activation, MatView<const T> y, MatView<const T> dy,
                            MatView<T> dx);

}  // namespace flatland::kernels
