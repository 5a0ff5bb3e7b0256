// What neighbor_ranks does a row at a time.
#pragma once

#include <flatland/kernels/isa.h>

#include <cstdint>

namespace flatland::kernels {

// counts[a] = how many l have norm[l] - 2 product[l] < limit[a].   product, norm (n)   limit, counts (k)
template <Isa I>
void count_below(const float* product, const float* norm, std::int64_t n, const float* limit, std::int64_t k,
                 std::int32_t* counts);

// All l with low[l] - 2 product[l] < may and not high[l] - 2 product[l] < must, ascending; returns their
// number.
//   found (n)
template <Isa I>
std::int64_t find_open(const float* product, const float* low, const float* high, std::int64_t n, float may,
                       float must, std::int32_t* found);

}  // namespace flatland::kernels
