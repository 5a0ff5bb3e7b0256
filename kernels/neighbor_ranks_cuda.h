#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels::cuda {

// At least one row and one neighbour.
template <class T>
void neighbor_ranks(const Exec& exec, MatView<const T> x, MatView<const std::int32_t> index,
                    MatView<std::int32_t> rank);

}  // namespace flatland::kernels::cuda
