// Matrix products of small networks, with bias and activation fused in.
#pragma once

#include <flatland/kernels/activation.h>
#include <flatland/kernels/exec.h>
#include <flatland/kernels/rows_view.h>

namespace flatland::kernels {

enum class Transpose { none, a, b };

// c = op(a) op(b), or c += op(a) op(b) with accumulate.
//   none: a (M, K)  b (K, N)      a: a (K, M)  b (K, N)      b: a (M, K)  b (N, K)      c (M, N)
// Cost: 2MNK flop. c aliases neither a nor b. K = 0 gives zeros (or leaves c).
// Deterministic: the same bits on every run. On the CPU each c[i,j] is one chain of fused multiply-adds over
// ascending k, whatever M, N, the position of the row and the number of threads; so a row alone has the bits
// it has inside a batch, but for the sign of a 0. Where fewer than half of the values of op(a), or of b in
// a^T b, are not 0, as of images of digits, large products leave out its zeros: a 0 may pass over an infinity
// or NaN that it meets. On CUDA the order of a sum depends on the shapes, and a row alone agrees within
// rounding.
template <class T>
void matmul(const Exec& exec, Transpose transpose, In<T> a, In<T> b, MatView<T> c, bool accumulate = false);

// y = activation(x w^T + bias), the forward pass of a layer.
//   x (N, D), rows of a larger matrix if need be   w (M, D)   bias (M) or empty   y (N, M)
// Cost: 2NMD flop. y aliases no input. Deterministic as matmul.
template <class T>
void linear(const Exec& exec, InRows<T> x, In<T> w, InSpan<T> bias, const Activation& activation,
            MatView<T> y);

// The gradients of linear for its inputs, given its result y and the gradient dy for it: with
// dz = dy o activation'(y), dx = dz w, dw = dz^T x and db = the column sums of dz.
//   x, dx (N, D)   w, dw (M, D)   y, dy (N, M)   db (M); of dx, dw, db what is empty is skipped
// y is not read where the activation is the identity. Cost: 4NMD flop. No output aliases an input.
// Deterministic as matmul.
template <class T>
void linear_backward(const Exec& exec, InRows<T> x, In<T> w, const Activation& activation, In<T> y, In<T> dy,
                     MatView<T> dx, Out<T> dw, OutSpan<T> db);

}  // namespace flatland::kernels
