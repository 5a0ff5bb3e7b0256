// Losses with PyTorch's semantics and names. Each is a value that is called like a function: mse_loss(y, t),
// or with other settings MSELoss{.reduction = Reduction::sum}(y, t). A loss takes one pass over its inputs,
// in which it finds its gradients too.
#pragma once

#include <flatland/engine/tensor.h>

namespace flatland {

// What a loss does with the losses of its terms: their mean, their sum, or nothing.
enum class Reduction { mean, sum, none };

// Of predictions and targets of equal shape.
// (x - t)^2
struct MSELoss {
  Reduction reduction = Reduction::mean;
  Tensor operator()(const Tensor& prediction, const Tensor& target) const;
};
// |x - t|, gradient 0 at equality
struct L1Loss {
  Reduction reduction = Reduction::mean;
  Tensor operator()(const Tensor& prediction, const Tensor& target) const;
};
// (x - t)^2 / (2 beta) where |x - t| < beta, else |x - t| - beta / 2
struct SmoothL1Loss {
  double beta = 1;
  Reduction reduction = Reduction::mean;
  Tensor operator()(const Tensor& prediction, const Tensor& target) const;
};
// Binary cross-entropy -t log x - (1 - t) log(1 - x) of probabilities x, logarithms at least -100. Error
// where x or t is not in [0, 1]; on CUDA the loss is NaN then. Targets have no gradient here and below.
struct BCELoss {
  Reduction reduction = Reduction::mean;
  Tensor operator()(const Tensor& prediction, const Tensor& target) const;
};
// The same of sigmoid(x), without overflow.
struct BCEWithLogitsLoss {
  Reduction reduction = Reduction::mean;
  Tensor operator()(const Tensor& logits, const Tensor& target) const;
};

// -log softmax(logits)[label] of each row: logits (N, C), labels int64 (N) in [0, C), else Error. On CUDA
// labels are not looked at, and rows with others have loss and gradient 0: check them once, before training.
struct CrossEntropy {
  Reduction reduction = Reduction::mean;
  Tensor operator()(const Tensor& logits, const Tensor& labels) const;
};

// -log of the normal density at the target: (log v + (mean - t)^2 / v) / 2, v = max(variance, eps), of equal
// shapes; with `full` the constant log(2 pi) / 2 too. The gradient by the variance is not 0 where v is eps.
// Error where the variance is below 0; on CUDA the loss is NaN then.
struct GaussianNLLLoss {
  bool full = false;
  double eps = 1e-6;
  Reduction reduction = Reduction::mean;
  Tensor operator()(const Tensor& mean, const Tensor& target, const Tensor& variance) const;
};

// max(0, |a - p| - |a - n| + margin) of the rows of (N, D), Euclidean, eps added to each difference.
struct TripletMarginLoss {
  double margin = 1;
  double eps = 1e-6;
  Reduction reduction = Reduction::mean;
  Tensor operator()(const Tensor& anchor, const Tensor& positive, const Tensor& negative) const;
};

inline constexpr MSELoss mse_loss{};
inline constexpr L1Loss l1_loss{};
inline constexpr SmoothL1Loss smooth_l1_loss{};
inline constexpr BCELoss bce_loss{};
inline constexpr BCEWithLogitsLoss bce_with_logits_loss{};
inline constexpr CrossEntropy cross_entropy{};
inline constexpr GaussianNLLLoss gaussian_nll_loss{};
inline constexpr TripletMarginLoss triplet_margin_loss{};

}  // namespace flatland
