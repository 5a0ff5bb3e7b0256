// The root search of one row of neighbor_weights.cpp, compiled once an instruction-set level.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/neighbor_weights.h>

#include <cstdint>

namespace flatland::kernels {

enum class RowOutcome { reached, unreachable, not_a_distance };

// Values of T that the search of a row of k distances works in.
constexpr std::int64_t row_search_work(std::int64_t k) {
  return k + 64;
}

// weight and *width (beta or sigma) of one row; weight may be dist.
template <Isa I, class T>
RowOutcome perplexity_row(const T* dist, std::int64_t k, double perplexity, const RowSearch& search, T* work,
                          T* weight, double* beta);
template <Isa I, class T>
RowOutcome connectivity_row(const T* dist, std::int64_t k, double sum, const RowSearch& search, T* work,
                            T* weight, double* sigma);

}  // namespace flatland::kernels
