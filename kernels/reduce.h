// Sums, means, extremes, along rows, columns or all.
#pragma once

#include <flatland/kernels/memory.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// Deterministic: fixed tiles, each summed with compensation or in double, tiles added in index order.

// value = sum of all values; 0 for none. Float sums are accumulated in double.
template <class T>
void sum(const Exec& exec, In<T> x, T* value);
template <class T>
T sum(const Exec& exec, In<T> x) {
  return on_host<T>(exec, [&](T* value) { sum<T>(exec, x, value); });
}

// s[i] = sum_j x[i,j].   x (N, M)   s (N)
template <class T>
void row_sums(const Exec& exec, In<T> x, std::span<T> s);

// s[j] = sum_i x[i,j], or s[j] += ... with accumulate.   x (N, M)   s (M)
template <class T>
void column_sums(const Exec& exec, In<T> x, std::span<T> s, bool accumulate = false);

// value = the largest value; Error for none. NaN wins.
template <class T>
void max(const Exec& exec, In<T> x, T* value);
template <class T>
T max(const Exec& exec, In<T> x) {
  return on_host<T>(exec, [&](T* value) { max<T>(exec, x, value); });
}

// index[i] = the first j with the largest x[i,j].   x (N, M), M > 0   index (N)
template <class T>
void row_argmax(const Exec& exec, MatView<const T> x, std::span<std::int64_t> index);

// Mean and variance of each column, divisor N - ddof.   x (N, M), N > ddof   mean, variance (M)
template <class T>
void column_moments(const Exec& exec, In<T> x, int ddof, std::span<T> mean, std::span<T> variance);

// Where a matrix first has NaN or infinity, in row-major order, and how many there are: for the host, which
// waits for it.
struct NonFinite {
  std::int64_t count = 0;
  std::int64_t row = -1;
  std::int64_t col = -1;
};
template <class T>
NonFinite find_non_finite(const Exec& exec, MatView<const T> x);

}  // namespace flatland::kernels
