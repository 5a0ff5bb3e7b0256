// Networks that tell classes apart, alone or beside an embedding.
#pragma once

#include <flatland/models/model.h>

#include <cstdint>
#include <memory>
#include <string>
#include <typeinfo>
#include <vector>

namespace flatland {

// in_dim - hidden_dims... - n_classes, `activation` after all but the last layer; gives logits.
// Parameters: "layers.0.weight", ... Role: classify.
class Classifier : public Model {
 public:
  struct Options {
    std::int64_t in_dim = 0;     // columns of the data; must be given
    std::int64_t n_classes = 0;  // must be given
    std::vector<std::int64_t> hidden_dims = {100, 50};
    Activation activation = flatland::activation::softplus;
    std::string input_key = "main";  // the entry of a data set that it takes
  };
  explicit Classifier(const Options& options);

  Tensor classify(const Tensor& x) const override;  // (N, in_dim) -> (N, n_classes)
  std::string name() const override { return "Classifier"; }
  std::int64_t in_dim() const override { return options_.in_dim; }
  std::string input_key() const override { return options_.input_key; }
  bool replayable() const override { return typeid(*this) == typeid(Classifier); }
  const Options& options() const { return options_; }

 private:
  Options options_;
  std::shared_ptr<Sequential> layers_;
};

// A trunk in_dim - hidden_dims..., `activation` after every layer, with two linear heads on its last hidden
// layer: an embedding and logits (ParaDime's hybrid model).
// Parameters: "layers.0.weight", ..., "emb_layer.weight", "class_layer.weight", ... Roles: embed, classify.
class HybridEmbedder final : public Model {
 public:
  struct Options {
    std::int64_t in_dim = 0;     // columns of the data; must be given
    std::int64_t n_classes = 0;  // must be given
    std::vector<std::int64_t> hidden_dims = {100, 50};
    std::int64_t out_dim = 2;
    Activation activation = flatland::activation::softplus;
    std::string input_key = "main";  // the entry of a data set that it takes
  };
  explicit HybridEmbedder(const Options& options);

  Tensor encode(const Tensor& x) const override;    // (N, in_dim) -> (N, out_dim)
  Tensor classify(const Tensor& x) const override;  // (N, in_dim) -> (N, n_classes)
  Tensor shared(const Tensor& x) const override;    // (N, in_dim) -> the last hidden layer
  Tensor embed_shared(const Tensor& h) const override;
  Tensor encode_shared(const Tensor& h) const override { return embed_shared(h); }
  Tensor classify_shared(const Tensor& h) const override;
  std::string name() const override { return "HybridEmbedder"; }
  std::int64_t in_dim() const override { return options_.in_dim; }
  std::string input_key() const override { return options_.input_key; }
  bool replayable() const override { return true; }
  const Options& options() const { return options_; }

 private:
  Options options_;
  std::shared_ptr<Sequential> layers_;
  std::shared_ptr<Linear> emb_layer_, class_layer_;
};

}  // namespace flatland
