// How good an embedding or a classification is.
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>

namespace flatland {

// All take (N, D) and (N, d) tensors of float32 or float64, Euclidean distances, and never hold N x N values.
// Neighbours and ranks are found where the tensors lie, the rest on the CPU. Deterministic: the same result
// on every device and for any number of threads. Errors: other shapes or types, NaN or infinity.

// Are the k neighbours of each point in the embedding y neighbours in x too? 1: all are.
//   1 - 2 / (N k (2N - 3k - 1)) sum_i sum_{j in kNN_y(i), not in kNN_x(i)} (rank_x(i, j) - k)
// Venna and Kaski (2001). Ties of distance count as one rank by index, as everywhere here. Error: k >= N / 2.
// Cost: two k nearest neighbour searches and N^2 D flop.
double trustworthiness(const Tensor& x, const Tensor& y, std::int64_t k = 15);

// Are the k neighbours of each point in x neighbours in y too? trustworthiness(y, x, k).
double continuity(const Tensor& x, const Tensor& y, std::int64_t k = 15);

// The share of points whose label is the most frequent one among their k nearest neighbours, the point itself
// left out; ties go to the smaller label.   y (N, d)   labels (N) int64 or int32   k < N
double knn_accuracy(const Tensor& y, const Tensor& labels, std::int64_t k = 10);
// The same for points whose neighbours are sought in another set.
//   base (M, d)   base_labels (M)   y (N, d)   labels (N)   k <= M
double knn_accuracy(const Tensor& base, const Tensor& base_labels, const Tensor& y, const Tensor& labels,
                    std::int64_t k = 10);

// The mean over all points of (b - a) / max(a, b): a is the mean distance to the points of the same label, b
// to those of the nearest other label; 0 for a label of one point. Rousseeuw (1987). Error: fewer than 2 or
// more than N - 1 labels. Cost: N^2 d.
double silhouette(const Tensor& y, const Tensor& labels);

// The share of rows whose largest value stands at the label.   scores (N, C)   labels (N) in [0, C)
double accuracy(const Tensor& scores, const Tensor& labels);

}  // namespace flatland
