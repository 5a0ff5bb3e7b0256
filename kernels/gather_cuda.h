#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

namespace flatland::kernels::cuda {

template <class T>
void gather_rows(const Exec& exec, MatView<const T> x, const std::int64_t* index, MatView<T> y);
template <class T>
void scatter_add_rows(const Exec& exec, MatView<const T> y, const std::int64_t* index, MatView<T> x);
template <class T>
void renormalize_rows(const Exec& exec, double max_norm, std::span<const std::int64_t> index, MatView<T> x);

}  // namespace flatland::kernels::cuda
