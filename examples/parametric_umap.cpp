// Parametric UMAP of MNIST: trained on the first 5,000 images, applied to the next 5,000, then to all of them
// without training again.
#include "examples/support/console.h"
#include "examples/support/mnist.h"
#include "examples/support/options.h"
#include "examples/support/quality.h"
#include "examples/support/results.h"

#include <flatland/dr/routines.h>

using namespace flatland;
using namespace flatland::examples;

namespace {

const Program k_program{.name = "parametric_umap",
                        .purpose = "Learns a UMAP of 5,000 MNIST images and applies it to all of them.",
                        .data_help = "a folder of MNIST's IDX files (examples/get_data.sh mnist)",
                        .defaults = {.data = FLATLAND_EXAMPLE_DATA "/mnist", .out = "out/parametric_umap"}};

void parametric_umap(const Options& options) {
  Report report = report_of(k_program, options);
  const MnistSplit mnist = read_mnist_split(report, options, options.quick ? 1000 : 5000);

  // The settings of ParaDime's documentation, but for what makes the map better: elu instead of softplus, a
  // rate that falls, and a shorter memory of squared gradients than the 600 steps.
  ParametricUMAP umap({.in_dim = 784,
                       .n_neighbors = 30,
                       .min_dist = 0.1,
                       .hidden_dims = {100, 100, 100},
                       .activation = activation::elu(),
                       .epochs = options.quick ? 5 : 60,
                       .init_epochs = 10,
                       .batch_size = 500,
                       .batches_per_epoch = 10,
                       .negative_sampling_rate = 3,
                       .init_batch_size = 500,
                       .learning_rate = 0.01,
                       .init_learning_rate = 0.01,
                       .schedule = {.kind = LearningRateSchedule::Kind::cosine},
                       .optimizer = Adam{.beta2 = 0.99},
                       .device = options.device,
                       .threads = options.threads,
                       .seed = options.seed,
                       .on_event = show(report)});
  umap.train(mnist.train);
  report.parameters(umap.model());
  write_mnist_maps(report, options, mnist, umap, "MNIST, parametric UMAP");
}

}  // namespace

int main(int argc, char** argv) {
  return run(k_program, argc, argv, parametric_umap);
}
