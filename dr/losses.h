// Losses: anything that makes one differentiable value out of a model, a batch and relations.
#pragma once

#include <flatland/dr/batch.h>
#include <flatland/dr/relations.h>
#include <flatland/models/model.h>

#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace flatland {

// A role of the model by name: embed, encode, decode, classify. Error: any other name (lists these).
Tensor call_model(const Model& model, std::string_view method, const Tensor& x);

// What a loss is given. Embeddings are computed once a step and shared by all losses of a compound.
struct LossInput {
  Model& model;
  const Batch& batch;
  const RelationDataMap& global_relations;
  const RelationMap& batch_relations;
  const RelationContext& context;

  const RelationData& global(std::string_view key) const;  // Error: unknown key
  const Relation& batch_relation(std::string_view key) const;
  // What the model takes, for the batch's items: its entry of the batch, with the phase's input_noise.
  const Tensor& items() const { return noisy.defined() ? noisy : batch[model.input_key()]; }
  // A role of the model for the batch's items. "embed", "encode" and what roles share are computed once a
  // step, and again where gradients are wanted after a time without (NoGrad).
  Tensor embed(std::string_view method = "embed") const;
  Tensor classify() const;
  Tensor shared() const;

  Tensor noisy = {};  // undefined without input_noise
  mutable Tensor shared_ = {};
  mutable Tensor embedding_ = {};
  mutable Tensor encoding_ = {};
  // Parts of a compound loss put their weighted values here.
  mutable std::vector<std::pair<std::string, Tensor>>* components = nullptr;
};

class Loss {
 public:
  Loss() = default;  // calling it is an Error
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, Loss> &&
           std::is_invocable_r_v<Tensor, F&, const LossInput&>) Loss(F f)
      : call_(std::move(f)) {}
  Tensor operator()(const LossInput& input) const;
  explicit operator bool() const { return static_cast<bool>(call_); }
  template <class T>
  const T* target() const {
    return call_.target<T>();
  }

 private:
  std::function<Tensor(const LossInput&)> call_;
};

// Losses by key; a single one is stored under "loss".
class LossMap {
 public:
  LossMap() = default;
  template <class L>
  requires(std::is_constructible_v<Loss, L> && !std::is_same_v<std::remove_cvref_t<L>, LossMap>)
      LossMap(L loss) {
    entries_.emplace_back("loss", Loss(std::move(loss)));
  }
  LossMap(std::initializer_list<std::pair<std::string, Loss>> entries) : entries_(entries) {}
  const std::vector<std::pair<std::string, Loss>>& entries() const { return entries_; }
  const Loss* find(std::string_view key) const;

 private:
  std::vector<std::pair<std::string, Loss>> entries_;
};

// Functions of two relations, for RelationLoss.
struct KullbackLeiblerDiv {
  double epsilon = 1e-7;
  Tensor operator()(const Tensor& p, const Tensor& q) const;  // both square
};
// UMAP's; of equal shapes, divided by the length of the first dimension.
struct CrossEntropyLoss {
  double epsilon = 1e-7;
  Tensor operator()(const Tensor& p, const Tensor& q) const;
};
inline constexpr KullbackLeiblerDiv kullback_leibler_div{};
inline constexpr CrossEntropyLoss cross_entropy_loss{};
using RelationLossFunction = std::function<Tensor(const Tensor& p, const Tensor& q)>;

// f(global relations of the batch, batch relations of its embedding), both square. With DistsFromTo for a
// batch relation and a phase that samples edges, f(labels, batch relations of the pairs), both flat.
// KullbackLeiblerDiv of symmetric sparse relations against DifferentiablePDist [StudentT, Normalize,
// (ToSquare)] with a fixed alpha runs as one fused kernel with the same result.
struct RelationLoss {
  RelationLossFunction f;
  std::string global_key = "rel";
  std::string batch_key = "rel";
  std::string embedding_method = "embed";
  bool normalize_sub = true;  // divide the batch's block by its sum
  bool fuse = true;           // use the fused kernel where it applies
  Tensor operator()(const LossInput& input) const;
};
// f(embed(x), batch[position_key]); mean squared error unless given.
struct PositionLoss {
  std::string position_key = "pca";
  std::function<Tensor(const Tensor&, const Tensor&)> f = mse_loss;
  std::string embedding_method = "embed";
  Tensor operator()(const LossInput& input) const;
};
// f(classify(x), batch[label_key]); softmax cross-entropy unless given. Labels are class numbers (int64 or
// int32) from 0. Error: a label without a logit (names the item).
struct ClassificationLoss {
  std::string label_key = "labels";
  std::function<Tensor(const Tensor&, const Tensor&)> f = cross_entropy;
  Tensor operator()(const LossInput& input) const;
};
// f(decode(encode(x)), x) of the batch's items x; mean squared error unless given. With input_noise, which
// only the encoder sees, the model learns to take noise away.
struct ReconstructionLoss {
  std::function<Tensor(const Tensor&, const Tensor&)> f = mse_loss;
  Tensor operator()(const LossInput& input) const;
};
// The mean of max(0, |a - p| - |a - n| + margin) over triplets of embedded items: sampled edges a - p and one
// random item n each. Needs a phase that samples edges at rate 1, as a rule of relations that join items of
// equal label; a routine says so when the phase is added.
struct TripletLoss {
  double margin = 1;
  std::string embedding_method = "embed";
  Tensor operator()(const LossInput& input) const;
};
// 1 - r^2, with r the Pearson correlation over the batch of column `attribute` of entry data_key with
// coordinate embedding_dim: it turns the embedding so that the coordinate shows the attribute. 1 where either
// is constant. Computed in float64, whatever the scale of either.
struct CorrelationLoss {
  std::int64_t attribute = 0;
  std::int64_t embedding_dim = 0;
  std::string data_key = "main";
  std::string embedding_method = "embed";
  Tensor operator()(const LossInput& input) const;
};
// Weighted sum; each weighted part is reported under its name, parts of parts under "part.name". Errors: no
// losses, another number of weights.
struct CompoundLoss {
  std::vector<std::pair<std::string, Loss>> losses;
  std::vector<double> weights = {};  // 1 each unless given
  Tensor operator()(const LossInput& input) const;
};

}  // namespace flatland
