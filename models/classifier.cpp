#include <flatland/models/classifier.h>
#include <flatland/models/layer_sizes.h>

namespace flatland {

Classifier::Classifier(const Options& options)
    : options_(options),
      layers_(std::make_shared<Sequential>(
          detail::layer_sizes("Classifier", options.in_dim, options.hidden_dims, {options.n_classes}),
          options.activation)) {
  add_child("layers", layers_);
  initialize(0);
}

Tensor Classifier::classify(const Tensor& x) const {
  return layers_->forward(x);
}

HybridEmbedder::HybridEmbedder(const Options& options) : options_(options) {
  FLATLAND_CHECK(!options.hidden_dims.empty(),
                 "HybridEmbedder: hidden_dims is empty; the heads need at least one shared layer");
  FLATLAND_CHECK(options.out_dim > 0 && options.n_classes > 0, "HybridEmbedder: out_dim is ", options.out_dim,
                 " and n_classes ", options.n_classes, "; both must be above 0");
  layers_ = std::make_shared<Sequential>(
      detail::layer_sizes("HybridEmbedder", options.in_dim, options.hidden_dims, {}), options.activation,
      options.activation);
  emb_layer_ = std::make_shared<Linear>(options.hidden_dims.back(), options.out_dim);
  class_layer_ = std::make_shared<Linear>(options.hidden_dims.back(), options.n_classes);
  add_child("layers", layers_);
  add_child("emb_layer", emb_layer_);
  add_child("class_layer", class_layer_);
  initialize(0);
}

Tensor HybridEmbedder::shared(const Tensor& x) const {
  return layers_->forward(x);
}
Tensor HybridEmbedder::embed_shared(const Tensor& h) const {
  return emb_layer_->forward(h);
}
Tensor HybridEmbedder::classify_shared(const Tensor& h) const {
  return class_layer_->forward(h);
}

Tensor HybridEmbedder::encode(const Tensor& x) const {
  return embed_shared(shared(x));
}

Tensor HybridEmbedder::classify(const Tensor& x) const {
  return classify_shared(shared(x));
}

}  // namespace flatland
