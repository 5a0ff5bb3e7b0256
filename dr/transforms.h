// Transforms of relations: values in, values out; forms are converted where a transform needs it.
#pragma once

#include <flatland/dr/relation_data.h>

#include <functional>
#include <string>
#include <type_traits>
#include <utility>

namespace flatland {

// What a transform or relation may tell while it computes.
struct RelationContext {
  std::function<void(const std::string&)> stage = [](const std::string&) {};
  std::function<void(const std::string&)> warn = [](const std::string&) {};
};

// Anything callable with relation data (and, if it wants, a context) is a transform; built-in ones can be
// recognised again with target<T>().
class Transform {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, Transform> &&
           (std::is_invocable_r_v<RelationData, F&, const RelationData&, const RelationContext&> ||
            std::is_invocable_r_v<RelationData, F&, const RelationData&>)) Transform(F f) {
    if constexpr (std::is_invocable_r_v<RelationData, F&, const RelationData&, const RelationContext&>) {
      call_ = std::move(f);
    } else {
      call_ = WithoutContext<F>{std::move(f)};
    }
  }
  RelationData operator()(const RelationData& data, const RelationContext& context = {}) const {
    return call_(data, context);
  }
  // The built-in transform this was made from, or null.
  template <class T>
  const T* target() const {
    if (const auto* plain = call_.target<WithoutContext<T>>()) return &plain->f;
    return call_.target<T>();
  }

 private:
  template <class F>
  struct WithoutContext {
    F f;
    RelationData operator()(const RelationData& data, const RelationContext&) { return f(data); }
  };
  std::function<RelationData(const RelationData&, const RelationContext&)> call_;
};

// Gaussian affinities of each item's neighbours with a given perplexity: entropy log2(perplexity) a row.
// Relations of other forms become neighbor relations of all other items first.
// Errors: a perplexity of 1 or less, or larger than the number of neighbours (no weights have that entropy).
// Warnings: fewer than 3 perplexity neighbours; rows that miss the target, counted.
struct PerplexityBasedRescale {
  double perplexity = 30;  // effective number of neighbours; larger looks further and blurs local detail
  int max_steps = 64;      // of the root search; rows that miss are counted in one warning
  RelationData operator()(const RelationData& data, const RelationContext& context) const;
};
// UMAP's affinities exp(-(d - rho) / sigma), summing to log2(n_neighbors) a row.
// Errors: n_neighbors of 1 or less. Warning: rows that miss the target, counted.
struct ConnectivityBasedRescale {
  double n_neighbors = 15;
  int max_steps = 64;
  RelationData operator()(const RelationData& data, const RelationContext& context) const;
};
// (M + M^T) / 2, or M + M^T - M o M^T. Neighbour relations become sparse. Error: flat relations.
struct Symmetrize {
  bool subtract_product = false;
  RelationData operator()(const RelationData& data) const;
};
// Divides by the sum of all entries of the square matrix (triangular: by twice its sum); all zeros stay.
struct Normalize {
  RelationData operator()(const RelationData& data) const;
};
// Divides each row by its sum; rows of zeros stay. Triangular relations become square. Error: flat relations.
struct NormalizeRows {
  RelationData operator()(const RelationData& data) const;
};
// Relations of an item to itself become 0. Error: flat relations.
struct ZeroDiagonal {
  RelationData operator()(const RelationData& data) const;
};
// (1 + d^2 / alpha)^(-(alpha + 1) / 2). An alpha tensor (one value) may be a parameter of the model.
struct StudentT {
  double alpha = 1;
  Tensor trained_alpha = {};
  RelationData operator()(const RelationData& data) const;
};
// 1 / (1 + a d^(2b)); a and b from min_dist and spread unless given.
struct ModifiedCauchy {
  double min_dist = 0.1;
  double spread = 1;
  double a = 0;  // 0: fitted
  double b = 0;
  Tensor trained_a = {}, trained_b = {};
  RelationData operator()(const RelationData& data) const;
};
// A user's function on the values; it returns as many. Square and sparse results no longer count as
// symmetric.
struct Functional {
  std::function<Tensor(const Tensor&)> f;
  RelationData operator()(const RelationData& data) const;
};
struct Identity {
  RelationData operator()(const RelationData& data) const { return data; }
};
struct ToSquare {
  RelationData operator()(const RelationData& data) const { return data.to_square(); }
};
struct ToTriangular {
  RelationData operator()(const RelationData& data) const { return data.to_triangular(); }
};
struct ToNeighbor {
  RelationData operator()(const RelationData& data) const { return data.to_neighbor(); }
};
struct ToSparse {
  RelationData operator()(const RelationData& data) const { return data.to_sparse(); }
};
struct ToFlat {
  RelationData operator()(const RelationData& data) const { return data.to_flat(); }
};

}  // namespace flatland
