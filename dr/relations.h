// Relations: how pairwise quantities come out of data.
#pragma once

#include <flatland/dr/transforms.h>
#include <flatland/kernels/metric.h>

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace flatland {

// A built-in metric, or a user's function instead.
template <class Function>
class MetricOr {
 public:
  MetricOr(Metric metric = {}) : metric_(metric) {}
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, MetricOr> && std::is_constructible_v<Function, F>)
      MetricOr(F f)
      : function_(std::move(f)) {}

  const Metric* built_in() const { return function_ ? nullptr : &metric_; }  // null: a user's function
  const Function& function() const { return function_; }

 private:
  Metric metric_;
  Function function_;
};
// Of two rows; symmetric. One call a pair, on one thread.
using RowMetric = std::function<double(std::span<const double>, std::span<const double>)>;
// Of the rows a[i] and b[i] of two (n, d) tensors: (n), made of differentiable operations.
using TensorMetric = std::function<Tensor(const Tensor& a, const Tensor& b)>;

// --- global relations: computed once from the data (N, D), by default the entry "main" ---
// Given relations. Errors: another number of items than the data has, NaN or infinite values.
struct Precomputed {
  RelationData relations;
  std::vector<Transform> transforms = {};
  static constexpr std::string_view data_key = "indices";  // of the data it needs the number of items alone
  RelationData operator()(const Tensor& data, const RelationContext& context) const;
};
// All pairwise distances, triangular.
struct PDist {
  MetricOr<RowMetric> metric = {};
  std::vector<Transform> transforms = {};
  std::string data_key = "main";
  RelationData operator()(const Tensor& data, const RelationContext& context) const;
};
// Approximate search (kernels/knn_approximate.h) runs on the CPU and knows euclidean, sqeuclidean, cosine and
// correlation; where the items are few it is exact. `automatic` takes it above k_exact_items items on the
// CPU, with a warning, if it knows the metric.
enum class NeighborSearch { automatic, exact, approximate };
inline constexpr std::int64_t k_exact_items = 100000;
// For data on the CPU and a metric that an approximate search knows.
constexpr bool searches_approximately(NeighborSearch search, std::int64_t items) {
  return search == NeighborSearch::approximate ||
         (search == NeighborSearch::automatic && items > k_exact_items);
}
inline constexpr std::int64_t k_recall_items = 300;  // a sample that the recall is measured with
// Distances to the nearest neighbours, self excluded. n_neighbors 0: what the transforms need (3 perplexity,
// or n_neighbors of a connectivity transform), else 5 % of N; never more than N - 1. A given number that is
// smaller than a transform needs is raised, with a warning. An approximate search reports its recall as a
// stage. Error: an approximate search with a metric it does not know or a user's.
struct NeighborBasedPDist {
  std::int64_t n_neighbors = 0;
  MetricOr<RowMetric> metric = {};
  std::vector<Transform> transforms = {};
  std::string data_key = "main";
  NeighborSearch search = NeighborSearch::automatic;
  // How many neighbours these settings mean for so many items. Errors: fewer than 2 items, negative numbers.
  std::int64_t neighbors_for(std::int64_t items, const RelationContext& context = {}) const;
  RelationData operator()(const Tensor& data, const RelationContext& context) const;
};

// --- batch relations: computed each step from the batch's embedding, differentiable ---
// Pairwise distances of the rows of (B, d), triangular.
struct DifferentiablePDist {
  MetricOr<TensorMetric> metric = {};
  std::vector<Transform> transforms = {};
  RelationData operator()(const Tensor& embedding, const RelationContext& context) const;
};
// Distances of given pairs: (2, n, d) -> flat.
struct DistsFromTo {
  MetricOr<TensorMetric> metric = {};
  std::vector<Transform> transforms = {};
  RelationData operator()(const Tensor& pairs, const RelationContext& context) const;
};

// Anything callable with a tensor that gives relation data is a relation; built-in ones can be recognised
// again with target<T>(). As a global relation it gets the entry that its member data_key names, or "main".
class Relation {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, Relation> &&
           (std::is_invocable_r_v<RelationData, F&, const Tensor&, const RelationContext&> ||
            std::is_invocable_r_v<RelationData, F&, const Tensor&>)) Relation(F f) {
    if constexpr (requires { std::string(f.data_key); }) data_key_ = std::string(f.data_key);
    if constexpr (std::is_invocable_r_v<RelationData, F&, const Tensor&, const RelationContext&>) {
      call_ = std::move(f);
    } else {
      call_ = [f = std::move(f)](const Tensor& data, const RelationContext&) mutable -> RelationData {
        return f(data);
      };
    }
  }
  RelationData operator()(const Tensor& data, const RelationContext& context = {}) const {
    return call_(data, context);
  }
  const std::string& data_key() const { return data_key_; }
  template <class T>
  const T* target() const {
    return call_.target<T>();
  }

 private:
  std::function<RelationData(const Tensor&, const RelationContext&)> call_;
  std::string data_key_ = "main";
};

// Relations by key; a single one is stored under "rel".
class RelationMap {
 public:
  RelationMap() = default;
  template <class R>
  requires(std::is_constructible_v<Relation, R> && !std::is_same_v<std::remove_cvref_t<R>, RelationMap>)
      RelationMap(R relation) {
    entries_.emplace_back("rel", Relation(std::move(relation)));
  }
  RelationMap(std::initializer_list<std::pair<std::string, Relation>> entries) : entries_(entries) {}
  const std::vector<std::pair<std::string, Relation>>& entries() const { return entries_; }
  const Relation* find(std::string_view key) const;

 private:
  std::vector<std::pair<std::string, Relation>> entries_;
};

// Computed relations by key; can be kept and given to another routine.
using RelationDataMap = std::vector<std::pair<std::string, RelationData>>;
// Error: unknown key (lists the known ones).
const RelationData& at(const RelationDataMap& relations, std::string_view key);

}  // namespace flatland
