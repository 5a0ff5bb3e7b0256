// The hot loops of kl_student_t.cpp, compiled once an instruction-set level.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/sparse.h>

#include <cstdint>

namespace flatland::kernels {

inline constexpr std::int64_t k_pair_tile = 64;

// The embedding in columns: coordinate c of item i at y[c * stride + i], scaled by 1 / sqrt(alpha), so that
// the base of the Student-t kernel is 1 + |y_i - y_j|^2. stride is a multiple of k_pair_tile, zeros past n.
template <class T>
struct PairItems {
  double alpha;
  std::int64_t n;
  std::int64_t d;
  std::int64_t stride;
  const T* y;
};

// For the k_pair_tile rows from `first` against all items: force[c * stride + i] = sum_j fall_ij (y_i -
// y_j)_c. Returns the sum of w over these rows, j != i.   work: room for pair_work(d) values
template <Isa I, class T>
double repulse_tile(const PairItems<T>& items, std::int64_t first, double* force, double* work);
constexpr std::int64_t pair_work(std::int64_t d) {
  return 64 * d;
}

// The same rows against the entries of p, with q = w scale: the terms of the loss, sum p q / (q + eps), and
// force[c * stride + i] = sum_j p / (q + eps) fall_ij (y_i - y_j)_c.
struct AttractSums {
  double loss = 0;
  double share = 0;
};
template <Isa I, class T>
AttractSums attract_tile(const PairItems<T>& items, const SparseRows<T>& p, double eps, T scale,
                         std::int64_t first, double* force);

}  // namespace flatland::kernels
