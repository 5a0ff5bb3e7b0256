// Ready-made routines.
#pragma once

#include <flatland/dr/parametric_dr.h>

#include <cstdint>
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
    Device device = Device::cpu;  // best_device() takes a GPU where there is one
    int threads = 0;
    std::uint64_t seed = 42;
    Listener on_event = {};
  };
  explicit ParametricTSNE(Options options);
};

}  // namespace flatland
