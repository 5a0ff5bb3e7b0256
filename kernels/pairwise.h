// Distances between rows: all against all, the condensed triangle, and lists of pairs, with gradients.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/metric.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// The gradient of a distance at distance 0 is 0, never NaN; that of chebyshev goes to the first largest
// coordinate. All are deterministic: the same bits for any number of threads.

// dist[i,j] = metric(x[i,:], y[j,:]).   x (N, D)   y (M, D)   dist (N, M), aliasing neither
// Cost: about 3NMD flop. Computed from differences (no cancellation), so equal rows are at distance exactly
// 0.
template <class T>
void cross_distances(const Exec& exec, Metric metric, In<T> x, In<T> y, MatView<T> dist);

// dx[i,:] = sum_j g[i,j] d dist[i,j] / dx[i,:], and dy likewise.
//   x (N, D)   y (M, D)   dist, g (N, M)   dx (N, D)   dy (M, D); a view without data is skipped
template <class T>
void cross_distances_backward(const Exec& exec, Metric metric, In<T> x, In<T> y, In<T> dist, In<T> g,
                              MatView<T> dx, Out<T> dy);

// Pair (i, j), i < j, of n items stands at i n - i (i + 1) / 2 + j - i - 1 (the order of scipy's pdist).
constexpr std::int64_t condensed_size(std::int64_t n) {
  return n * (n - 1) / 2;
}
constexpr std::int64_t condensed_index(std::int64_t n, std::int64_t i, std::int64_t j) {
  return i * n - i * (i + 1) / 2 + j - i - 1;
}

// dist[condensed_index(N, i, j)] = metric(x[i,:], x[j,:]) for i < j.   x (N, D)   dist (N (N - 1) / 2)
template <class T>
void condensed_distances(const Exec& exec, Metric metric, In<T> x, std::span<T> dist);
template <class T>
void condensed_distances_backward(const Exec& exec, Metric metric, In<T> x, InSpan<T> dist, InSpan<T> g,
                                  MatView<T> dx);

// dist[i] = metric(a[i,:], b[i,:]).   a, b (N, D)   dist (N)
template <class T>
void pair_distances(const Exec& exec, Metric metric, In<T> a, In<T> b, std::span<T> dist);
// da, db (N, D); db = -da for all metrics but cosine and correlation. A view without data is skipped.
template <class T>
void pair_distances_backward(const Exec& exec, Metric metric, In<T> a, In<T> b, InSpan<T> dist, InSpan<T> g,
                             MatView<T> da, Out<T> db);

// square[i,j] = square[j,i] = condensed[...], diagonal 0.   condensed (n (n - 1) / 2)   square (n, n)
template <class T>
void condensed_to_square(const Exec& exec, InSpan<T> condensed, MatView<T> square);
// condensed[i,j] = square[i,j] + square[j,i]: the gradient of condensed_to_square.
template <class T>
void condensed_to_square_backward(const Exec& exec, In<T> square, std::span<T> condensed);

// condensed[i,j] = square[i,j] for i < j, whatever stands below.   square (n, n)   condensed (n (n - 1) / 2)
template <class T>
void square_to_condensed(const Exec& exec, In<T> square, std::span<T> condensed);
// square[i,j] = condensed[i,j] for i < j, else 0: the gradient of square_to_condensed.
template <class T>
void square_to_condensed_backward(const Exec& exec, InSpan<T> condensed, MatView<T> square);

}  // namespace flatland::kernels
