// Softmax over rows and its cross-entropy with class numbers.
#pragma once

#include <flatland/kernels/loss.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// y[i,:] = softmax(x[i,:]), or its logarithm; shifted by the row's maximum, so it never overflows.
//   x, y (N, M)   y may be x.
template <class T>
void softmax_rows(const Exec& exec, In<T> x, MatView<T> y);
template <class T>
void log_softmax_rows(const Exec& exec, In<T> x, MatView<T> y);

// dx = y * (dy - sum_j y dy) for softmax, dx = dy - exp(y) sum_j dy for its logarithm.   all (N, M); dx may
// be dy.
template <class T>
void softmax_rows_backward(const Exec& exec, In<T> y, In<T> dy, MatView<T> dx);
template <class T>
void log_softmax_rows_backward(const Exec& exec, In<T> y, In<T> dy, MatView<T> dx);

// l[i] = -log softmax(x[i,:])[label[i]], and dx = (softmax(x) - onehot) / divisor.
//   x (N, M)   label (N), each in [0, M), else Error naming the row   dx (N, M), or no data to skip it
// On CUDA labels are not checked: rows whose label is out of range have loss and gradient 0.
template <class T>
void softmax_cross_entropy(const Exec& exec, In<T> x, std::span<const std::int64_t> label,
                           const LossOut<T>& out, Out<T> dx);
// The mean; 0 without rows.
template <class T>
T softmax_cross_entropy(const Exec& exec, In<T> x, std::span<const std::int64_t> label, Out<T> dx) {
  const double n = x.rows > 0 ? static_cast<double>(x.rows) : 1;
  return on_host<T>(
      exec, [&](T* value) { softmax_cross_entropy<T>(exec, x, label, {.divisor = n, .value = value}, dx); });
}

}  // namespace flatland::kernels
