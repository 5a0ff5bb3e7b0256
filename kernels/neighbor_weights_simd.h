// The root searches of neighbor_weights.cpp, compiled once an instruction-set level.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/neighbor_weights.h>
#include <flatland/kernels/neighbor_weights_formulas.h>

#include <cstdint>

namespace flatland::kernels {

// Values of T that the search works in, for rows of k distances.
constexpr std::int64_t row_search_work(std::int64_t k) {
  constexpr std::int64_t k_rows_at_once = 8;
  return k_rows_at_once * (k + 64);
}

// Rows first .. last - 1. `reach` is the perplexity, or the sum of the weights. width: beta or sigma, may be
// null.
template <Isa I, class T>
SearchResult search_tile(WeightKind kind, In<T> dist, double reach, const RowSearch& search,
                         std::int64_t first, std::int64_t last, T* work, Out<T> weight, T* width);

}  // namespace flatland::kernels
