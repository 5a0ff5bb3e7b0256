#include <flatland/engine/relation_ops.h>
#include <flatland/models/layer_sizes.h>
#include <flatland/models/regressor.h>

namespace flatland {

MeanVarianceRegressor::MeanVarianceRegressor(const Options& options) : options_(options) {
  FLATLAND_CHECK(!options.hidden_dims.empty(),
                 "MeanVarianceRegressor: hidden_dims is empty; the heads need at least one shared layer");
  FLATLAND_CHECK(options.out_dim > 0, "MeanVarianceRegressor: out_dim is ", options.out_dim,
                 "; it must be 1 or more");
  layers_ = std::make_shared<Sequential>(
      detail::layer_sizes("MeanVarianceRegressor", options.in_dim, options.hidden_dims, {}),
      options.activation, options.activation);
  mean_ = std::make_shared<Linear>(options.hidden_dims.back(), options.out_dim);
  variance_ = std::make_shared<Linear>(options.hidden_dims.back(), options.out_dim,
                                       Linear::Options{.activation = activation::softplus});
  add_child("layers", layers_);
  add_child("mean", mean_);
  add_child("variance", variance_);
  initialize(0);
}

MeanVarianceRegressor::Prediction MeanVarianceRegressor::predict(const Tensor& x) const {
  const Tensor h = layers_->forward(x);
  return {mean_->forward(h), variance_->forward(h)};
}

Tensor MeanVarianceRegressor::encode(const Tensor& x) const {
  return mean_->forward(layers_->forward(x));
}

LabelEmbeddingRegressor::LabelEmbeddingRegressor(const Options& options)
    : options_(options),
      layers_(std::make_shared<Sequential>(detail::layer_sizes("LabelEmbeddingRegressor", options.in_dim,
                                                               options.hidden_dims, {options.out_dim}),
                                           options.activation)) {
  FLATLAND_CHECK(options.n_classes > 0, "LabelEmbeddingRegressor: n_classes is ", options.n_classes,
                 "; give the number of labels");
  labels_ = std::make_shared<Embedding>(options.n_classes, options.out_dim,
                                        Embedding::Options{.max_norm = options.max_norm});
  add_child("layers", layers_);
  add_child("labels", labels_);
  initialize(0);
  labels_->requires_grad(options.learned);
}

Tensor LabelEmbeddingRegressor::encode(const Tensor& x) const {
  return layers_->forward(x);
}

Tensor LabelEmbeddingRegressor::classify(const Tensor& x) const {
  return classify_shared(encode(x));
}

Tensor LabelEmbeddingRegressor::classify_shared(const Tensor& places) const {
  return -cdist(places, table(), metric::sqeuclidean);
}

Tensor LabelEmbeddingRegressor::targets(const Tensor& labels) const {
  return labels_->forward(labels);
}

}  // namespace flatland
