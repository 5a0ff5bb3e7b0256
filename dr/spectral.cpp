#include <flatland/dr/dataset.h>
#include <flatland/dr/spectral.h>
#include <flatland/dr/transforms.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/random.h>
#include <flatland/kernels/sparse.h>

#include <Spectra/SymEigsSolver.h>
#include <Eigen/Dense>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace flatland {

namespace {

// A graph in compressed rows, without loops.
struct Graph {
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> col;
  std::vector<double> weight;

  std::int64_t size() const { return std::ssize(offset) - 1; }
  std::vector<double> degrees() const {
    std::vector<double> d(static_cast<std::size_t>(size()), 0.0);
    for (std::size_t i = 0; i < d.size(); ++i)
      for (auto e = static_cast<std::size_t>(offset[i]); e < static_cast<std::size_t>(offset[i + 1]); ++e)
        d[i] += weight[e];
    return d;
  }
};

Graph graph_of(const SparseRelations& form) {
  const Tensor host_values = form.values.to(Device::cpu).to(Dtype::float64);
  const Tensor host_offset = form.row_offset.to(Device::cpu), host_col = form.col.to(Device::cpu);
  const auto offset = host_offset.values<std::int64_t>();
  const auto col = host_col.values<std::int32_t>();
  const auto value = host_values.values<double>();
  Graph g;
  for (std::size_t i = 0; i + 1 < offset.size(); ++i) {
    for (auto e = static_cast<std::size_t>(offset[i]); e < static_cast<std::size_t>(offset[i + 1]); ++e) {
      FLATLAND_CHECK(std::isfinite(value[e]) && value[e] >= 0, "spectral_embedding: the relation of items ",
                     i, " and ", col[e], " is ", value[e], "; they must be finite and not negative");
      if (col[e] == static_cast<std::int32_t>(i) || value[e] == 0) continue;
      g.col.push_back(col[e]);
      g.weight.push_back(value[e]);
    }
    g.offset.push_back(std::ssize(g.col));
  }
  return g;
}

// The connected parts, the largest first, each in ascending order.
std::vector<std::vector<std::int64_t>> parts_of(const Graph& g) {
  std::vector<std::vector<std::int64_t>> parts;
  std::vector<char> seen(static_cast<std::size_t>(g.size()), 0);
  for (std::int64_t start = 0; start < g.size(); ++start) {
    if (seen[static_cast<std::size_t>(start)]) continue;
    std::vector<std::int64_t> part{start};
    seen[static_cast<std::size_t>(start)] = 1;
    for (std::size_t at = 0; at < part.size(); ++at) {
      const auto i = static_cast<std::size_t>(part[at]);
      for (std::int64_t e = g.offset[i]; e < g.offset[i + 1]; ++e) {
        const std::int32_t j = g.col[static_cast<std::size_t>(e)];
        if (seen[static_cast<std::size_t>(j)]) continue;
        seen[static_cast<std::size_t>(j)] = 1;
        part.push_back(j);
      }
    }
    std::ranges::sort(part);
    parts.push_back(std::move(part));
  }
  std::ranges::stable_sort(parts, std::greater<>{}, [](const auto& part) { return part.size(); });
  return parts;
}

// place: scratch, a value an item.
Graph restricted(const Graph& g, const std::vector<std::int64_t>& items, std::vector<std::int32_t>& place) {
  for (std::size_t i = 0; i < items.size(); ++i)
    place[static_cast<std::size_t>(items[i])] = static_cast<std::int32_t>(i);
  Graph part;
  for (const std::int64_t item : items) {
    const auto i = static_cast<std::size_t>(item);
    for (auto e = static_cast<std::size_t>(g.offset[i]); e < static_cast<std::size_t>(g.offset[i + 1]); ++e) {
      part.col.push_back(place[static_cast<std::size_t>(g.col[e])]);
      part.weight.push_back(g.weight[e]);
    }
    part.offset.push_back(std::ssize(part.col));
  }
  return part;
}

// D^-1/2 W D^-1/2 without its known leading eigenvector (eigenvalue 1, proportional to the roots of the
// degrees), and shifted by 1, so that all eigenvalues that are sought come first. As Spectra sees it.
class Affinity {
 public:
  using Scalar = double;
  Affinity(Graph g, const std::vector<double>& degrees) : g_(std::move(g)), leading_(g_.size()) {
    for (std::size_t i = 0; i < degrees.size(); ++i) {
      leading_[static_cast<Eigen::Index>(i)] = std::sqrt(degrees[i]);
      for (auto e = static_cast<std::size_t>(g_.offset[i]); e < static_cast<std::size_t>(g_.offset[i + 1]);
           ++e)
        g_.weight[e] /= std::sqrt(degrees[i]) * std::sqrt(degrees[static_cast<std::size_t>(g_.col[e])]);
    }
    leading_.normalize();
  }
  Eigen::Index rows() const { return leading_.size(); }
  Eigen::Index cols() const { return leading_.size(); }
  void perform_op(const double* x, double* y) const {
    const std::int64_t n = g_.size();
    const kernels::SparseRows<double> m{
        n, n, g_.offset.data(), g_.offset.data() + 1, g_.col.data(), g_.weight.data()};
    kernels::sparse_times_dense<double>(current_exec(), m, {x, n, 1}, {y, n, 1});
    const Eigen::Map<const Eigen::VectorXd> in(x, n);
    Eigen::Map<Eigen::VectorXd>(y, n) += in - 2 * leading_.dot(in) * leading_;
  }
  Eigen::MatrixXd dense() const {
    Eigen::MatrixXd m(rows(), rows());
    for (Eigen::Index j = 0; j < rows(); ++j) {
      const Eigen::VectorXd unit = Eigen::VectorXd::Unit(rows(), j);
      perform_op(unit.data(), m.col(j).data());
    }
    return (m + m.transpose()) / 2;
  }

 private:
  Graph g_;
  Eigen::VectorXd leading_;
};

// Vectors of the `dims` largest eigenvalues, descending; nothing where they are not found.
std::optional<Eigen::MatrixXd> leading_vectors(const Affinity& affinity, std::int64_t dims,
                                               const SpectralOptions& options) {
  const Eigen::Index n = affinity.rows();
  const Eigen::Index basis = std::max<Eigen::Index>(4 * dims + 1, 40);
  if (n <= 2 * basis) {
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(affinity.dense());
    if (solver.info() != Eigen::Success) return {};
    return solver.eigenvectors().rightCols(dims).rowwise().reverse();
  }
  Affinity op = affinity;
  Spectra::SymEigsSolver<Affinity> solver(op, dims, basis);
  Eigen::VectorXd start(n);
  kernels::fill_uniform<double>(current_exec(), {}, -1, 1,
                                std::span(start.data(), static_cast<std::size_t>(n)));
  solver.init(start.data());
  const Eigen::Index restarts = std::max<Eigen::Index>(1, options.max_products / (basis - dims));
  solver.compute(Spectra::SortRule::LargestAlge, restarts, options.tolerance);
  if (solver.info() != Spectra::CompInfo::Successful) return {};
  return solver.eigenvectors();
}

// Scales a column so that its largest absolute value is `size`, and positive.
void scale(Eigen::Ref<Eigen::VectorXd> v, double size) {
  Eigen::Index at = 0;
  v.cwiseAbs().maxCoeff(&at);
  if (v[at] != 0) v *= size / v[at];
}

// A connected part: eigenvectors divided by the roots of the degrees.
std::optional<Eigen::MatrixXd> embed_part(const Graph& g, std::int64_t dims, const SpectralOptions& options) {
  const std::vector<double> degrees = g.degrees();
  std::optional<Eigen::MatrixXd> y = leading_vectors(Affinity(g, degrees), dims, options);
  if (!y) return {};
  for (Eigen::Index i = 0; i < y->rows(); ++i) y->row(i) /= std::sqrt(degrees[static_cast<std::size_t>(i)]);
  for (Eigen::Index c = 0; c < dims; ++c) {
    const double size = y->col(c).cwiseAbs().maxCoeff();
    scale(y->col(c), size);
  }
  return y;
}

// Where a part of several stands: along the axes, one way and the other, then further out, but not further
// than 2; and how far it may reach from there without meeting the next.
struct Place {
  std::int64_t axis;
  double at, reach;

  Place(std::size_t part, std::size_t parts, std::int64_t dims, double share) {
    const auto ways = static_cast<std::size_t>(2 * dims);
    const auto round = static_cast<double>(part / ways), rounds = static_cast<double>(parts / ways + 1);
    axis = static_cast<std::int64_t>(part % ways / 2);
    at = (part % 2 == 0 ? 1 : -1) * (round == 0 ? 1 : 1.5 + 0.5 * round / rounds);
    reach = std::min(0.4 * std::sqrt(share), round == 0 ? 1 : 0.2 / rounds);
  }
};

}  // namespace

std::optional<Tensor> spectral_embedding(const RelationData& relations, std::int64_t dims,
                                         const SpectralOptions& options) {
  FLATLAND_CHECK(dims >= 1, "spectral_embedding: ", dims, " dimensions; ask for 1 or more");
  const RelationData sparse = (relations.symmetric() ? relations : Symmetrize{}(relations)).to_sparse();
  const SparseRelations& form = *sparse.get_if<SparseRelations>();
  const Graph g = graph_of(form);
  const auto parts = parts_of(g);
  const auto n = static_cast<double>(g.size());
  Tensor out = Tensor::zeros({g.size(), dims}, Dtype::float64);
  const auto y = out.mutable_matrix<double>();
  std::vector<std::int32_t> place(static_cast<std::size_t>(g.size()));
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const auto size = static_cast<Eigen::Index>(parts[p].size());
    std::optional<Eigen::MatrixXd> own = Eigen::MatrixXd::Zero(size, dims);
    if (size > dims + 1) own = embed_part(restricted(g, parts[p], place), dims, options);
    if (!own) return {};
    const Place stand(p, parts.size(), dims, static_cast<double>(size) / n);
    for (std::int64_t c = 0; c < dims; ++c) {
      if (parts.size() > 1) scale(own->col(c), stand.reach);
      const double at = parts.size() > 1 && c == stand.axis ? stand.at : 0;
      for (std::size_t i = 0; i < parts[p].size(); ++i)
        y(parts[p][i], c) = at + (*own)(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(c));
    }
  }
  return out.to(form.values.dtype()).to(form.values.device());
}

}  // namespace flatland
