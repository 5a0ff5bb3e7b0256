// Leading eigenvectors of symmetric matrices (private to this folder).
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace flatland {

// y = A x for a symmetric (size, size) matrix A; x and y are (size) values.
struct SymmetricProduct {
  std::int64_t size = 0;
  std::function<void(const double* x, double* y)> times;
};

struct EigenSearch {
  std::int64_t dense_up_to = 0;  // matrices up to this size are decomposed whole
  std::int64_t basis = 20;       // vectors kept at once, more than are sought
  std::int64_t restarts = 1000;
  double tolerance = 1e-12;  // of the eigenvalues, relative
};

struct Eigenpairs {
  std::vector<double> values;  // descending
  Tensor vectors;              // float64 (count, size): a row each, of length 1
};

// The `count` largest eigenvalues of A, at most its size, by the restarted Lanczos method from a fixed start.
// Nothing where they do not converge. The same bits at each call where A's product has them.
std::optional<Eigenpairs> largest_eigenpairs(const SymmetricProduct& a, std::int64_t count,
                                             const EigenSearch& search);

}  // namespace flatland
