#include <flatland/models/fully_connected_embedder.h>
#include <flatland/models/layer_sizes.h>

namespace flatland {

FullyConnectedEmbedder::FullyConnectedEmbedder(const Options& options)
    : options_(options),
      layers_(std::make_shared<Sequential>(detail::layer_sizes("FullyConnectedEmbedder", options.in_dim,
                                                               options.hidden_dims, {options.out_dim}),
                                           options.activation)) {
  add_child("layers", layers_);
  initialize(0);
}

Tensor FullyConnectedEmbedder::encode(const Tensor& x) const {
  return layers_->forward(x);
}

}  // namespace flatland
