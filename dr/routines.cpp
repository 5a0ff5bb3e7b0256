#include <flatland/dr/routines.h>
#include <flatland/models/fully_connected_embedder.h>

#include <cmath>
#include <string>

namespace flatland {

namespace {

// The given model, or a fully connected one.
template <class Options>
ModelHandle model_of(const char* who, const Options& o) {
  FLATLAND_CHECK(o.model || o.in_dim >= 1, who, ": in_dim is ", o.in_dim,
                 "; set it to the number of columns of the data, or give a model");
  FLATLAND_CHECK(o.out_dim >= 1, who, ": out_dim is ", o.out_dim, "; it must be 1 or more");
  if (o.model) return o.model;
  return FullyConnectedEmbedder({.in_dim = o.in_dim,
                                 .hidden_dims = o.hidden_dims,
                                 .out_dim = o.out_dim,
                                 .activation = o.activation,
                                 .input_key = o.data_key});
}

// The start of a map is derived under a key of its own.
void check_start(const char* who, bool starts, const std::string& key, const std::string& data_key) {
  FLATLAND_CHECK(!starts || data_key != key, who, ": data_key is '", key,
                 "', where the start is put; name that entry otherwise, or do without the start");
}

ParametricDR::Options tsne_recipe(const ParametricTSNE::Options& o) {
  check_start("ParametricTSNE", o.pca_initialization, "pca", o.data_key);
  ParametricDR::Options recipe{
      .model = model_of("ParametricTSNE", o),
      .global_relations =
          NeighborBasedPDist{
              .metric = o.metric,
              .transforms = {PerplexityBasedRescale{.perplexity = o.perplexity}, Symmetrize{}, Normalize{}},
              .data_key = o.data_key},
      .batch_relations =
          DifferentiablePDist{.transforms = {StudentT{.alpha = o.alpha}, Normalize{}, ToSquare{}}},
      .losses = {{"init", PositionLoss{.position_key = "pca"}},
                 {"embedding", RelationLoss{kullback_leibler_div}}},
      .device = o.device,
      .threads = o.threads,
      .seed = o.seed,
      .on_event = o.on_event};
  if (o.pca_initialization) recipe.derived_data = {{"pca", pca_of(o.data_key, o.out_dim)}};
  return recipe;
}

ParametricDR::Options umap_recipe(const ParametricUMAP::Options& o) {
  check_start("ParametricUMAP", o.spectral_initialization, "spectral", o.data_key);
  const bool fitted = o.a == 0 && o.b == 0;
  FLATLAND_CHECK(fitted || (o.a > 0 && o.b > 0 && std::isfinite(o.a) && std::isfinite(o.b)),
                 "ParametricUMAP: a is ", o.a, " and b ", o.b,
                 "; give both above 0, or neither, and they are fitted to min_dist and spread");
  ParametricDR::Options recipe{
      .model = model_of("ParametricUMAP", o),
      .global_relations =
          NeighborBasedPDist{
              .n_neighbors = o.n_neighbors,
              .metric = o.metric,
              .transforms = {ConnectivityBasedRescale{.n_neighbors = static_cast<double>(o.n_neighbors)},
                             Symmetrize{.subtract_product = true}},
              .data_key = o.data_key},
      .batch_relations = DistsFromTo{.transforms = {ModifiedCauchy{
                                         .min_dist = o.min_dist, .spread = o.spread, .a = o.a, .b = o.b}}},
      .losses = {{"init", PositionLoss{.position_key = "spectral"}},
                 {"embedding", RelationLoss{cross_entropy_loss}}},
      .device = o.device,
      .threads = o.threads,
      .seed = o.seed,
      .on_event = o.on_event};
  if (o.spectral_initialization)
    recipe.derived_data = {{"spectral", spectral_of("rel", o.out_dim, o.data_key)}};
  return recipe;
}

}  // namespace

ParametricTSNE::ParametricTSNE(Options options) : ParametricDR(tsne_recipe(options)) {
  if (options.pca_initialization) {
    add_training_phase(
        {.name = "pca_init",
         .epochs = options.init_epochs,
         .batch_size = options.init_batch_size == 0 ? options.batch_size : options.init_batch_size,
         .loss_keys = {"init"},
         .optimizer = options.optimizer,
         .learning_rate =
             options.init_learning_rate == 0 ? options.learning_rate : options.init_learning_rate});
  }
  add_training_phase({.name = "embedding",
                      .epochs = options.epochs,
                      .batch_size = options.batch_size,
                      .loss_keys = {"embedding"},
                      .optimizer = options.optimizer,
                      .learning_rate = options.learning_rate,
                      .schedule = options.schedule,
                      .report_interval = options.report_interval,
                      .input_noise = options.input_noise});
}

ParametricUMAP::ParametricUMAP(Options options) : ParametricDR(umap_recipe(options)) {
  if (options.spectral_initialization) {
    add_training_phase({.name = "spectral_init",
                        .epochs = options.init_epochs,
                        .batch_size = options.init_batch_size,
                        .loss_keys = {"init"},
                        .optimizer = options.optimizer,
                        .learning_rate = options.init_learning_rate});
  }
  add_training_phase({.name = "embedding",
                      .epochs = options.epochs,
                      .batch_size = options.batch_size,
                      .batches_per_epoch = options.batches_per_epoch,
                      .sampling = Sampling::negative_edge,
                      .neg_sampling_rate = options.negative_sampling_rate,
                      .loss_keys = {"embedding"},
                      .optimizer = options.optimizer,
                      .learning_rate = options.learning_rate,
                      .schedule = options.schedule,
                      .report_interval = options.report_interval});
}

}  // namespace flatland
