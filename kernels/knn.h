// Exact k nearest neighbours.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/metric.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// The k nearest rows of each row among all others (never itself, whatever duplicates there are), by ascending
// distance, ties by ascending index.
//   x (N, D), 0 <= k < N < 2^31   index, dist (N, k)
// Distances are those of the float64 sums of squared differences (or of the metric's own sum), rounded to T
// at the end; order and ties are decided before rounding. So every backend and every tiling gives the same
// result (minkowski with a general p: up to how pow rounds). Cost: N^2 D flop by matrix product tiles over
// the upper triangle (euclidean, sqeuclidean, cosine, correlation; candidates within the rounding error bound
// of the tile are re-ranked exactly), 3 N^2 D / 2 for the others. Memory: O(N k).
template <class T>
void knn(const Exec& exec, Metric metric, In<T> x, std::int64_t k, MatView<std::int32_t> index,
         MatView<T> dist);

// Bytes of scratch memory that this takes on the CPU for n rows and squared differences, about.
std::int64_t knn_scratch(std::int64_t n, std::int64_t d, std::int64_t k, int threads);

// The k nearest rows of `base` for each row of `query` (a row of base equal to the query counts).
//   query (M, D)   base (N, D), k <= N   index, dist (M, k)
template <class T>
void knn_query(const Exec& exec, Metric metric, In<T> query, In<T> base, std::int64_t k,
               MatView<std::int32_t> index, MatView<T> dist);

// Bytes of scratch memory that this takes on the CPU for m rows among n, and squared differences, about.
std::int64_t knn_query_scratch(std::int64_t m, std::int64_t n, std::int64_t d, std::int64_t k, int threads);

}  // namespace flatland::kernels
