// Parametric t-SNE of forest cover types whose x axis is guided to show one attribute, the hillshade at noon,
// more and more strictly, and which attributes each axis depends on.
#include "examples/support/console.h"
#include "examples/support/covertype.h"
#include "examples/support/options.h"
#include "examples/support/quality.h"
#include "examples/support/results.h"

#include <flatland/dr/routines.h>
#include <flatland/engine/ops.h>
#include <flatland/models/fully_connected_embedder.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

using namespace flatland;
using namespace flatland::examples;

namespace {

const Program k_program{
    .name = "guided",
    .purpose = "Guides the x axis of a t-SNE of forest cover types to show one attribute.",
    .data_help = "the table of cover types (examples/get_data.sh covertype)",
    .defaults = {.data = FLATLAND_EXAMPLE_DATA "/covertype", .out = "out/guided"}};

constexpr std::int64_t k_attribute = 7;  // hillshade at noon

struct Result {
  double weight = 0;  // of the t-SNE loss; 0: not guided
  Tensor map;
  Quality train;
  double correlation = 0;            // of x and the attribute
  std::vector<double> importance_x;  // of each attribute, adding up to 1
};

double correlation(const Tensor& a, const Tensor& b) {
  return (covariance(a, b) / (std_dev(a) * std_dev(b))).item();
}

// How much coordinate `axis` changes with each attribute: mean gradients, as shares.
std::vector<double> importance(const ParametricDR& routine, const Tensor& x, std::int64_t axis) {
  Tensor input = x.clone();
  input.requires_grad(true);
  sum(column(routine.model().embed(input), axis)).backward();
  const Tensor slope = abs(mean(input.grad(), 0));
  return (slope / sum(slope)).to_vector<double>();
}

Result run_weight(Report& report, const Options& options, const CovertypeSample& covertype, double weight,
                  RelationDataMap& relations) {
  // The settings of ParaDime's documentation.
  ParametricDR routine(
      {.model = FullyConnectedEmbedder({.in_dim = covertype.train["main"].size(1)}),
       .global_relations = NeighborBasedPDist{.transforms = {PerplexityBasedRescale{
                                                                 .perplexity = options.quick ? 30.0 : 200.0},
                                                             Symmetrize{}, Normalize{}}},
       .batch_relations = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}, ToSquare{}}},
       .derived_data = {{"pca", pca_of()}},
       .losses = {{"init", PositionLoss{}},
                  {"embedding", RelationLoss{kullback_leibler_div}},
                  {"guiding", CorrelationLoss{.attribute = k_attribute, .embedding_dim = 0}}},
       .device = options.device,
       .threads = options.threads,
       .seed = options.seed,
       .on_event = show(report)});
  routine.add_training_phase(
      {.name = "pca_init", .epochs = 10, .batch_size = 500, .loss_keys = {"init"}, .learning_rate = 0.01});
  routine.add_training_phase({.name = "embedding",
                              .epochs = options.quick ? 2 : 40,
                              .batch_size = 500,
                              .loss_keys = {"embedding", "guiding"},
                              .loss_weights = {weight == 0 ? 1 : weight, weight == 0 ? 0.0 : 1.0},
                              .learning_rate = 0.02});
  routine.set_global_relation_data(relations);
  routine.train(covertype.train);
  relations = routine.global_relation_data();
  report.parameters(routine.model());

  const LabelledPoints train = embedded(routine, covertype.train),
                       unseen = embedded(routine, covertype.unseen);
  const std::vector<Quality> qualities = measured(report, train, unseen);
  const Result result{weight, train.y, qualities.front(),
                      correlation(column(train.y, 0), column(train.x, k_attribute)),
                      importance(routine, train.x.to(options.device), 0)};
  report.metric("train", "correlation", result.correlation);
  report.metric("unseen", "correlation", correlation(column(unseen.y, 0), column(unseen.x, k_attribute)));
  report.metric("train", "importance", result.importance_x[k_attribute]);
  return result;
}

std::string title_of(double weight) {
  return weight == 0 ? "not guided" : text("t-SNE %g : 1 guiding", weight);
}

Figure figure_of(const std::vector<Result>& results, const Tensor& data) {
  Figure figure{.title = "Forest cover types, t-SNE with a guided x axis", .panels = {}, .columns = 2};
  const Tensor attribute = column(data, k_attribute);
  for (const Result& r : results) {
    figure.panels.push_back(
        {.title = title_of(r.weight),
         .note = text("correlation of x with the attribute %.3f, trustworthiness %.3f", r.correlation,
                      r.train.trustworthiness),
         .content = Scatter{.points = r.map,
                            .values = attribute,
                            .values_name = std::string(k_covertype_attributes[k_attribute]) + ", scaled"}});
  }
  double most = 0;  // both on one axis
  for (const double share : results.front().importance_x) most = std::max(most, share);
  for (const double share : results.back().importance_x) most = std::max(most, share);
  for (const Result* r : {&results.front(), &results.back()})
    figure.panels.push_back(
        {.title = "what x depends on, " + title_of(r->weight),
         .note = "mean gradient of x by each attribute, as a share",
         .content = Bars{.names = {k_covertype_attributes.begin(), k_covertype_attributes.end()},
                         .values = r->importance_x,
                         .axis = {.max = most}}});
  return figure;
}

void guided(const Options& options) {
  Report report = report_of(k_program, options);
  const CovertypeSample covertype = read_covertype(report, options);
  const std::vector<double> weights =
      options.quick ? std::vector<double>{0, 100} : std::vector<double>{0, 5000, 1000, 100};
  RelationDataMap relations;
  std::vector<Result> results;
  for (const double weight : weights) {
    std::printf("--- %s\n", title_of(weight).c_str());
    report.begin_run(title_of(weight));
    results.push_back(run_weight(report, options, covertype, weight, relations));
  }
  std::printf("%24s %16s %14s %14s %14s\n", "", "trustworthiness", "10-NN train", "correlation",
              "importance");
  for (const Result& r : results)
    std::printf("%24s %16.3f %14.3f %14.3f %14.3f\n", title_of(r.weight).c_str(), r.train.trustworthiness,
                r.train.knn_accuracy, r.correlation, r.importance_x[k_attribute]);
  write_results(report, options, figure_of(results, covertype.train["main"]), "guided.png");
}

}  // namespace

int main(int argc, char** argv) {
  return run(k_program, argc, argv, guided);
}
