#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/knn_formulas.h>

namespace flatland::kernels::cuda {

// At least one row and one neighbour are asked for. search.query.units and search.base.units are null.
template <class T>
void knn(const Exec& exec, KnnSearch<T> search);

}  // namespace flatland::kernels::cuda
