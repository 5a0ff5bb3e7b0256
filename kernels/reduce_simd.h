// Private: the parts of reduce.h that are compiled once an instruction-set level. Sums are held in double, in
// an order that depends on the shape alone, so every level gives the same bits.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/reduce_formulas.h>

#include <cstdint>

namespace flatland::kernels {

// Sum of n values.
template <Isa I, class T>
double sum_dense(const T* x, std::int64_t n);

// partial[j] = sum over `rows` rows of the term of column j.
template <Isa I, class T>
void column_sums_tile(ColumnTerm term, const T* x, std::int64_t ld, std::int64_t rows, std::int64_t cols,
                      const double* center, double* partial);

// Largest of n > 0 values; NaN wins.
template <Isa I, class T>
T max_dense(const T* x, std::int64_t n);

// How many of n < 2^31 values are NaN or infinite.
template <Isa I, class T>
std::int64_t count_non_finite(const T* x, std::int64_t n);

}  // namespace flatland::kernels
