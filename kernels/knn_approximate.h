// Approximate k nearest neighbours for data that is too large for knn.h.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/metric.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

struct KnnApproximateOptions {
  std::uint64_t seed = 0;
  std::int64_t exact_below = 4096;  // rows: fewer are searched by knn
  double recall = 0.97;             // share of the true neighbours that is aimed at
};

// What a search has done. Equal for any number of threads.
struct KnnApproximateWork {
  std::int64_t clusters = 0;   // 0: searched exactly
  std::int64_t visits = 0;     // clusters that a row is compared with
  std::int64_t distances = 0;  // approximate ones; an exact search has n (n - 1) / 2
};

// Neighbours as those of knn.h, of which a few may be missed and farther ones stand in their places. The
// rows are divided into some 2 sqrt(N) clusters (Lloyd, "Least squares quantization in PCM", 1982, on a
// sample), and each row is compared, by matrix products, with the items of the clusters that are nearest to
// it (an inverted file: Jegou, Douze, Schmid, "Product quantization for nearest neighbor search", 2011). How
// many clusters that takes is read off the true neighbours of 500 rows. Where they hold more than a third of
// all items, as for values without any structure in tens of columns, this is knn.
//   x (N, D), 0 <= k < N < 2^31   index, dist (N, k)
// Returned is what knn returns for these neighbours: exact distances, ascending, ties by index, no item twice
// and never the row itself. knn_recall measures how many are true ones. With fewer than exact_below rows, or
// k above an eighth of them, this is knn. Where float32 cannot tell neighbours apart, all items of the
// clusters that are visited are compared in float64.
// Errors: an Exec on a GPU; metrics other than euclidean, sqeuclidean, cosine, correlation and minkowski with
// p = 2; values that are not finite, or too large or small for float32; a recall that is not in (0, 1].
// Deterministic: the same bits for any number of threads. Cost: N^1.5 D, times more where values vary in more
// directions. Memory: O(N D + N k).
template <class T>
KnnApproximateWork knn_approximate(const Exec& exec, Metric metric, In<T> x, std::int64_t k,
                                   const KnnApproximateOptions& options, MatView<std::int32_t> index,
                                   MatView<T> dist);

// Bytes of scratch memory that this takes for n rows, about, unless it ends as knn.
std::int64_t knn_approximate_scratch(std::int64_t n, std::int64_t d, std::int64_t k, int threads,
                                     const KnnApproximateOptions& options = {});

// Whether a metric is among those that an approximate search knows.
bool has_approximate_knn(Metric metric);

// The share of entries of dist (N, k) that are no farther than the k-th nearest row is, over `samples` rows
// drawn without replacement (all rows where there are fewer), by knn_query. 1 with k = 0.
template <class T>
double knn_recall(const Exec& exec, Metric metric, In<T> x, In<T> dist, std::int64_t samples,
                  std::uint64_t seed);

}  // namespace flatland::kernels
