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
  int trees = 8;                    // random trees of the start; more find more, at a steady price
  int candidates = 20;              // new and old neighbours of an item, either way, that meet in a round
  int max_rounds = 12;              // of the descent
  double tolerance = 0.001;  // it ends with a round that changes at most this share of the n k neighbours
};

// What a search has done. Equal for any number of threads.
struct KnnApproximateWork {
  int rounds = 0;
  std::int64_t distances = 0;  // approximate ones; an exact search has n (n - 1) / 2
};

// Neighbours as those of knn.h, of which a few may be missed and farther ones stand in their places:
// NN-descent (Dong, Charikar, Li, "Efficient k-nearest neighbor graph construction for generic similarity
// measures", 2011) from random projection trees (Dasgupta, Freund, "Random projection trees and low
// dimensional manifolds", 2008), whose leaves hold the first neighbours. In a round each row meets the
// neighbours of its neighbours, in either direction, unless both edges were there in the round before.
//   x (N, D), 0 <= k < N < 2^31   index, dist (N, k)
// Returned is what knn returns for these neighbours: exact distances, ascending, ties by index, no item twice
// and never the row itself. How many are true ones is not known beforehand; knn_recall measures it. With
// fewer than exact_below rows, or k above an eighth of them, this is knn.
// Errors: an Exec on a GPU; metrics other than euclidean, sqeuclidean, cosine, correlation and minkowski with
// p = 2; values that are not finite. Float32 decides who is near: differences below 1e-7 of the largest
// distance to the mean are not seen before the end.
// Deterministic: the same bits for any number of threads. Cost: some hundred distances a row. Memory: O(N (D
// + k + candidates)).
template <class T>
KnnApproximateWork knn_approximate(const Exec& exec, Metric metric, In<T> x, std::int64_t k,
                                   const KnnApproximateOptions& options, MatView<std::int32_t> index,
                                   MatView<T> dist);

// Bytes of scratch memory that this takes for n rows, about.
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
