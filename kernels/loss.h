// Losses of predictions against targets, with their gradients in the same pass.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// l(x, t) of one prediction and its target:
//   squared           (x - t)^2
//   absolute          |x - t|, derivative 0 at equality
//   smooth_absolute   (x - t)^2 / (2 beta) where |x - t| < beta, else |x - t| - beta / 2
//   binary            -t max(log x, -100) - (1 - t) max(log(1 - x), -100) of a probability x; NaN where x or
//                     t is not in [0, 1]. In its derivative (x - t) / (x (1 - x)) the denominator is at least
//                     1e-12
//   binary_logit      the same of x = sigmoid(logit), without overflow: max(x, 0) - x t + log(1 + e^-|x|)
enum class LossKind { squared, absolute, smooth_absolute, binary, binary_logit };
struct LossRule {
  LossKind kind = LossKind::squared;
  double beta = 1;  // smooth_absolute: above 0
};

// Where a loss goes; what is null is not wanted. Gradients are divided by the divisor as the sum is: n for a
// mean, 1 for a sum.
//   *value = sum of l / divisor, added in double in fixed order       loss[i] = l, not divided
template <class T>
struct LossOut {
  double divisor = 1;
  T* value = nullptr;
  T* loss = nullptr;
};
void check_divisor(const char* who, double divisor);  // Error unless above 0

// dx[i] = dl/dx / divisor.   x, target (n)   dx (n) or empty
//   mean squared error and its gradient, 64 x 784 floats     sub, square, sum, div, scaled     here
//   values moved                                             8 n                               3 n
template <class T>
void pointwise_loss(const Exec& exec, const LossRule& rule, InSpan<T> x, InSpan<T> target,
                    const LossOut<T>& out, std::span<T> dx);

// l = (log v + (m - t)^2 / v) / 2, v = max(variance, eps), and with `full` log(2 pi) / 2 more; NaN where the
// variance is below 0. The derivative by the variance is taken at v, and is not 0 where that is eps
// (PyTorch).
//   mean, variance, target (n)   d_mean, d_variance (n) or empty
struct GaussianRule {
  bool full = false;
  double eps = 1e-6;
};
template <class T>
void gaussian_loss(const Exec& exec, const GaussianRule& rule, InSpan<T> mean, InSpan<T> variance,
                   InSpan<T> target, const LossOut<T>& out, std::span<T> d_mean, std::span<T> d_variance);

// l = max(0, |a - p| - |a - n| + margin) of the rows a, p, n, with |d| = sqrt(sum_j (d_j + eps)^2) (PyTorch).
// The derivative of |d| is 0 where |d| is.
//   anchor, positive, negative (N, D)   d_anchor, d_positive, d_negative (N, D), each or no data; loss (N)
struct TripletRule {
  double margin = 1;
  double eps = 1e-6;
};
template <class T>
struct TripletGradients {
  MatView<T> anchor, positive, negative;
};
template <class T>
void triplet_loss(const Exec& exec, const TripletRule& rule, In<T> anchor, In<T> positive, In<T> negative,
                  const LossOut<T>& out, const TripletGradients<T>& gradients);

}  // namespace flatland::kernels
