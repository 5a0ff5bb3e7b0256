#include <flatland/kernels/knn_axes_simd.h>
#include <flatland/kernels/knn_graph_simd.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/parallel.h>

#include <Eigen/Dense>
#include <algorithm>

namespace flatland::kernels {

namespace {

// Of up to 2,048 rows.
Eigen::MatrixXf second_moments(const Exec& exec, MatView<const float> z) {
  const std::int64_t n = std::min<std::int64_t>(z.rows, 2048);
  const ScratchArray<float> sample(exec, checked_mul(n, z.cols));
  for (std::int64_t s = 0; s < n; ++s) std::copy_n(z.row(s * z.rows / n), z.cols, sample.data() + s * z.cols);
  Eigen::MatrixXf moments(z.cols, z.cols);
  const MatView<const float> rows(sample.data(), n, z.cols);
  matmul<float>(exec, Transpose::a, rows, rows, {moments.data(), z.cols, z.cols});
  return moments;
}

}  // namespace

std::int64_t turn_to_axes(const Exec& exec, MatView<float> z) {
  constexpr double share = 0.7;
  const std::int64_t d = z.cols;
  if (d <= k_graph_pad || d > 1024) return z.ld;
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXf> solver(second_moments(exec, z));
  if (solver.info() != Eigen::Success) return z.ld;
  // Column after column in memory is row after row of the transpose.
  const Eigen::MatrixXf axes = solver.eigenvectors().rowwise().reverse();
  constexpr std::int64_t block = 4096;
  const ScratchArray<float> given(exec, checked_mul(std::min(block, z.rows), d));
  for (std::int64_t begin = 0; begin < z.rows; begin += block) {
    const std::int64_t count = std::min(block, z.rows - begin);
    for (std::int64_t i = 0; i < count; ++i) std::copy_n(z.row(begin + i), d, given.data() + i * d);
    matmul<float>(exec, Transpose::b, {given.data(), count, d}, {axes.data(), d, d},
                  {z.row(begin), count, d, z.ld});
  }
  const Eigen::VectorXd squares = solver.eigenvalues().cast<double>().reverse().cwiseMax(0);
  std::int64_t lead = k_graph_pad;
  while (lead < d && squares.head(lead).sum() < share * squares.sum()) lead += k_graph_pad;
  return std::min(lead, z.ld);
}

}  // namespace flatland::kernels
