// The main job in one go: parametric t-SNE of real handwritten digits. Learns a map from the first 1,200
// images and applies it to 597 that it has never seen.
#include "examples/support/console.h"
#include "examples/support/options.h"
#include "examples/support/quality.h"
#include "examples/support/results.h"

#include <flatland/dr/readers.h>
#include <flatland/dr/routines.h>

using namespace flatland;
using namespace flatland::examples;

namespace {

constexpr std::int64_t k_train = 1200;

const Program k_program{
    .name = "quickstart",
    .purpose = "Learns a map of handwritten digits with parametric t-SNE and applies it to unseen ones.",
    .data_help = "a CSV file of 64 pixel counts (0..16) and a column 'digit'",
    .defaults = {.data = FLATLAND_EXAMPLE_DATA "/digits.csv", .out = "out/quickstart"}};

void quickstart(const Options& options) {
  Report report = report_of(k_program, options);

  const Dataset digits = timed_stage(report, "reading " + options.data.string(), [&] {
    const Table table = read_csv(options.data);
    const std::vector<std::string> label{"digit"};
    return Dataset{{"main", table.numbers_except(label) / 16.0}, {"labels", table.labels("digit").values}};
  });
  const Dataset train = digits.first(k_train);
  const Dataset unseen = digits.slice(k_train, digits.size());

  ParametricTSNE tsne({.in_dim = train["main"].size(1),
                       .perplexity = 30,
                       .epochs = options.quick ? 20 : 800,
                       .learning_rate = 0.05,
                       .init_learning_rate = 0.01,
                       .schedule = {.kind = LearningRateSchedule::Kind::cosine},
                       .input_noise = 0.15,  // of pixels in 0..1; unseen digits fall nearer to their kind
                       .report_interval = 100,
                       .device = options.device,
                       .threads = options.threads,
                       .seed = options.seed,
                       .on_event = show(report)});
  tsne.train(train);
  report.parameters(tsne.model());

  const LabelledPoints on_train = embedded(tsne, train);
  const LabelledPoints on_unseen =
      timed_stage(report, "embedding unseen digits", [&] { return embedded(tsne, unseen); });

  const std::vector<Quality> qualities = measured(report, on_train, on_unseen);

  write_results(report, options,
                {.title = "Handwritten digits, parametric t-SNE",
                 .panels = {{.title = "train",
                             .note = summary(qualities[0]),
                             .content = Scatter{.points = on_train.y, .labels = on_train.labels}},
                            {.title = "unseen",
                             .note = summary(qualities[1]),
                             .content = Scatter{.points = on_unseen.y, .labels = on_unseen.labels}}},
                 .same_scale = true},
                "digits.png");
}

}  // namespace

int main(int argc, char** argv) {
  return run(k_program, argc, argv, quickstart);
}
