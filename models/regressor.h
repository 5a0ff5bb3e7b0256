// Networks that predict numbers: with their uncertainty, or as the places of labels.
#pragma once

#include <flatland/engine/layers.h>
#include <flatland/models/model.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace flatland {

// Predicts a normal distribution for each number: a trunk in_dim - hidden_dims..., `activation` after every
// layer, with two linear heads, the mean and, through softplus, the variance. Trained by gaussian_nll_loss.
// Parameters: "layers.0.weight", ..., "mean.weight", "variance.weight", ... Role: embed (encode is the same)
// gives the means.
class MeanVarianceRegressor final : public Model {
 public:
  struct Options {
    std::int64_t in_dim = 0;  // columns of the data; must be given
    std::vector<std::int64_t> hidden_dims = {100, 50};
    std::int64_t out_dim = 2;
    Activation activation = flatland::activation::softplus;
    std::string input_key = "main";  // the entry of a data set that it takes
  };
  struct Prediction {
    Tensor mean, variance;  // (N, out_dim) each; variances are above 0, up to rounding
  };
  explicit MeanVarianceRegressor(const Options& options);

  Prediction predict(const Tensor& x) const;      // x (N, in_dim)
  Tensor encode(const Tensor& x) const override;  // (N, in_dim) -> (N, out_dim)
  std::string name() const override { return "MeanVarianceRegressor"; }
  std::int64_t in_dim() const override { return options_.in_dim; }
  std::string input_key() const override { return options_.input_key; }
  bool replayable() const override { return true; }
  const Options& options() const { return options_; }

 private:
  Options options_;
  std::shared_ptr<Sequential> layers_;
  std::shared_ptr<Linear> mean_, variance_;
};

// Places items near the places of their labels: a network in_dim - hidden_dims... - out_dim, `activation`
// after all but the last layer, and a table with a place a label, fixed or learned along. It is trained on a
// distance to targets(labels), such as mse_loss, which alone lets a learned table shrink to one point; adding
// cross_entropy of classify(x) holds the labels apart.
// Parameters: "layers.0.weight", ..., "labels.weight" (n_classes, out_dim), normal at first. Roles: embed
// (encode is the same), classify.
class LabelEmbeddingRegressor final : public Model {
 public:
  struct Options {
    std::int64_t in_dim = 0;     // columns of the data; must be given
    std::int64_t n_classes = 0;  // must be given
    std::vector<std::int64_t> hidden_dims = {100, 50};
    std::int64_t out_dim = 2;
    Activation activation = flatland::activation::softplus;
    bool learned = false;            // whether the table takes gradients; a fixed one is frozen
    double max_norm = 0;             // see Embedding; of the rows that targets() looks up, when it does
    std::string input_key = "main";  // the entry of a data set that it takes
  };
  explicit LabelEmbeddingRegressor(const Options& options);

  Tensor encode(const Tensor& x) const override;  // (N, in_dim) -> (N, out_dim)
  // Minus the squared distances to the labels' places: logits, of which the largest is the nearest label's.
  Tensor classify(const Tensor& x) const override;  // (N, in_dim) -> (N, n_classes)
  Tensor shared(const Tensor& x) const override { return encode(x); }
  Tensor embed_shared(const Tensor& places) const override { return places; }
  Tensor encode_shared(const Tensor& places) const override { return places; }
  Tensor classify_shared(const Tensor& places) const override;  // (N, out_dim) -> (N, n_classes)
  Tensor targets(const Tensor& labels) const;                   // int64 (N) -> (N, out_dim)
  const Tensor& table() const { return labels_->weight; }       // (n_classes, out_dim)
  std::string name() const override { return "LabelEmbeddingRegressor"; }
  std::int64_t in_dim() const override { return options_.in_dim; }
  std::string input_key() const override { return options_.input_key; }
  bool replayable() const override { return true; }
  const Options& options() const { return options_; }

 private:
  Options options_;
  std::shared_ptr<Sequential> layers_;
  std::shared_ptr<Embedding> labels_;
};

}  // namespace flatland
