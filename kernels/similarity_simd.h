// The hot loops of similarity.cpp, compiled once an instruction-set level. All over n consecutive values.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/similarity.h>

#include <cstdint>

namespace flatland::kernels {

template <Isa I, class T>
void student_t_range(double alpha, const T* dist, T* q, std::int64_t n);
// d_dist may be null. Returns sum g dq/dalpha, or 0 without with_alpha.
template <Isa I, class T>
double student_t_backward_range(double alpha, bool with_alpha, const T* dist, const T* q, const T* g,
                                T* d_dist, std::int64_t n);
template <Isa I, class T>
void modified_cauchy_range(double a, double b, const T* dist, T* q, std::int64_t n);
template <Isa I, class T>
CauchyGradient<double> modified_cauchy_backward_range(double a, double b, const T* dist, const T* q,
                                                      const T* g, T* d_dist, std::int64_t n);

}  // namespace flatland::kernels
