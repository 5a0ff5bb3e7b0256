#pragma once

#include <flatland/kernels/neighbor_weights.h>
#include <flatland/kernels/neighbor_weights_formulas.h>

namespace flatland::kernels::cuda {

// `reach` is the perplexity, or the sum of the weights. width: beta or sigma, may be null.
template <class T>
SearchResult search_rows(const Exec& exec, WeightKind kind, MatView<const T> dist, double reach,
                         const RowSearch& search, MatView<T> weight, T* width);

}  // namespace flatland::kernels::cuda
