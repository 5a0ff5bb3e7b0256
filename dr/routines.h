// Ready-made routines.
#pragma once

#include <flatland/dr/parametric_dr.h>

#include <cstdint>
#include <string>
#include <vector>

namespace flatland {

// Parametric t-SNE (van der Maaten, 2009), in ParaDime's form: neighbour affinities of given perplexity
// against Student-t similarities by KL divergence over batches, after a phase that pulls the points to their
// PCA positions. Phases "pca_init" and "embedding", as there.
class ParametricTSNE : public ParametricDR {
 public:
  struct Options {
    std::int64_t in_dim = 0;  // columns of the data
    double perplexity = 30;
    double alpha = 1;  // degrees of freedom of the Student-t kernel
    std::vector<std::int64_t> hidden_dims = {100, 50};
    std::int64_t out_dim = 2;
    Activation activation = activation::softplus;
    bool pca_initialization = true;
    int epochs = 30;
    int init_epochs = 10;
    std::int64_t batch_size = 500;
    std::int64_t init_batch_size = 0;  // 0: batch_size
    double learning_rate = 0.01;
    double init_learning_rate = 0;       // 0: learning_rate
    LearningRateSchedule schedule = {};  // of the embedding phase
    double input_noise = 0;              // of the embedding phase; see TrainingPhase
    int report_interval = 5;             // of the embedding phase
    OptimizerRecipe optimizer = Adam{};
    ModelHandle model = {};  // instead of a fully connected one
    MetricOr<RowMetric> metric = {};
    std::string data_key = "main";  // the entry with the data; a given model says itself what it takes
    Device device = Device::cpu;    // best_device() takes a GPU where there is one
    int threads = 0;
    std::uint64_t seed = 42;
    Listener on_event = {};
  };
  explicit ParametricTSNE(Options options);
};

// Parametric UMAP (Sainburg, McInnes and Gentner, 2021), in ParaDime's form: fuzzy neighbour relations
// against modified Cauchy similarities of sampled edges by cross-entropy, after a phase that pulls the points
// to their spectral positions. Phases "spectral_init" and "embedding", as there.
class ParametricUMAP : public ParametricDR {
 public:
  struct Options {
    std::int64_t in_dim = 0;  // columns of the data
    std::int64_t n_neighbors = 30;
    double min_dist = 0.01;  // how close embedded neighbours may come
    double spread = 1;       // the scale of the embedding
    double a = 0;            // of the modified Cauchy kernel: both, or 0 to fit them to the two above
    double b = 0;
    std::vector<std::int64_t> hidden_dims = {100, 50};
    std::int64_t out_dim = 2;
    Activation activation = activation::softplus;
    bool spectral_initialization = true;
    int epochs = 30;
    int init_epochs = 5;
    std::int64_t batch_size = 10;         // edges
    std::int64_t batches_per_epoch = -1;  // see TrainingPhase
    int negative_sampling_rate = 5;       // random items an edge
    std::int64_t init_batch_size = 100;   // items
    double learning_rate = 0.005;
    double init_learning_rate = 0.05;
    LearningRateSchedule schedule = {};  // of the embedding phase
    int report_interval = 5;             // of the embedding phase
    OptimizerRecipe optimizer = Adam{};
    ModelHandle model = {};  // instead of a fully connected one
    MetricOr<RowMetric> metric = {};
    std::string data_key = "main";  // the entry with the data; a given model says itself what it takes
    Device device = Device::cpu;    // best_device() takes a GPU where there is one
    int threads = 0;
    std::uint64_t seed = 42;
    Listener on_event = {};
  };
  explicit ParametricUMAP(Options options);
};

}  // namespace flatland
