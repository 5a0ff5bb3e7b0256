#include <flatland/dr/dataset.h>
#include <flatland/dr/eigenpairs.h>
#include <flatland/dr/spectral.h>
#include <flatland/dr/transforms.h>
#include <flatland/dr/with_type.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/sparse.h>

#include <algorithm>
#include <cmath>
#include <numeric>
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

// Error unless each edge leads both ways with equal weights, up to rounding. Item i's edges come back in rows
// of which no entry before i is asked for again.
template <class T>
void check_symmetric(const Edges<T>& edges) {
  std::vector<std::int64_t> next(edges.offset.begin(), edges.offset.end() - 1);
  for (std::int64_t i = 0; i < edges.items(); ++i)
    edges.of(i, [&](std::int32_t j, double weight) {
      std::int64_t& e = next[static_cast<std::size_t>(j)];
      const auto col = [&] { return edges.col[static_cast<std::size_t>(e)]; };
      const std::int64_t end = edges.offset[static_cast<std::size_t>(j) + 1];
      while (e < end && col() < i) ++e;
      const double back =
          e < end && col() == i ? static_cast<double>(edges.value[static_cast<std::size_t>(e)]) : 0;
      FLATLAND_CHECK(
          std::abs(weight - back) <= 1e-4 * weight, "spectral_embedding: items ", i, " and ", j,
          " are related by ", weight, " one way and ", back,
          " the other, though their relations are marked symmetric; without the mark they are made so");
    });
}

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
      edges.of(item, [&](std::int32_t j, double weight) {
        g.col.push_back(place[static_cast<std::size_t>(j)]);
        g.weight.push_back(weight);
      });
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
    check_symmetric(edges);
    return graph_of(edges);
  });
}

// D^-1/2 W D^-1/2 of a connected part without its known leading eigenvector (eigenvalue 1, proportional to
// the roots of the degrees), and shifted by 1, so that all eigenvalues that are sought come first.
class Affinity {
 public:
  // Of the part whose rows begin at `first`; its weights become those of the affinity.
  Affinity(Graph& g, const std::vector<std::int64_t>& part, std::int64_t first) : roots_(part.size()) {
    const std::int64_t n = std::ssize(part);
    const std::int64_t* offset = g.offset.data() + first;
    m_ = {n, n, offset, offset + 1, g.col.data(), g.weight.data()};
    for (std::size_t i = 0; i < part.size(); ++i) {
      double degree = 0;
      for (std::int64_t e = offset[i]; e < offset[i + 1]; ++e)
        degree += g.weight[static_cast<std::size_t>(e)];
      FLATLAND_CHECK(std::isfinite(degree), "spectral_embedding: the relations of item ", part[i],
                     " add up to ", degree, "; scale them down");
      roots_[i] = std::sqrt(degree);
      degrees_ += degree;
    }
    for (std::size_t i = 0; i < part.size(); ++i)
      for (auto e = static_cast<std::size_t>(offset[i]); e < static_cast<std::size_t>(offset[i + 1]); ++e)
        g.weight[e] /= roots_[i] * roots_[static_cast<std::size_t>(g.col[e])];
  }
  std::int64_t size() const { return m_.rows; }
  const std::vector<double>& root_degrees() const { return roots_; }
  void times(const double* x, double* y) const {
    const std::int64_t n = size();
    kernels::sparse_times_dense<double>(current_exec(), m_, {x, n, 1}, {y, n, 1});
    const double along = std::inner_product(roots_.begin(), roots_.end(), x, 0.0) / degrees_;
    for (std::int64_t i = 0; i < n; ++i) y[i] += x[i] - 2 * along * roots_[static_cast<std::size_t>(i)];
  }

 private:
  kernels::SparseRows<double> m_;
  std::vector<double> roots_;
  double degrees_ = 0;
};

// The value with the largest absolute one.
double largest(std::span<const double> v) {
  return *std::ranges::max_element(v, {}, [](double x) { return std::abs(x); });
}
std::span<double> component(Tensor& y, std::int64_t c) {
  return {y.mutable_matrix<double>().row(c), static_cast<std::size_t>(y.size(1))};
}

// A connected part: eigenvectors divided by the roots of the degrees, (dims, items). The largest absolute
// value of each is positive.
std::optional<Tensor> embed_part(const Affinity& affinity, std::int64_t dims,
                                 const SpectralOptions& options) {
  const std::int64_t basis = std::max<std::int64_t>(4 * dims + 1, 40);
  const auto found =
      largest_eigenpairs({affinity.size(), [&](const double* x, double* y) { affinity.times(x, y); }}, dims,
                         {.dense_up_to = 2 * basis,
                          .basis = basis,
                          .restarts = std::max<std::int64_t>(1, options.max_products / (basis - dims)),
                          .tolerance = options.tolerance});
  if (!found) return {};
  Tensor y = found->vectors;
  for (std::int64_t c = 0; c < dims; ++c) {
    const std::span<double> v = component(y, c);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] /= affinity.root_degrees()[i];
    if (largest(v) < 0)
      for (double& x : v) x = -x;
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
    const auto size = std::ssize(parts[p]);
    std::optional<Tensor> own = Tensor::zeros({dims, size}, Dtype::float64);
    if (size > dims + 1) own = embed_part(Affinity(g, parts[p], first), dims, options);
    if (!own) return {};
    first += size;
    const Place stand(p, parts.size(), dims, static_cast<double>(size) / static_cast<double>(n));
    for (std::int64_t c = 0; c < dims; ++c) {
      const std::span<const double> v = component(*own, c);
      const double reach = parts.size() > 1 && largest(v) > 0 ? stand.reach / largest(v) : 1;
      const double at = parts.size() > 1 && c == stand.axis ? stand.at : 0;
      for (std::size_t i = 0; i < v.size(); ++i) y(parts[p][i], c) = at + v[i] * reach;
    }
  }
  return out.to(form.values.dtype()).to(form.values.device());
}

}  // namespace flatland
