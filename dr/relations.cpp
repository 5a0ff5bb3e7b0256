#include <flatland/dr/dataset.h>
#include <flatland/dr/listed.h>
#include <flatland/dr/relations.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/knn_approximate.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

namespace flatland {

namespace {

RelationData transformed(RelationData data, const std::vector<Transform>& transforms,
                         const RelationContext& context) {
  for (const Transform& transform : transforms) data = transform(data, context);
  return data;
}

void check_data(const char* who, const std::string& key, const Tensor& data) {
  FLATLAND_CHECK(data.defined(), who, ": there is no data");
  FLATLAND_CHECK(data.is_floating() && data.rank() == 2, who, ": the data '", key,
                 "' must be a floating matrix with a row an item; it is ", name(data.dtype()), ' ',
                 data.shape());
  check_finite(who, data);
}

std::span<const double> row(const Tensor& x, std::int64_t i) {
  return x.values<double>().subspan(static_cast<std::size_t>(i * x.size(1)),
                                    static_cast<std::size_t>(x.size(1)));
}

Tensor user_pdist(const RowMetric& metric, const Tensor& data) {
  const Tensor x = data.to(Device::cpu).to(Dtype::float64);
  const std::int64_t n = x.size(0);
  Tensor dist = Tensor::empty({n * (n - 1) / 2}, Dtype::float64);
  double* out = dist.mutable_data<double>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = i + 1; j < n; ++j) *out++ = metric(row(x, i), row(x, j));
  }
  check_finite("PDist: the user's metric", dist);
  return dist.to(data.dtype()).to(data.device());
}

NeighborRelations user_knn(const RowMetric& metric, const Tensor& data, std::int64_t k) {
  const Tensor x = data.to(Device::cpu).to(Dtype::float64);
  const std::int64_t n = x.size(0);
  Tensor index = Tensor::empty({n, k}, Dtype::int32);
  Tensor dist = Tensor::empty({n, k}, Dtype::float64);
  std::vector<double> all(static_cast<std::size_t>(n));
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      all[static_cast<std::size_t>(j)] =
          i == j ? std::numeric_limits<double>::infinity() : metric(row(x, i), row(x, j));
    }
    std::iota(order.begin(), order.end(), 0);
    const auto closer = [&](std::int32_t a, std::int32_t b) {
      const double da = all[static_cast<std::size_t>(a)], db = all[static_cast<std::size_t>(b)];
      return da != db ? da < db : a < b;
    };
    std::partial_sort(order.begin(), order.begin() + k, order.end(), closer);
    for (std::int64_t j = 0; j < k; ++j) {
      const std::int32_t neighbor = order[static_cast<std::size_t>(j)];
      index.mutable_data<std::int32_t>()[i * k + j] = neighbor;
      dist.mutable_data<double>()[i * k + j] = all[static_cast<std::size_t>(neighbor)];
    }
  }
  check_finite("NeighborBasedPDist: the user's metric", dist);
  return {index.to(data.device()), dist.to(data.dtype()).to(data.device())};
}

NeighborRelations exact_knn(Metric metric, const Tensor& data, std::int64_t k) {
  const kernels::Exec& exec = current_exec(data.device());
  Tensor index = Tensor::empty({data.size(0), k}, Dtype::int32, data.device());
  Tensor dist = Tensor::empty({data.size(0), k}, data.dtype(), data.device());
  if (data.dtype() == Dtype::float32) {
    kernels::knn<float>(exec, metric, data.matrix<float>(), k, index.mutable_matrix<std::int32_t>(),
                        dist.mutable_matrix<float>());
  } else {
    kernels::knn<double>(exec, metric, data.matrix<double>(), k, index.mutable_matrix<std::int32_t>(),
                         dist.mutable_matrix<double>());
  }
  return {index, dist};
}

template <class T>
double approximate_knn(Metric metric, const Tensor& x, const NeighborRelations& found) {
  constexpr std::uint64_t seed = 0;  // of the search: a relation gives the same result wherever it stands
  Tensor index = found.index, dist = found.values;
  const kernels::Exec& exec = current_exec(Device::cpu);
  const auto out = dist.mutable_matrix<T>();
  kernels::knn_approximate<T>(exec, metric, x.matrix<T>(), out.cols, {.seed = seed},
                              index.mutable_matrix<std::int32_t>(), out);
  return kernels::knn_recall<T>(exec, metric, x.matrix<T>(), out, k_recall_items, seed);
}

NeighborRelations approximate_knn(Metric metric, const Tensor& data, std::int64_t k,
                                  const RelationContext& context) {
  const Tensor x = data.to(Device::cpu);
  const NeighborRelations found{Tensor::empty({x.size(0), k}, Dtype::int32),
                                Tensor::empty({x.size(0), k}, x.dtype())};
  const double recall = x.dtype() == Dtype::float32 ? approximate_knn<float>(metric, x, found)
                                                    : approximate_knn<double>(metric, x, found);
  std::ostringstream text;
  text << "nearest neighbours found with a recall of " << std::round(1000 * recall) / 1000 << " ("
       << std::min(k_recall_items, x.size(0)) << " items sampled)";
  context.stage(text.str());
  return {found.index.to(data.device()), found.values.to(data.device())};
}

bool approximately(const NeighborBasedPDist& relation, const Tensor& data, const RelationContext& context) {
  if (!searches_approximately(relation.search, data.size(0))) return false;
  if (relation.search == NeighborSearch::approximate) return true;
  const Metric* metric = relation.metric.built_in();
  if (data.device() != Device::cpu || metric == nullptr || !kernels::has_approximate_knn(*metric))
    return false;
  std::ostringstream text;
  text << "NeighborBasedPDist: the neighbours of " << data.size(0)
       << " items are searched approximately; NeighborSearch::exact finds all, in a time that grows with the "
          "square of their number";
  context.warn(text.str());
  return true;
}

Tensor user_differentiable_pdist(const TensorMetric& metric, const Tensor& x) {
  const std::int64_t n = x.size(0), pairs = n * (n - 1) / 2;
  Tensor from = Tensor::empty({pairs}, Dtype::int64), to = Tensor::empty({pairs}, Dtype::int64);
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = i + 1; j < n; ++j, ++at) {
      from.mutable_data<std::int64_t>()[at] = i;
      to.mutable_data<std::int64_t>()[at] = j;
    }
  }
  const Tensor dist = metric(gather_rows(x, from.to(x.device())), gather_rows(x, to.to(x.device())));
  FLATLAND_CHECK(dist.defined() && dist.shape() == Shape({pairs}),
                 "DifferentiablePDist: the user's metric must give one value a pair (", pairs, ")");
  return dist;
}

}  // namespace

RelationData Precomputed::operator()(const Tensor& data, const RelationContext& context) const {
  if (data.defined() && !relations.get_if<FlatRelations>()) {
    FLATLAND_CHECK(relations.items() == data.size(0), "Precomputed: relations of ", relations.items(),
                   " items do not fit data of ", data.size(0), " rows");
  }
  const Tensor& values = relations.values();
  check_finite("Precomputed: the relations", values);
  return transformed(relations, transforms, context);
}

RelationData PDist::operator()(const Tensor& data, const RelationContext& context) const {
  check_data("PDist", data_key, data);
  const NoGrad no_grad;
  const Tensor dist =
      metric.built_in() ? pdist(data, *metric.built_in()) : user_pdist(metric.function(), data);
  return transformed(RelationData(TriangularRelations{dist, data.size(0)}), transforms, context);
}

std::int64_t NeighborBasedPDist::neighbors_for(std::int64_t items, const RelationContext& context) const {
  FLATLAND_CHECK(n_neighbors >= 0, "NeighborBasedPDist: n_neighbors is ", n_neighbors,
                 "; give 1 or more, or 0 to choose by the transforms");
  FLATLAND_CHECK(items >= 2, "NeighborBasedPDist: ", items, items == 1 ? " item has" : " items have",
                 " no neighbours; give more data");
  double perplexity = 0, connectivity = 0;
  for (const Transform& transform : transforms) {
    if (const auto* t = transform.target<PerplexityBasedRescale>())
      perplexity = std::max(perplexity, t->perplexity);
    if (const auto* t = transform.target<ConnectivityBasedRescale>()) {
      connectivity = std::max(connectivity, t->n_neighbors);
    }
  }
  // More than all items would do no more; capped before the conversion, so that any number is safe.
  const auto whole = [&](double x) {
    return static_cast<std::int64_t>(std::min(std::isnan(x) ? 0 : x, static_cast<double>(items)));
  };
  const std::int64_t needed = std::max(whole(3 * perplexity), whole(connectivity));
  std::int64_t k = n_neighbors;
  if (k == 0) {
    k = needed > 0 ? needed : std::max<std::int64_t>(1, whole(0.05 * static_cast<double>(items)));
  } else if (k < std::min(needed, items - 1)) {
    std::ostringstream text;
    text << "n_neighbors " << k << " is too small for ";
    3 * perplexity >= connectivity ? text << "perplexity " << perplexity << ", which needs 3 times as many; "
                                   : text << "the connectivity transform; ";
    text << "using " << std::min(needed, items - 1) << " neighbours";
    context.warn(text.str());
    k = needed;
  }
  return std::min(k, items - 1);
}

RelationData NeighborBasedPDist::operator()(const Tensor& data, const RelationContext& context) const {
  check_data("NeighborBasedPDist", data_key, data);
  const NoGrad no_grad;
  const std::int64_t k = neighbors_for(data.size(0), context);
  const bool approximate = approximately(*this, data, context);
  FLATLAND_CHECK(
      !approximate || metric.built_in(),
      "NeighborBasedPDist: an approximate search knows no metric of a user; use NeighborSearch::exact");
  context.stage("indexing nearest neighbours");
  NeighborRelations neighbors = !metric.built_in() ? user_knn(metric.function(), data, k)
                                : approximate      ? approximate_knn(*metric.built_in(), data, k, context)
                                                   : exact_knn(*metric.built_in(), data, k);
  return transformed(RelationData(std::move(neighbors)), transforms, context);
}

RelationData DifferentiablePDist::operator()(const Tensor& embedding, const RelationContext& context) const {
  FLATLAND_CHECK(embedding.defined() && embedding.is_floating() && embedding.rank() == 2,
                 "DifferentiablePDist: the embedding must be a floating matrix with a row an item");
  const Tensor dist = metric.built_in() ? pdist(embedding, *metric.built_in())
                                        : user_differentiable_pdist(metric.function(), embedding);
  return transformed(RelationData(TriangularRelations{dist, embedding.size(0)}), transforms, context);
}

RelationData DistsFromTo::operator()(const Tensor& pairs, const RelationContext& context) const {
  FLATLAND_CHECK(pairs.defined() && pairs.is_floating() && pairs.rank() == 3 && pairs.size(0) == 2,
                 "DistsFromTo: pairs must be a floating tensor of shape (2, n, d)");
  const std::int64_t n = pairs.size(1), d = pairs.size(2);
  const Tensor both = reshape(pairs, {2 * n, d});
  const Tensor from = slice_rows(both, 0, n), to = slice_rows(both, n, 2 * n);
  const Tensor dist =
      metric.built_in() ? pair_distances(from, to, *metric.built_in()) : metric.function()(from, to);
  return transformed(RelationData(FlatRelations{dist}), transforms, context);
}

const Relation* RelationMap::find(std::string_view key) const {
  for (const auto& entry : entries_) {
    if (entry.first == key) return &entry.second;
  }
  return nullptr;
}

const RelationData& at(const RelationDataMap& relations, std::string_view key) {
  for (const auto& entry : relations) {
    if (entry.first == key) return entry.second;
  }
  detail::fail("no global relations '", key, "'; there are ", detail::listed(relations));
}

}  // namespace flatland
