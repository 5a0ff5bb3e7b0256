#include <flatland/engine/layers.h>
#include <flatland/engine/ops.h>
#include <flatland/models/autoencoder.h>
#include <flatland/models/layer_sizes.h>

#include <algorithm>

namespace flatland {

Autoencoder::Autoencoder(const Options& options) : options_(options) {
  std::vector<std::int64_t> sizes =
      detail::layer_sizes("Autoencoder", options.in_dim, options.hidden_dims, {options.latent_dim});
  encoder_ = std::make_shared<Sequential>(sizes, options.activation, options.latent_activation);
  std::ranges::reverse(sizes);
  decoder_ = std::make_shared<Sequential>(sizes, options.activation, options.output_activation);
  add_child("encoder", encoder_);
  add_child("decoder", decoder_);
  initialize(0);
}

Tensor Autoencoder::encode(const Tensor& x) const {
  return encoder_->forward(x);
}

Tensor Autoencoder::decode(const Tensor& z) const {
  return decoder_->forward(z);
}

SemiSupervisedAutoencoder::SemiSupervisedAutoencoder(const Options& options, std::int64_t n_classes)
    : Autoencoder(options) {
  FLATLAND_CHECK(n_classes > 0, "SemiSupervisedAutoencoder: n_classes is ", n_classes, "; give 1 or more");
  class_layer_ = std::make_shared<Linear>(options.latent_dim, n_classes);
  add_child("class_layer", class_layer_);
  initialize(0);
}

Tensor SemiSupervisedAutoencoder::classify_shared(const Tensor& z) const {
  return class_layer_->forward(z);
}

Tensor SemiSupervisedAutoencoder::classify(const Tensor& x) const {
  return classify_shared(shared(x));
}

namespace {

std::int64_t feature_count(const Autoencoder& autoencoder, Features features) {
  const std::int64_t data = autoencoder.in_dim(), latent = autoencoder.options().latent_dim;
  if (features == Features::all) return data + latent + data;
  return features == Features::latent ? latent : data;
}

}  // namespace

FeatureClassifier::FeatureClassifier(const Options& options) : options_(options) {
  FLATLAND_CHECK(options.autoencoder, "FeatureClassifier: autoencoder is missing; give a trained one");
  const std::vector<std::int64_t> sizes =
      detail::layer_sizes("FeatureClassifier", feature_count(*options.autoencoder, options.features),
                          options.hidden_dims, {options.n_classes});
  std::vector<std::shared_ptr<Layer>> layers;
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
    const bool last = i + 2 == sizes.size();
    layers.push_back(std::make_shared<Linear>(
        sizes[i], sizes[i + 1], Linear::Options{.activation = last ? Activation{} : options.activation}));
    if (!last && options.dropout != 0) layers.push_back(std::make_shared<Dropout>(options.dropout));
  }
  layers_ = std::make_shared<Sequential>(std::move(layers));
  add_child("layers", layers_);
  initialize(0);
}

Tensor FeatureClassifier::shared(const Tensor& x) const {
  const NoGrad frozen;
  const Autoencoder& autoencoder = *options_.autoencoder;
  if (options_.features == Features::raw) return x;
  const Tensor z = autoencoder.encode(x);
  if (options_.features == Features::latent) return z;
  const Tensor reconstruction = autoencoder.decode(z);
  return options_.features == Features::all ? concat({x, z, reconstruction}, 1) : reconstruction;
}

Tensor FeatureClassifier::classify_shared(const Tensor& h) const {
  return layers_->forward(h);
}

Tensor FeatureClassifier::classify(const Tensor& x) const {
  return classify_shared(shared(x));
}

}  // namespace flatland
