// Parametric t-SNE of forest cover types that knows their labels: a triplet loss pulls items of one type
// together and pushes others away while the t-SNE loss keeps neighbourhoods.
#include "examples/support/console.h"
#include "examples/support/covertype.h"
#include "examples/support/options.h"
#include "examples/support/quality.h"
#include "examples/support/results.h"

#include <flatland/dr/routines.h>
#include <flatland/engine/ops.h>
#include <flatland/models/fully_connected_embedder.h>

using namespace flatland;
using namespace flatland::examples;

namespace {

const Program k_program{
    .name = "supervised",
    .purpose = "Draws forest cover types by t-SNE and by triplets of their labels together.",
    .data_help = "the table of cover types (examples/get_data.sh covertype)",
    .defaults = {.data = FLATLAND_EXAMPLE_DATA "/covertype", .out = "out/supervised"}};

const std::vector<std::string> k_types = {"spruce/fir",        "lodgepole pine", "ponderosa pine",
                                          "cottonwood/willow", "aspen",          "Douglas-fir",
                                          "krummholz"};

// 1 for items of one type, an item with itself included, else 0.
RelationData same_type(const Tensor& labels) {
  const Tensor type = labels.to(Dtype::float32);
  const std::int64_t n = type.numel();
  return RelationData(SquareRelations{equal(reshape(type, {n, 1}), reshape(type, {1, n}))})
      .marked_symmetric();
}

void supervised(const Options& options) {
  Report report = report_of(k_program, options);
  const CovertypeSample covertype = read_covertype(report, options);

  // The settings of ParaDime's documentation, and a learning rate that falls.
  ParametricDR routine(
      {.model = FullyConnectedEmbedder({.in_dim = covertype.train["main"].size(1)}),
       .global_relations = {{"tsne", NeighborBasedPDist{.transforms = {PerplexityBasedRescale{
                                                                           .perplexity =
                                                                               options.quick ? 30.0 : 200.0},
                                                                       Symmetrize{}, Normalize{}}}},
                            {"same_type", Precomputed{same_type(covertype.train["labels"])}}},
       .batch_relations = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}, ToSquare{}}},
       .derived_data = {{"pca", pca_of()}},
       .losses = {{"init", PositionLoss{}},
                  {"embedding", RelationLoss{.f = kullback_leibler_div, .global_key = "tsne"}},
                  {"triplet", TripletLoss{}}},
       .device = options.device,
       .threads = options.threads,
       .seed = options.seed,
       .on_event = show(report)});
  routine.add_training_phase(
      {.name = "pca_init", .epochs = 10, .batch_size = 500, .loss_keys = {"init"}, .learning_rate = 0.01});
  routine.add_training_phase({.name = "embedding",
                              .epochs = options.quick ? 2 : 40,
                              .batch_size = 300,
                              .sampling = Sampling::negative_edge,
                              .edge_rel_key = "same_type",
                              .neg_sampling_rate = 1,
                              .loss_keys = {"embedding", "triplet"},
                              .loss_weights = {700, 1},
                              .learning_rate = 0.02,
                              .schedule = {.kind = LearningRateSchedule::Kind::cosine}});
  routine.train(covertype.train);
  report.parameters(routine.model());

  const LabelledPoints train = embedded(routine, covertype.train),
                       unseen = embedded(routine, covertype.unseen);
  const std::vector<Quality> qualities = measured(report, train, unseen);
  const auto panel = [&](const char* title, const LabelledPoints& points, const Quality& quality) {
    return Panel{.title = title,
                 .note = summary(quality),
                 .content = Scatter{.points = points.y, .labels = points.labels, .classes = k_types}};
  };
  write_results(report, options,
                {.title = "Forest cover types, t-SNE with triplets of labels",
                 .panels = {panel("train", train, qualities[0]), panel("unseen", unseen, qualities[1])},
                 .same_scale = true},
                "supervised.png");
}

}  // namespace

int main(int argc, char** argv) {
  return run(k_program, argc, argv, supervised);
}
