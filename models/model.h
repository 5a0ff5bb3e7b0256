// The interface between networks and routines.
#pragma once

#include <flatland/engine/module.h>

#include <memory>
#include <type_traits>
#include <utility>

namespace flatland {

// A network with named roles. A routine calls the role that a loss needs; a model defines those it has.
class Model : public Module {
 public:
  virtual Tensor embed(const Tensor& x) const;   // (N, D) -> (N, d); default: encode
  virtual Tensor encode(const Tensor& x) const;  // default: Error naming the role and the model
  virtual Tensor decode(const Tensor& z) const;
  virtual Tensor classify(const Tensor& x) const;  // (N, D) -> logits (N, classes)
  // What several roles have in common, such as a trunk with two heads: a loss of several parts computes it
  // once, and the roles from it. embed_shared(shared(x)) is embed(x), and so for the others; by default there
  // is nothing in common, and shared(x) is x.
  virtual Tensor shared(const Tensor& x) const { return x; }
  virtual Tensor embed_shared(const Tensor& h) const { return embed(h); }
  virtual Tensor encode_shared(const Tensor& h) const { return encode(h); }
  virtual Tensor classify_shared(const Tensor& h) const { return classify(h); }
  virtual std::string name() const = 0;
  // Input columns; -1 when any will do.
  virtual std::int64_t in_dim() const = 0;
  // The entry of a data set that it takes.
  virtual std::string input_key() const { return "main"; }
  // How many items it holds something of, which are then all it can place; -1: it takes any.
  virtual std::int64_t items() const { return -1; }
  // True when its roles queue the same kernels at each call and decide nothing on the host. A training step
  // on a GPU is then recorded once and replayed, without calling the roles again. False for classes that are
  // derived from models of ours, unless they say so themselves.
  virtual bool replayable() const { return false; }
};

// A shared model; made from any model by moving it in, so that recipes read .model =
// FullyConnectedEmbedder({...}).
class ModelHandle {
 public:
  ModelHandle() = default;
  template <class M>
  requires std::is_base_of_v<Model, M> ModelHandle(std::shared_ptr<M> model) : model_(std::move(model)) {}
  template <class M>
  requires std::is_base_of_v<Model, std::remove_cvref_t<M>> ModelHandle(M&& model)
      : model_(std::make_shared<std::remove_cvref_t<M>>(std::forward<M>(model))) {}

  Model* operator->() const { return model_.get(); }
  Model& operator*() const { return *model_; }
  explicit operator bool() const { return model_ != nullptr; }

 private:
  std::shared_ptr<Model> model_;
};

}  // namespace flatland
