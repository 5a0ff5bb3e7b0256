// The usual network of parametric dimensionality reduction.
#pragma once

#include <flatland/models/model.h>

#include <cstdint>
#include <memory>
#include <string>
#include <typeinfo>
#include <vector>

namespace flatland {

// in_dim - hidden_dims... - out_dim, `activation` after all but the last layer; ParaDime's
// FullyConnectedEmbeddingModel. Parameters: "layers.0.weight" (out, in), "layers.0.bias" (out), ...
// Role: embed (encode is the same).
class FullyConnectedEmbedder : public Model {
 public:
  struct Options {
    std::int64_t in_dim = 0;  // columns of the data; must be given
    std::vector<std::int64_t> hidden_dims = {100, 50};
    std::int64_t out_dim = 2;
    Activation activation = flatland::activation::softplus;
    std::string input_key = "main";  // the entry of a data set that it takes
  };
  explicit FullyConnectedEmbedder(const Options& options);

  Tensor encode(const Tensor& x) const override;  // (N, in_dim) -> (N, out_dim)
  std::string name() const override { return "FullyConnectedEmbedder"; }
  std::int64_t in_dim() const override { return options_.in_dim; }
  std::string input_key() const override { return options_.input_key; }
  bool replayable() const override { return typeid(*this) == typeid(FullyConnectedEmbedder); }
  const Options& options() const { return options_; }

 private:
  Options options_;
  std::shared_ptr<Sequential> layers_;
};

}  // namespace flatland
