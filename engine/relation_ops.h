// Differentiable operations on relations between the rows of an embedding.
#pragma once

#include <flatland/engine/tensor.h>
#include <flatland/kernels/metric.h>
#include <flatland/kernels/sparse.h>

#include <cstdint>

namespace flatland {

// Condensed pairwise distances (N (N - 1) / 2) of the rows of x (N, D). The gradient at distance 0 is 0.
Tensor pdist(const Tensor& x, Metric metric = {});
// Distances of all rows of x to all rows of y: (N, M).
Tensor cdist(const Tensor& x, const Tensor& y, Metric metric = {});
// Distances of rows a[i] and b[i]: (N).
Tensor pair_distances(const Tensor& a, const Tensor& b, Metric metric = {});
// (n (n - 1) / 2) -> (n, n), zero diagonal; and the upper triangle of a square back.
Tensor condensed_to_square(const Tensor& condensed, std::int64_t n);
Tensor square_to_condensed(const Tensor& square);

// (1 + d^2 / alpha)^(-(alpha + 1) / 2); alpha a number, or a tensor of one value that may be trained.
Tensor student_t(const Tensor& dist, double alpha = 1);
Tensor student_t(const Tensor& dist, const Tensor& alpha);
// 1 / (1 + a d^(2b)); a and b numbers, or tensors of one value.
Tensor modified_cauchy(const Tensor& dist, double a, double b);
Tensor modified_cauchy(const Tensor& dist, const Tensor& a, const Tensor& b);

// sum over i != j of p (log(p + eps) - log(q + eps)) / N for p, q (N, N).
Tensor kl_divergence(const Tensor& p, const Tensor& q, double eps = 1e-7);
// sum -p log clamp(q, eps, 1) - (1 - p) log clamp(1 - q, eps, 1), divided by the length, for p, q (n).
Tensor fuzzy_cross_entropy(const Tensor& p, const Tensor& q, double eps = 1e-7);

// A sparse symmetric block of affinities: begin, end int64 (B), col int32, value float; see
// kernels::SparseRows.
struct SparseBlock {
  std::int64_t rows = 0;
  Tensor begin, end, col, value;
};
// kl_divergence(p, normalise(student_t(pdist(y), alpha))) without storing any pair; y (B, d).
Tensor kl_student_t(const Tensor& y, const SparseBlock& p, double alpha = 1, double eps = 1e-7);

}  // namespace flatland
