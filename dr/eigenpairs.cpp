#include <flatland/dr/eigenpairs.h>
#include <flatland/kernels/random.h>

#include <Spectra/SymEigsSolver.h>
#include <Eigen/Dense>

#include <algorithm>

namespace flatland {

namespace {

// As Spectra sees it.
class Operator {
 public:
  using Scalar = double;
  explicit Operator(const SymmetricProduct& a) : a_(a) {}
  Eigen::Index rows() const { return a_.size; }
  Eigen::Index cols() const { return a_.size; }
  void perform_op(const double* x, double* y) const { a_.times(x, y); }

 private:
  const SymmetricProduct& a_;
};

Eigenpairs pairs_of(const Eigen::VectorXd& values, const Eigen::MatrixXd& vectors) {
  Eigenpairs pairs{{values.begin(), values.end()},
                   Tensor::empty({vectors.cols(), vectors.rows()}, Dtype::float64)};
  std::copy_n(vectors.data(), vectors.size(), pairs.vectors.mutable_data<double>());
  return pairs;
}

std::optional<Eigenpairs> decomposed_whole(const SymmetricProduct& a, std::int64_t count) {
  Eigen::MatrixXd m(a.size, a.size);
  for (Eigen::Index j = 0; j < a.size; ++j) {
    const Eigen::VectorXd unit = Eigen::VectorXd::Unit(a.size, j);
    a.times(unit.data(), m.col(j).data());
  }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver((m + m.transpose()) / 2);
  if (solver.info() != Eigen::Success) return {};
  return pairs_of(solver.eigenvalues().tail(count).reverse(),
                  solver.eigenvectors().rightCols(count).rowwise().reverse());
}

}  // namespace

std::optional<Eigenpairs> largest_eigenpairs(const SymmetricProduct& a, std::int64_t count,
                                             const EigenSearch& search) {
  if (a.size <= search.dense_up_to || a.size <= search.basis) return decomposed_whole(a, count);
  Operator product(a);
  Spectra::SymEigsSolver<Operator> solver(product, count, search.basis);
  std::vector<double> start(static_cast<std::size_t>(a.size));
  kernels::fill_uniform<double>(current_exec(), {}, -1, 1, start);
  solver.init(start.data());
  solver.compute(Spectra::SortRule::LargestAlge, search.restarts, search.tolerance);
  if (solver.info() != Spectra::CompInfo::Successful) return {};
  return pairs_of(solver.eigenvalues(), solver.eigenvectors());
}

}  // namespace flatland
