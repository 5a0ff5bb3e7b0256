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
  Report report({.program = k_program.name,
                 .device = options.device,
                 .threads = options.threads,
                 .seed = options.seed});
  const std::int64_t n = options.quick ? 1000 : 5000;

  const Dataset mnist = timed_stage(report, "reading " + options.data.string(), [&] {
    const LabelledImages all = read_mnist(options.data);
    return Dataset{{"main", all.images}, {"labels", all.labels}};
  });
  const Dataset train = mnist.first(n);
  const Dataset unseen = mnist.slice(n, 2 * n);

  ParametricTSNE tsne({.in_dim = train["main"].size(1),
                       .perplexity = options.quick ? 30.0 : 100.0,
                       .epochs = options.quick ? 5 : 40,
                       .learning_rate = 0.02,
                       .init_learning_rate = 0.01,
                       .schedule = {.kind = LearningRateSchedule::Kind::cosine},
                       .device = options.device,
                       .threads = options.threads,
                       .seed = options.seed,
                       .on_event = show(report)});
  tsne.train(train);
  report.parameters(tsne.model());

  const LabelledPoints on_train{train["main"], tsne.apply(train), train["labels"]};
  const LabelledPoints on_unseen{unseen["main"], tsne.apply(unseen), unseen["labels"]};
  const Tensor everything = timed_stage(report, "embedding all " + std::to_string(mnist.size()) + " images",
                                        [&] { return tsne.apply(mnist); });

  const std::vector<Quality> qualities = timed_stage(report, "measuring quality", [&] {
    return std::vector<Quality>{train_quality(on_train), unseen_quality(on_train, on_unseen)};
  });
  show_quality(report, qualities);

  write_results(report, options,
                {.title = "MNIST, parametric t-SNE",
                 .panels = {{.title = "train",
                             .note = summary(qualities[0]),
                             .content = Scatter{.points = on_train.y, .labels = on_train.labels}},
                            {.title = "unseen",
                             .note = summary(qualities[1]),
                             .content = Scatter{.points = on_unseen.y, .labels = on_unseen.labels}},
                            {.title = "all, by the same map",
                             .note = std::to_string(mnist.size()) + " items",
                             .content = Scatter{.points = everything, .labels = mnist["labels"]}}},
                 .same_scale = true},
                "mnist.png");
}

}  // namespace

int main(int argc, char** argv) {
  return run(k_program, argc, argv, parametric_tsne);
}
