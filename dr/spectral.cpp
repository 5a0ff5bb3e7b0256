#include <flatland/dr/dataset.h>
#include <flatland/dr/spectral.h>
#include <flatland/dr/transforms.h>
#include <flatland/dr/with_type.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/random.h>
#include <flatland/kernels/sparse.h>

#include <Spectra/SymEigsSolver.h>
#include <Eigen/Dense>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

namespace flatland {

namespace {

// The entries of compressed rows that join two items: no loops, no zeros.
template <class T>
struct Edges {
  std::span<const std::int64_t> offset;
  std::span<const std::int32_t> col;
  std::span<const T> value;

  std::int64_t items() const { return std::ssize(offset) - 1; }
  // f(j, weight) for each neighbour j of item i.
  template <class F>
  void of(std::int64_t i, F&& f) const {
    const auto row = static_cast<std::size_t>(i);
    for (auto e = static_cast<std::size_t>(offset[row]); e < static_cast<std::size_t>(offset[row + 1]); ++e)
      if (col[e] != static_cast<std::int32_t>(i) && value[e] != 0) f(col[e], static_cast<double>(value[e]));
  }
};

// The connected parts, the largest first, each in ascending order.
template <class T>
std::vector<std::vector<std::int64_t>> parts_of(const Edges<T>& edges) {
  std::vector<std::vector<std::int64_t>> parts;
  std::vector<char> seen(static_cast<std::size_t>(edges.items()), 0);
  for (std::int64_t start = 0; start < edges.items(); ++start) {
    if (seen[static_cast<std::size_t>(start)]) continue;
    std::vector<std::int64_t> part{start};
    seen[static_cast<std::size_t>(start)] = 1;
    for (std::size_t at = 0; at < part.size(); ++at)
      edges.of(part[at], [&](std::int32_t j, double) {
        if (std::exchange(seen[static_cast<std::size_t>(j)], char{1})) return;
        part.push_back(j);
      });
    std::ranges::sort(part);
    parts.push_back(std::move(part));
  }
  std::ranges::stable_sort(parts, std::greater<>{}, [](const auto& part) { return part.size(); });
  return parts;
}

// The edges in compressed rows, the connected parts one after another, each with columns that count its own
// items: the only copy of the relations.
struct Graph {
  std::vector<std::vector<std::int64_t>> parts;
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> col;
  std::vector<double> weight;
};

template <class T>
Graph graph_of(const Edges<T>& edges) {
  Graph g;
  g.parts = parts_of(edges);
  std::size_t count = 0;
  std::vector<std::int32_t> place(static_cast<std::size_t>(edges.items()));
  for (const auto& part : g.parts)
    for (std::size_t i = 0; i < part.size(); ++i) {
      place[static_cast<std::size_t>(part[i])] = static_cast<std::int32_t>(i);
      edges.of(part[i], [&](std::int32_t, double) { ++count; });
    }
  g.offset.reserve(place.size() + 1);
  g.col.reserve(count);
  g.weight.reserve(count);
  for (const auto& part : g.parts)
    for (const std::int64_t item : part) {
      const std::int64_t before = std::ssize(g.col);
      bool both_ways = true;
      edges.of(item, [&](std::int32_t j, double weight) {
        const auto at = static_cast<std::size_t>(place[static_cast<std::size_t>(j)]);
        both_ways = both_ways && at < part.size() && part[at] == j;
        g.col.push_back(static_cast<std::int32_t>(at));
        g.weight.push_back(weight);
      });
      both_ways = both_ways && (part.size() == 1 || std::ssize(g.col) > before);
      FLATLAND_CHECK(
          both_ways, "spectral_embedding: some relations of item ", item,
          " lead one way only, though they are marked symmetric; without the mark they are made so");
      g.offset.push_back(std::ssize(g.col));
    }
  return g;
}

Graph graph_of(const SparseRelations& form) {
  const Tensor offset = form.row_offset.to(Device::cpu), col = form.col.to(Device::cpu),
               values = form.values.detach().to(Device::cpu);
  return with_type(values, [&](auto zero) {
    const Edges<decltype(zero)> edges{offset.values<std::int64_t>(), col.values<std::int32_t>(),
                                      values.values<decltype(zero)>()};
    for (std::int64_t i = 0; i < edges.items(); ++i)
      edges.of(i, [&](std::int32_t j, double weight) {
        FLATLAND_CHECK(std::isfinite(weight) && weight > 0, "spectral_embedding: the relation of items ", i,
                       " and ", j, " is ", weight,
                       "; they must be finite and not negative, as affinities are");
      });
    return graph_of(edges);
  });
}

// D^-1/2 W D^-1/2 of a connected part without its known leading eigenvector (eigenvalue 1, proportional to
// the roots of the degrees), and shifted by 1, so that all eigenvalues that are sought come first. As Spectra
// sees it.
class Affinity {
 public:
  using Scalar = double;
  // Of the part whose rows begin at `first`; its weights become those of the affinity.
  Affinity(Graph& g, const std::vector<std::int64_t>& part, std::int64_t first)
      : roots_(std::ssize(part)), leading_(std::ssize(part)) {
    const std::int64_t n = std::ssize(part);
    const std::int64_t* offset = g.offset.data() + first;
    m_ = {n, n, offset, offset + 1, g.col.data(), g.weight.data()};
    for (std::int64_t i = 0; i < n; ++i) {
      double degree = 0;
      for (std::int64_t e = offset[i]; e < offset[i + 1]; ++e)
        degree += g.weight[static_cast<std::size_t>(e)];
      FLATLAND_CHECK(std::isfinite(degree), "spectral_embedding: the relations of item ",
                     part[static_cast<std::size_t>(i)], " add up to ", degree, "; scale them down");
      roots_[i] = std::sqrt(degree);
    }
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t e = offset[i]; e < offset[i + 1]; ++e)
        g.weight[static_cast<std::size_t>(e)] /= roots_[i] * roots_[g.col[static_cast<std::size_t>(e)]];
    leading_ = roots_.normalized();
  }
  const Eigen::VectorXd& root_degrees() const { return roots_; }
  Eigen::Index rows() const { return leading_.size(); }
  Eigen::Index cols() const { return leading_.size(); }
  void perform_op(const double* x, double* y) const {
    const std::int64_t n = rows();
    kernels::sparse_times_dense<double>(current_exec(), m_, {x, n, 1}, {y, n, 1});
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
  kernels::SparseRows<double> m_;
  Eigen::VectorXd roots_, leading_;
};

// Vectors of the `dims` largest eigenvalues, descending; nothing where they are not found.
std::optional<Eigen::MatrixXd> leading_vectors(Affinity& affinity, std::int64_t dims,
                                               const SpectralOptions& options) {
  const Eigen::Index n = affinity.rows();
  const Eigen::Index basis = std::max<Eigen::Index>(4 * dims + 1, 40);
  if (n <= 2 * basis) {
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(affinity.dense());
    if (solver.info() != Eigen::Success) return {};
    return solver.eigenvectors().rightCols(dims).rowwise().reverse();
  }
  Spectra::SymEigsSolver<Affinity> solver(affinity, dims, basis);
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
std::optional<Eigen::MatrixXd> embed_part(Affinity affinity, std::int64_t dims,
                                          const SpectralOptions& options) {
  std::optional<Eigen::MatrixXd> y = leading_vectors(affinity, dims, options);
  if (!y) return {};
  y->array().colwise() /= affinity.root_degrees().array();
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
  Graph g = graph_of(form);
  const auto& parts = g.parts;
  const std::int64_t n = sparse.items();
  Tensor out = Tensor::zeros({n, dims}, Dtype::float64);
  const auto y = out.mutable_matrix<double>();
  std::int64_t first = 0;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const auto size = static_cast<Eigen::Index>(parts[p].size());
    std::optional<Eigen::MatrixXd> own = Eigen::MatrixXd::Zero(size, dims);
    if (size > dims + 1) own = embed_part(Affinity(g, parts[p], first), dims, options);
    if (!own) return {};
    first += size;
    const Place stand(p, parts.size(), dims, static_cast<double>(size) / static_cast<double>(n));
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
