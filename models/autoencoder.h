// Autoencoders, and classifiers that look at what one makes of the data.
#pragma once

#include <flatland/models/model.h>

#include <cstdint>
#include <memory>
#include <string>
#include <typeinfo>
#include <vector>

namespace flatland {

// in_dim - hidden_dims... - latent_dim and back through the same sizes, `activation` after every hidden
// layer. Parameters: "encoder.0.weight", ..., "decoder.0.weight", ... Roles: embed (encode is the same),
// decode.
class Autoencoder : public Model {
 public:
  struct Options {
    std::int64_t in_dim = 0;  // columns of the data; must be given
    std::vector<std::int64_t> hidden_dims = {128};
    std::int64_t latent_dim = 2;
    Activation activation = flatland::activation::relu;
    Activation latent_activation = {};
    Activation output_activation = flatland::activation::sigmoid;  // for data in 0 .. 1
    std::string input_key = "main";                                // the entry of a data set that it takes
  };
  explicit Autoencoder(const Options& options);

  Tensor encode(const Tensor& x) const override;  // (N, in_dim) -> (N, latent_dim)
  Tensor decode(const Tensor& z) const override;  // (N, latent_dim) -> (N, in_dim)
  Tensor shared(const Tensor& x) const override { return encode(x); }
  Tensor embed_shared(const Tensor& z) const override { return z; }
  Tensor encode_shared(const Tensor& z) const override { return z; }
  Tensor reconstruct(const Tensor& x) const { return decode(encode(x)); }
  std::string name() const override { return "Autoencoder"; }
  std::int64_t in_dim() const override { return options_.in_dim; }
  std::string input_key() const override { return options_.input_key; }
  bool replayable() const override { return typeid(*this) == typeid(Autoencoder); }
  const Options& options() const { return options_; }

 private:
  Options options_;
  std::shared_ptr<Sequential> encoder_, decoder_;
};

// An autoencoder with a linear layer from its latent values to logits, so that a few labelled items shape
// what many without labels are coded as. Parameters: the autoencoder's, "class_layer.weight",
// "class_layer.bias". Roles: embed, encode, decode, classify.
class SemiSupervisedAutoencoder final : public Autoencoder {
 public:
  SemiSupervisedAutoencoder(const Options& options, std::int64_t n_classes);

  Tensor classify(const Tensor& x) const override;  // (N, in_dim) -> (N, n_classes)
  Tensor classify_shared(const Tensor& z) const override;
  std::string name() const override { return "SemiSupervisedAutoencoder"; }
  bool replayable() const override { return true; }

 private:
  std::shared_ptr<Linear> class_layer_;
};

// What a classifier sees of an item: its data, its latent values, its reconstruction, or these three side by
// side in this order.
enum class Features { raw, latent, reconstruction, all };

// Classes from what a trained autoencoder makes of the data: features - hidden_dims... - n_classes,
// `activation` and dropout after all but the last layer. The autoencoder is not a part of it: it is neither
// trained nor in parameters(), and `to` leaves it where it is. Since it stays as it is, shared(x), the
// features, may be computed once for all epochs and each step taken on classify_shared.
// Parameters: "layers.0.weight", ...; dropout counts as a layer. Role: classify.
class FeatureClassifier final : public Model {
 public:
  struct Options {
    std::shared_ptr<const Autoencoder> autoencoder = {};  // must be given
    Features features = Features::all;
    std::int64_t n_classes = 0;  // must be given
    std::vector<std::int64_t> hidden_dims = {128};
    Activation activation = flatland::activation::relu;
    double dropout = 0;  // while training, the share of hidden values left out
  };
  explicit FeatureClassifier(const Options& options);

  Tensor classify(const Tensor& x) const override;         // (N, in_dim) -> (N, n_classes)
  Tensor shared(const Tensor& x) const override;           // (N, in_dim) -> the features, not recorded
  Tensor classify_shared(const Tensor& h) const override;  // features -> (N, n_classes)
  std::string name() const override { return "FeatureClassifier"; }
  std::int64_t in_dim() const override { return options_.autoencoder->in_dim(); }
  std::string input_key() const override { return options_.autoencoder->input_key(); }
  // The autoencoder's values are not among the parameters, so nobody sees when they move.
  bool replayable() const override { return options_.features == Features::raw; }
  const Options& options() const { return options_; }

 private:
  Options options_;
  std::shared_ptr<Sequential> layers_;
};

}  // namespace flatland
