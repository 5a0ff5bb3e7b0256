// With S = sum w over i != j, q = w / S, r = p / (q + eps) and w' = dw / d|y_i - y_j|^2 the gradient of
// sum p (log(p + eps) - log(q + eps)) / N is, for symmetric p,
//   dL / dy_i = -4 / (N S) (sum_j r_ij w'_ij (y_i - y_j) - (sum r q) sum_j w'_ij (y_i - y_j)),
// where the second part comes from the normalisation. So the first pass over all pairs needs S and the second
// sum, and the rest touches the entries of p alone.
#include <flatland/kernels/divergence.h>
#include <flatland/kernels/kl_student_t_cuda.h>
#include <flatland/kernels/kl_student_t_formulas.h>
#include <flatland/kernels/kl_student_t_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <cmath>

namespace flatland::kernels {

namespace {

template <class T>
void check(double alpha, double eps, const MatView<const T>& y, const SparseRows<T>& p,
           const MatView<T>& dy) {
  FLATLAND_CHECK(alpha > 0 && std::isfinite(alpha), "kl_student_t: alpha is ", alpha,
                 "; it must be positive and finite");
  FLATLAND_CHECK(eps > 0 && eps < 1, "kl_student_t: eps is ", eps,
                 "; want a small positive number such as 1e-7");
  FLATLAND_CHECK(p.rows == y.rows && p.cols == y.rows, "kl_student_t: y is ", y, " but p is (", p.rows, ", ",
                 p.cols, "); p must hold a row and a column for each row of y");
  FLATLAND_CHECK(y.cols >= 1 || y.rows == 0, "kl_student_t: y is ", y, "; it needs at least one dimension");
  FLATLAND_CHECK(dy.data == nullptr || (dy.rows == y.rows && dy.cols == y.cols), "kl_student_t: y is ", y,
                 " but dy is ", dy);
}

// Coordinates in columns.
template <class T>
void pack(const MatView<const T>& y, T scale, std::int64_t stride, T* packed) {
  for (std::int64_t c = 0; c < y.cols; ++c) {
    T* column = packed + c * stride;
    for (std::int64_t i = 0; i < y.rows; ++i) column[i] = pair_coordinate(y(i, c), scale);
    std::fill(column + y.rows, column + stride, T{0});
  }
}

}  // namespace

template <class T>
void kl_student_t(const Exec& exec, double alpha, double eps, MatView<const T> y, const SparseRows<T>& p,
                  Out<T> dy, T* value) {
  check<T>(alpha, eps, y, p, dy);
  FLATLAND_ON_CUDA(exec) return cuda::kl_student_t<T>(exec, alpha, eps, y, p, dy, value);
  const std::int64_t n = y.rows;
  const std::int64_t d = y.cols;
  const std::int64_t tiles = ceil_div(n, k_pair_tile);
  const std::int64_t stride = tiles * k_pair_tile;
  const ScratchArray<T> packed(exec, checked_mul(d, stride));
  const ScratchArray<double> push(exec, d * stride);
  const ScratchArray<double> pull(exec, d * stride);
  const ScratchArray<double> weight(exec, tiles);
  const ScratchArray<AttractSums> part(exec, tiles);
  const ScratchArray<double> work(exec, d > 3 ? exec.threads() * pair_work(d) : 0);
  pack<T>(y, static_cast<T>(pair_scale(alpha)), stride, packed.data());
  const PairItems<T> items{alpha, n, d, stride, packed.data()};

  with_isa([&](auto isa) {
    parallel_for(exec, tiles, [&](std::int64_t tile, int thread) {
      double* own_work = work.data() + (d > 3 ? thread * pair_work(d) : 0);
      weight[tile] = repulse_tile<isa, T>(items, tile * k_pair_tile, push.data(), own_work);
    });
  });
  double sum = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) sum += weight[tile];
  const double inverse_sum = inverse_weight(sum);
  with_isa([&](auto isa) {
    parallel_for(exec, tiles, [&](std::int64_t tile, int) {
      part[tile] =
          attract_tile<isa, T>(items, p, eps, static_cast<T>(inverse_sum), tile * k_pair_tile, pull.data());
    });
  });
  AttractSums total;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    total.loss += part[tile].loss;
    total.share += part[tile].share;
  }
  const double items_count = static_cast<double>(std::max<std::int64_t>(1, n));
  if (dy.data) {
    const double factor = gradient_factor(alpha, items_count) * inverse_sum;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t c = 0; c < d; ++c) {
        const std::int64_t at = c * stride + i;
        dy(i, c) = static_cast<T>(pair_gradient(factor, pull[at], total.share, push[at]));
      }
  }
  *value = static_cast<T>(total.loss / items_count);
}

template void kl_student_t(const Exec&, double, double, MatView<const float>, const SparseRows<float>&,
                           Out<float>, float*);
template void kl_student_t(const Exec&, double, double, MatView<const double>, const SparseRows<double>&,
                           Out<double>, double*);

}  // namespace flatland::kernels
