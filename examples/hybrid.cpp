// One network that classifies MNIST and draws it: a shared trunk with two heads, trained on classification
// and parametric t-SNE together, with eight weights of the t-SNE loss against the other.
#include "examples/support/console.h"
#include "examples/support/mnist.h"
#include "examples/support/options.h"
#include "examples/support/quality.h"
#include "examples/support/results.h"

#include <flatland/dr/metrics.h>
#include <flatland/dr/routines.h>
#include <flatland/models/classifier.h>

#include <cstdio>

using namespace flatland;
using namespace flatland::examples;

namespace {

const Program k_program{
    .name = "hybrid",
    .purpose = "Classifies and embeds MNIST by one network, for eight weights of the two aims.",
    .data_help = "a folder of MNIST's IDX files (examples/get_data.sh mnist)",
    .defaults = {.data = FLATLAND_EXAMPLE_DATA "/mnist", .out = "out/hybrid"}};

struct Result {
  double weight = 0;
  Tensor map;  // of the training images
  Quality train, unseen;
  double train_accuracy = 0, unseen_accuracy = 0;  // of the class head
};

double accuracy(const ParametricDR& routine, const Dataset& data) {
  return flatland::accuracy(routine.apply(data, {.method = "classify"}), data["labels"]);
}

// One of the runs; the relations are computed in the first and handed on.
Result run_weight(Report& report, const Options& options, const MnistSplit& mnist, double weight,
                  RelationDataMap& relations) {
  // The settings of ParaDime's documentation.
  ParametricDR routine(
      {.model = HybridEmbedder({.in_dim = 784, .n_classes = 10}),
       .global_relations = NeighborBasedPDist{.transforms = {PerplexityBasedRescale{.perplexity = 30},
                                                             Symmetrize{}, Normalize{}}},
       .batch_relations = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}, ToSquare{}}},
       .losses = {{"tsne", RelationLoss{kullback_leibler_div}}, {"class", ClassificationLoss{}}},
       .device = options.device,
       .threads = options.threads,
       .seed = options.seed,
       .on_event = show(report)});
  routine.add_training_phase({.name = "hybrid",
                              .epochs = options.quick ? 2 : 50,
                              .batch_size = 500,
                              .loss_keys = {"tsne", "class"},
                              .loss_weights = {weight, 1},
                              .learning_rate = 0.001});
  routine.set_global_relation_data(relations);
  routine.train(mnist.train);
  relations = routine.global_relation_data();
  report.parameters(routine.model());

  const LabelledPoints train = embedded(routine, mnist.train), unseen = embedded(routine, mnist.unseen);
  const Result result = timed_stage(report, "measuring quality", [&] {
    return Result{weight,
                  train.y,
                  train_quality(train),
                  unseen_quality(train, unseen),
                  accuracy(routine, mnist.train),
                  accuracy(routine, mnist.unseen)};
  });
  show_quality(report, {result.train, result.unseen});
  report.metric("train", "accuracy", result.train_accuracy);
  report.metric("unseen", "accuracy", result.unseen_accuracy);
  return result;
}

Figure figure_of(const std::vector<Result>& results, const Tensor& labels) {
  Figure figure{.title = "MNIST, t-SNE and classification by one network",
                .note = "the weight of the t-SNE loss : that of the classification",
                .panels = {},
                .columns = 3};
  Line train{.name = "train"}, unseen{.name = "unseen"};
  for (const Result& r : results) {
    figure.panels.push_back({.title = text("weight %g : 1", r.weight),
                             .note = text("10-NN accuracy %.3f, classified %.3f, unseen %.3f",
                                          r.train.knn_accuracy, r.train_accuracy, r.unseen_accuracy),
                             .content = Scatter{.points = r.map, .labels = labels}});
    if (r.weight == 0) continue;  // not on a logarithmic axis
    train.x.push_back(r.weight), train.y.push_back(r.train_accuracy);
    unseen.x.push_back(r.weight), unseen.y.push_back(r.unseen_accuracy);
  }
  figure.panels.push_back({.title = "accuracy of the class head",
                           .note = "against the weight of the t-SNE loss",
                           .content = Lines{.lines = {train, unseen}, .x = {.name = "weight", .log = true}}});
  return figure;
}

void hybrid(const Options& options) {
  Report report = report_of(k_program, options);
  const MnistSplit mnist = read_mnist_split(report, options, options.quick ? 1000 : 5000);
  const std::vector<double> weights =
      options.quick ? std::vector<double>{0, 100} : std::vector<double>{0, 5, 20, 50, 100, 200, 300, 500};
  RelationDataMap relations;
  std::vector<Result> results;
  for (const double weight : weights) {
    const std::string name = text("weight %g", weight);
    std::printf("--- %s : 1\n", name.c_str());
    report.begin_run(name);
    results.push_back(run_weight(report, options, mnist, weight, relations));
  }
  std::printf("%8s %16s %14s %16s %18s %18s\n", "weight", "trustworthiness", "10-NN train", "10-NN unseen",
              "classified train", "classified unseen");
  for (const Result& r : results)
    std::printf("%8g %16.3f %14.3f %16.3f %18.3f %18.3f\n", r.weight, r.train.trustworthiness,
                r.train.knn_accuracy, r.unseen.knn_accuracy, r.train_accuracy, r.unseen_accuracy);
  write_results(report, options, figure_of(results, mnist.train["labels"]), "hybrid.png");
}

}  // namespace

int main(int argc, char** argv) {
  return run(k_program, argc, argv, hybrid);
}
