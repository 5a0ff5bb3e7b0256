// Sums, means, extremes, along rows, columns or all.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// Deterministic: fixed tiles, each summed with compensation or in double, tiles added in index order.

// Sum of all values; 0 for none. Float sums are accumulated in double.
template <class T>
T sum(const Exec& exec, MatView<const T> x);

// s[i] = sum_j x[i,j].   x (N, M)   s (N)
template <class T>
void row_sums(const Exec& exec, In<T> x, std::span<T> s);

// s[j] = sum_i x[i,j], or s[j] += ... with accumulate.   x (N, M)   s (M)
template <class T>
void column_sums(const Exec& exec, In<T> x, std::span<T> s, bool accumulate = false);

// Largest value; Error for none. NaN wins.
template <class T>
T max(const Exec& exec, MatView<const T> x);

// index[i] = the first j with the largest x[i,j].   x (N, M), M > 0   index (N)
template <class T>
void row_argmax(const Exec& exec, MatView<const T> x, std::span<std::int64_t> index);

// Mean and variance of each column, divisor N - ddof.   x (N, M), N > ddof   mean, variance (M)
template <class T>
void column_moments(const Exec& exec, In<T> x, int ddof, std::span<T> mean, std::span<T> variance);

// Where a matrix first has NaN or infinity, in row-major order, and how many there are.
struct NonFinite {
  std::int64_t count = 0;
  std::int64_t row = -1;
  std::int64_t col = -1;
};
template <class T>
NonFinite find_non_finite(const Exec& exec, MatView<const T> x);

}  // namespace flatland::kernels
