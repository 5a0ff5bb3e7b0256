// Places of given neighbours in the order of distances, without sorting.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// rank[i,a] = the place of item index[i,a] among all others by ascending Euclidean distance from row i: 1 for
// the nearest; ties by ascending index.
//   x (N, D) finite, N < 2^31   index, rank (N, K), index[i,a] != i
// Exact: products in float32 with a bound of their error decide nearly all comparisons, the float64 sums by
// which knn orders neighbours the rest; so the k neighbours that knn finds have the ranks 1, ..., k.
// Deterministic: the same on every device and for any number of threads. Cost: 2 N^2 D flop, 2 N^2 K
// comparisons. Memory: N (D + K + O(1)) values.
template <class T>
void neighbor_ranks(const Exec& exec, In<T> x, MatView<const std::int32_t> index, MatView<std::int32_t> rank);

}  // namespace flatland::kernels
