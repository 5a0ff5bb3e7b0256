// Losses between relations of the input and of the embedding.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/sparse.h>
#include <flatland/kernels/view.h>

namespace flatland::kernels {

// Losses and upstream gradients are single values in memory of exec's device; a loss comes as well to the
// host where it is returned.

// value = sum over i != j of p (log(p + eps) - log(q + eps)) / N.   p, q (N, N)
// The diagonal is left out. Float terms are added in double.
template <class T>
void kl_divergence(const Exec& exec, double eps, In<T> p, MatView<const T> q, T* value);
template <class T>
T kl_divergence(const Exec& exec, double eps, In<T> p, MatView<const T> q) {
  return on_host<T>(exec, [&](T* value) { kl_divergence<T>(exec, eps, p, q, value); });
}
// dq = -g p / (q + eps) / N, dp = g (log(p + eps) + p / (p + eps) - log(q + eps)) / N off the diagonal, 0 on
// it, with g = *upstream.
//   a view without data is skipped
template <class T>
void kl_divergence_backward(const Exec& exec, double eps, const T* upstream, In<T> p, In<T> q, Out<T> dq,
                            Out<T> dp);

// UMAP's: sum -p log clamp(q, eps, 1) - (1 - p) log clamp(1 - q, eps, 1), divided by n.   p, q (n)
template <class T>
void fuzzy_cross_entropy(const Exec& exec, double eps, InSpan<T> p, std::span<const T> q, T* value);
template <class T>
T fuzzy_cross_entropy(const Exec& exec, double eps, InSpan<T> p, std::span<const T> q) {
  return on_host<T>(exec, [&](T* value) { fuzzy_cross_entropy<T>(exec, eps, p, q, value); });
}
// dq; a clamped term has no gradient.
template <class T>
void fuzzy_cross_entropy_backward(const Exec& exec, double eps, const T* upstream, InSpan<T> p, InSpan<T> q,
                                  OutSpan<T> dq);

// The whole t-SNE objective in one go: Student-t similarities of all pairs of the embedding, normalised to
// sum 1 over i != j, KL divergence to p, and its gradient; equal to student_t, normalise and kl_divergence
// composed.
//   y (N, d)   p (N, N) symmetric, sparse rows; entries on the diagonal are ignored   dy (N, d) or no data
// *value is the loss. Neither Q nor any other N x N array is stored: memory O(N d). log is taken at the
// stored entries of p only (a zero entry adds nothing to the loss). The gradient uses row i of p for item i,
// so it is right for symmetric p only; the loss is right for any.
//   float, d = 2, N = 500, 13 entries of p a row,    the four kernels student_t,          fused
//   alpha = 1, one AVX-512 core                      kl_divergence and their backwards
//   stored for backward                              3 N^2 values (dist, w, q)            nothing
//   moved a pair                                     44 bytes (11 values)                 0
//   flop a pair                                      about 60, with 4 divisions           about 16
//   time                                             760 us                               85 us
// Of the fused 85 us the pass over all pairs takes 51 (4.9 G pairs/s), the entries of p the rest. The
// composed path also takes distances, a normalisation and its backward, which are not counted here.
// On a GPU: two launches for d <= 3 and a batch (three from 2,048 items on), about 9 instructions a pair and
// 32 lanes, one of them a reciprocal within 1 ulp. Entries of p outside the matrix are left out there.
template <class T>
void kl_student_t(const Exec& exec, double alpha, double eps, MatView<const T> y, const SparseRows<T>& p,
                  Out<T> dy, T* value);
template <class T>
T kl_student_t(const Exec& exec, double alpha, double eps, MatView<const T> y, const SparseRows<T>& p,
               Out<T> dy) {
  return on_host<T>(exec, [&](T* value) { kl_student_t<T>(exec, alpha, eps, y, p, dy, value); });
}

}  // namespace flatland::kernels
