// Principal components.
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>

namespace flatland {

// Directions of largest variance of centred data, by decreasing variance. The sign of each is fixed: its
// largest absolute loading is positive (the first such). A direction without variance is all zeros.
//   Pca pca = Pca::fit(x, 2);   Tensor y = pca.transform(x);
struct Pca {
  Tensor mean;                      // (D)
  Tensor components;                // (d, D), of length 1
  Tensor explained_variance;        // (d), divisor N - 1
  Tensor explained_variance_ratio;  // (d), of the variance of all columns

  // x (N, D), float32 or float64; 1 <= dims <= D. Errors: no rows, other dims, NaN or infinite values.
  // Cost: N D min(N, D) multiply-adds and some 50 products with the smaller Gram matrix. The same bits for
  // any number of threads. Data on a GPU is fitted on the CPU; the result lies where the data does.
  static Pca fit(const Tensor& x, std::int64_t dims);
  // (x - mean) components^T, in the type of x.
  Tensor transform(const Tensor& x) const;
};

}  // namespace flatland
