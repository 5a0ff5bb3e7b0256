// The losses of one instruction-set level: each function returns the sum of the losses it goes through.
// Pointers may be null where loss.h says so; `share` is 1 / divisor.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/loss.h>

#include <cstdint>

namespace flatland::kernels {

template <Isa I, class T>
double point_loss_range(const LossRule& rule, T share, const T* x, const T* target, T* loss, T* dx,
                        std::int64_t n);
template <Isa I, class T>
double gaussian_loss_range(const GaussianRule& rule, T share, const T* mean, const T* variance,
                           const T* target, T* loss, T* d_mean, T* d_variance, std::int64_t n);
// Rows of d values.
template <Isa I, class T>
double triplet_loss_row(const TripletRule& rule, T share, const T* anchor, const T* positive,
                        const T* negative, T* loss, T* d_anchor, T* d_positive, T* d_negative,
                        std::int64_t d);

}  // namespace flatland::kernels
