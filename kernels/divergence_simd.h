// The hot loops of divergence.cpp, compiled once an instruction-set level. All over n consecutive values.
#pragma once

#include <flatland/kernels/isa.h>

#include <cstdint>

namespace flatland::kernels {

template <Isa I, class T>
double kl_range(double eps, const T* p, const T* q, std::int64_t n);
// dq = -scale p / (q + eps), dp = scale (...); a null pointer is skipped.
template <Isa I, class T>
void kl_backward_range(double eps, T scale, const T* p, const T* q, T* dq, T* dp, std::int64_t n);

template <Isa I, class T>
double fuzzy_range(double eps, const T* p, const T* q, std::int64_t n);
template <Isa I, class T>
void fuzzy_backward_range(double eps, T scale, const T* p, const T* q, T* dq, std::int64_t n);

}  // namespace flatland::kernels
