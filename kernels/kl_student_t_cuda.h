#pragma once

#include <flatland/kernels/divergence.h>

namespace flatland::kernels::cuda {

template <class T>
void kl_student_t(const Exec& exec, double alpha, double eps, MatView<const T> y, const SparseRows<T>& p,
                  MatView<T> dy, T* value);

}  // namespace flatland::kernels::cuda
