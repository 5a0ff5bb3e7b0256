// Parametric t-SNE of MNIST: trained on the first 5,000 images, applied to the next 5,000, then to all of
// them without training again.
#include "examples/support/console.h"
#include "examples/support/mnist.h"
#include "examples/support/options.h"
#include "examples/support/quality.h"
#include "examples/support/results.h"

#include <flatland/dr/routines.h>

using namespace flatland;
using namespace flatland::examples;

namespace {

const Program k_program{.name = "parametric_tsne",
                        .purpose = "Learns a map of 5,000 MNIST images and applies it to all of them.",
                        .data_help = "a folder of MNIST's IDX files (examples/get_data.sh mnist)",
                        .defaults = {.data = FLATLAND_EXAMPLE_DATA "/mnist", .out = "out/parametric_tsne"}};

void parametric_tsne(const Options& options) {
  Report report = report_of(k_program, options);
  const MnistSplit mnist = read_mnist_split(report, options, options.quick ? 1000 : 5000);

  // The published settings, but for what makes the maps of few epochs better: elu instead of softplus, a rate
  // that falls, and a shorter memory of squared gradients than the 400 steps.
  ParametricTSNE tsne({.in_dim = 784,
                       .perplexity = options.quick ? 30.0 : 100.0,
                       .activation = activation::elu(),
                       .epochs = options.quick ? 5 : 40,
                       .learning_rate = 0.02,
                       .init_learning_rate = 0.01,
                       .schedule = {.kind = LearningRateSchedule::Kind::cosine},
                       .optimizer = Adam{.beta2 = 0.99},
                       .device = options.device,
                       .threads = options.threads,
                       .seed = options.seed,
                       .on_event = show(report)});
  tsne.train(mnist.train);
  report.parameters(tsne.model());
  write_mnist_maps(report, options, mnist, tsne, "MNIST, parametric t-SNE");
}

}  // namespace

int main(int argc, char** argv) {
  return run(k_program, argc, argv, parametric_tsne);
}
