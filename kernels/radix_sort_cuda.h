// A stable sort for .cu files.
#pragma once

#include <flatland/kernels/exec.h>

#include <cstdint>

namespace flatland::kernels::cuda {

// Sorts n < 2^32 words by their bits begin .. end - 1; words that agree in these stay in their order. Returns
// which of `words` and `other`, both of n words, holds the result.
std::uint64_t* radix_sort(const Exec& exec, std::uint64_t* words, std::uint64_t* other, std::int64_t n,
                          int begin, int end);

}  // namespace flatland::kernels::cuda
