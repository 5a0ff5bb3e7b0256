// Labels as places in the plane: lookup tables, a classifier, regression onto a label embedding, alone and
// with its uncertainty, and an embedding that is learned along, on thirty irises of the training and 120
// others.
#include "examples/support/console.h"
#include "examples/support/options.h"
#include "examples/support/results.h"
#include "examples/support/training.h"

#include <flatland/dr/classification_metrics.h>
#include <flatland/dr/readers.h>
#include <flatland/engine/layers.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/relation_ops.h>
#include <flatland/models/classifier.h>
#include <flatland/models/regressor.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

using namespace flatland;
using namespace flatland::examples;

namespace {

const Program k_program{
    .name = "label_embedding",
    .purpose = "Learns places of iris species in the plane, with their uncertainty.",
    .data_help = "a CSV file of four lengths and a column 'species'",
    .defaults = {.data = FLATLAND_EXAMPLE_DATA "/iris.csv", .out = "out/label_embedding", .threads = 1}};

constexpr double k_rate = 0.01;  // of SGD
// Of a table that is learned along: it follows the network within few steps, and shows where a loss leads.
constexpr double k_table_rate = 0.3;
// With relu after both; the published networks have none after the second.
const std::vector<std::int64_t> k_hidden = {100, 100};

// What all parts share.
struct Lesson {
  const Options& options;
  Report& report;
  Listener listener;
  Dataset train, unseen;
  std::vector<std::string> species;
  std::vector<Panel> panels;

  std::int64_t columns() const { return train["main"].size(1); }
  std::int64_t classes() const { return static_cast<std::int64_t>(species.size()); }
};

Lesson begin(Report& report, const Options& options) {
  const Table table = read_csv(options.data);
  const std::vector<std::string> label{"species"};
  const Labels species = table.labels(label[0]);
  const TrainTest parts =
      train_test_split({{"main", table.numbers_except(label)}, {"labels", species.values}},
                       {.test = 0.8, .seed = options.seed});
  return {.options = options,
          .report = report,
          .listener = show(report),
          .train = parts.train.to(options.device),
          .unseen = parts.test.to(options.device),
          .species = species.names,
          .panels = {}};
}

// Steps on all irises of the training at once, a phase of the report.
Curves fit(const Lesson& lesson, Module& module, Training training) {
  training.epochs = lesson.options.quick ? 100 : 1000;
  training.report_interval = training.epochs / 2;
  DataLoader loader(lesson.train, {.batch_size = lesson.train.size()});
  return train(module, loader, training, lesson.listener);
}

Tensor on_cpu(const Tensor& values) {
  return values.detach().to(Device::cpu);
}

// The places of irises and, larger, of their labels.
Panel map(const Lesson& lesson, std::string title, std::string note, const Tensor& places,
          const Tensor& table, Tensor sizes = {}) {
  const Tensor labels = on_cpu(lesson.unseen["labels"]);
  if (!sizes.defined()) sizes = Tensor::full({places.size(0)}, 1);
  const double largest = max_value(sizes);
  return {.title = std::move(title),
          .note = std::move(note),
          .content = Scatter{.points = concat({on_cpu(places), on_cpu(table)}),
                             .labels = concat({labels, Tensor::arange(lesson.classes())}),
                             .classes = lesson.species,
                             .size = 16,
                             .sizes = concat({sizes * (0.3 / largest), Tensor::full({lesson.classes()}, 1)}),
                             .opacity = 0.6}};
}

// --- (a) a table that numbers are looked up in ---

void look_up(Lesson& lesson) {
  constexpr std::int64_t k_rows = 10, k_padding = 5;
  const Embedding table = started(Embedding(k_rows, 2, {.padding_idx = k_padding}), lesson.options);
  const Tensor places = on_cpu(table.forward(Tensor::arange(k_rows).to(lesson.options.device)));
  std::printf("\nan embedding of %d numbers; %d is padding\n", int{k_rows}, int{k_padding});
  for (std::int64_t i = 0; i < k_rows; ++i) {
    std::printf("%4d  %7.3f  %7.3f\n", static_cast<int>(i), places.at(i, 0), places.at(i, 1));
  }
  std::printf("\n");
  lesson.panels.push_back(
      {.title = "a table of ten numbers",
       .note = "at random; row 5 is padding, at the origin",
       .content = Scatter{.points = places, .labels = Tensor::arange(k_rows), .name_classes = true}});
}

// --- (b) a classifier ---

void classify(Lesson& lesson, bool softmax_first) {
  const std::string name = softmax_first ? "classifier, softmax twice" : "classifier";
  lesson.report.begin_run(name);
  Classifier model = started(Classifier({.in_dim = lesson.columns(),
                                         .n_classes = lesson.classes(),
                                         .hidden_dims = k_hidden,
                                         .activation = activation::relu}),
                             lesson.options);
  const auto loss = [&](const Dataset& irises) {
    const Tensor logits = model.classify(irises["main"]);
    return cross_entropy(softmax_first ? softmax(logits) : logits, irises["labels"]);
  };
  fit(lesson, model, {.name = name, .optimizer = SGD{}, .learning_rate = k_rate, .loss = loss});
  lesson.report.parameters(model);

  const ConfusionMatrix matrix(on_cpu(argmax(model.classify(lesson.unseen["main"]))),
                               on_cpu(lesson.unseen["labels"]), lesson.classes());
  const auto metric = [&](const char* key, double value) {
    lesson.report.metric("unseen", key, value);
    std::printf("  %-16s %.3f\n", key, value);
  };
  metric("accuracy", matrix.accuracy());
  metric("macro_precision", matrix.precision());
  metric("micro_precision", matrix.precision(Average::micro));
  metric("macro_recall", matrix.recall());
  metric("micro_recall", matrix.recall(Average::micro));
  lesson.panels.push_back({.title = name,
                           .note = text("accuracy %.3f", matrix.accuracy()),
                           .content = HeatMap{.values = matrix.counts().to(Dtype::float32),
                                              .row_names = lesson.species,
                                              .column_names = lesson.species,
                                              .rows_name = "species",
                                              .columns_name = "predicted",
                                              .write_values = true}});
}

// --- (c) regression onto a fixed embedding of the labels ---

struct Placed {
  double error = 0, nearest = 0;  // mean absolute error, share of irises that lie nearest to their label
};

// `places` of unseen irises against the labels' places in `model`.
Placed judge(const Lesson& lesson, const Tensor& places, const LabelEmbeddingRegressor& model) {
  const NoGrad guard;
  const Tensor& labels = lesson.unseen["labels"];
  const Placed placed{
      .error = l1_loss(places, model.targets(labels)).item(),
      .nearest = ConfusionMatrix(on_cpu(argmax(model.classify_shared(places))), on_cpu(labels)).accuracy()};
  lesson.report.metric("unseen", "error", placed.error);
  lesson.report.metric("unseen", "nearest_accuracy", placed.nearest);
  std::printf("  mean absolute error %.3f, nearest label right %.3f\n", placed.error, placed.nearest);
  return placed;
}

std::string summary(const Placed& placed) {
  return text("error %.3f, nearest label right %.3f", placed.error, placed.nearest);
}

LabelEmbeddingRegressor onto_labels(const Lesson& lesson, bool learned, double max_norm = 0) {
  return started(LabelEmbeddingRegressor({.in_dim = lesson.columns(),
                                          .n_classes = lesson.classes(),
                                          .hidden_dims = k_hidden,
                                          .activation = activation::relu,
                                          .learned = learned,
                                          .max_norm = max_norm}),
                 lesson.options);
}

LabelEmbeddingRegressor regress(Lesson& lesson) {
  lesson.report.begin_run("regression");
  LabelEmbeddingRegressor model = onto_labels(lesson, false);
  const auto loss = [&](const Dataset& irises) {
    return mse_loss(model.embed(irises["main"]), model.targets(irises["labels"]));
  };
  fit(lesson, model, {.name = "regression", .optimizer = SGD{}, .learning_rate = k_rate, .loss = loss});
  lesson.report.parameters(model);
  const Tensor places = model.embed(lesson.unseen["main"]);
  const Placed placed = judge(lesson, places, model);
  lesson.panels.push_back(map(lesson, "regression", summary(placed), places, model.table()));
  return model;
}

// --- (d) the same with its uncertainty ---

// Count, mean, deviation and quartiles of each column.
void describe(const char* title, const Tensor& values) {
  std::printf("%s\n  %10s %7s %9s %9s %9s %9s %9s\n", title, "coordinate", "count", "mean", "deviation",
              "25 %", "median", "75 %");
  for (std::int64_t j = 0; j < values.size(1); ++j) {
    const Tensor one = column(values, j);
    std::vector<double> sorted = one.to_vector<double>();
    std::ranges::sort(sorted);
    std::printf("  %10d %7zu %9.4f %9.4f %9.4f %9.4f %9.4f\n", static_cast<int>(j + 1), sorted.size(),
                mean(one).item(), std_dev(one).item(), quantile(sorted, 0.25), quantile(sorted, 0.5),
                quantile(sorted, 0.75));
  }
}

// How many irises, of all, lie inside the region that is to hold a share of them: |t - m|^2 / v of two
// coordinates is below -2 log(1 - share) with that probability.
Panel calibration(Lesson& lesson, const Tensor& squared) {
  const std::vector<double> values = squared.to_vector<double>();
  const auto inside = [&](double share) {
    const double limit = -2 * std::log1p(-share);
    return static_cast<double>(std::ranges::count_if(values, [&](double d2) { return d2 <= limit; })) /
           static_cast<double>(values.size());
  };
  std::printf("  unseen irises inside the regions of");
  for (const int percent : {50, 80, 95}) {
    const double share = inside(percent / 100.0);
    lesson.report.metric("unseen", "inside_" + std::to_string(percent), share);
    std::printf("  %d %%: %.1f %%", percent, 100 * share);
  }
  std::printf("\n  (thirty irises are few: the network is surer of others than it should be)\n\n");
  std::vector<double> shares, observed;
  for (int percent = 0; percent < 100; ++percent) {
    shares.push_back(percent / 100.0);
    observed.push_back(inside(shares.back()));
  }
  return {.title = "calibration",
          .note = text("50, 80, 95 %%: %.0f, %.0f, %.0f %% inside", 100 * inside(0.5), 100 * inside(0.8),
                       100 * inside(0.95)),
          .content = Lines{.lines = {{.name = "perfect", .y = shares, .x = shares},
                                     {.name = "unseen irises", .y = observed, .x = shares}},
                           .x = {.name = "share that a region is to hold"},
                           .y = {.name = "share inside", .min = 0, .max = 1}}};
}

// A line a species: its irises in order of their variance.
Panel variances_by_species(const Lesson& lesson, const Tensor& variance) {
  const std::vector<double> values = variance.to_vector<double>();
  const std::vector<std::int64_t> labels = lesson.unseen["labels"].to_vector<std::int64_t>();
  std::vector<Line> lines;
  for (const std::string& species : lesson.species) lines.push_back({.name = species});
  for (std::size_t i = 0; i < values.size(); ++i) {
    lines[static_cast<std::size_t>(labels[i])].y.push_back(values[i]);
  }
  for (Line& line : lines) std::ranges::sort(line.y);
  return {.title = "variances",
          .note = "mean of both coordinates",
          .content = Lines{
              .lines = lines, .x = {.name = "iris, by variance"}, .y = {.name = "variance", .log = true}}};
}

void regress_with_uncertainty(Lesson& lesson, const LabelEmbeddingRegressor& labels) {
  lesson.report.begin_run("gaussian");
  MeanVarianceRegressor model =
      started(MeanVarianceRegressor(
                  {.in_dim = lesson.columns(), .hidden_dims = k_hidden, .activation = activation::relu}),
              lesson.options);
  const auto loss = [&](const Dataset& irises) {
    const auto [mean, variance] = model.predict(irises["main"]);
    return gaussian_nll_loss(mean, labels.targets(irises["labels"]), variance);
  };
  fit(lesson, model, {.name = "gaussian", .optimizer = AdamW{}, .learning_rate = 0.001, .loss = loss});
  lesson.report.parameters(model);

  const MeanVarianceRegressor::Prediction p = model.predict(lesson.unseen["main"]);
  const Tensor variance = maximum(on_cpu(p.variance), Tensor::scalar(gaussian_nll_loss.eps));
  const Tensor off = on_cpu(p.mean) - on_cpu(labels.targets(lesson.unseen["labels"]));
  const Placed placed = judge(lesson, p.mean, labels);
  describe("  variances", variance);
  const Tensor of_both = mean(variance, 1);
  lesson.panels.push_back(map(lesson, "regression with variance", summary(placed) + "; larger: less sure",
                              p.mean, labels.table(), sqrt(of_both)));
  lesson.panels.push_back(variances_by_species(lesson, of_both));
  lesson.panels.push_back(calibration(lesson, sum(square(off) / variance, 1)));
}

// --- (e) an embedding that is learned along ---

struct Variant {
  std::string name;
  bool learned = true;
  double max_norm = 0;
  bool push = false;
};

// The smallest distance between two labels.
double apart(const Tensor& table) {
  const std::vector<double> distances = pdist(on_cpu(table)).to_vector<double>();
  return *std::ranges::min_element(distances);
}

// Its distance of the closest labels, epoch by epoch. The squared error is 0 where all lie in one point, so
// that a learned table shrinks, and max_norm is no remedy: it bounds lengths from above. `push` adds the
// cross-entropy of the labels by nearness, which is log 3 in one point and falls as an iris gets nearer to
// its own label than to others: labels stay apart because they have to be told apart.
Line learn(Lesson& lesson, const Variant& variant) {
  lesson.report.begin_run(variant.name);
  LabelEmbeddingRegressor model = onto_labels(lesson, variant.learned, variant.max_norm);
  model.targets(lesson.train["labels"]);  // shortens the rows
  const Tensor first = model.table().detach().clone();
  std::vector<Tensor> network = tensors_of(model.parameters());
  network.pop_back();  // the table comes last
  const auto loss = [&](const Dataset& irises) {
    const Tensor places = model.shared(irises["main"]), labels = irises["labels"];
    const Tensor pull = mse_loss(places, model.targets(labels));
    return variant.push ? pull + cross_entropy(model.classify_shared(places), labels) : pull;
  };
  const Curves curves = fit(
      lesson, model,
      {.name = variant.name,
       .optimizer = SGD{},
       .learning_rate = k_rate,
       .groups = {{.parameters = network}, {.parameters = {model.table()}, .learning_rate = k_table_rate}},
       .loss = loss,
       .validate = [&] { return apart(model.table()); }});
  Line line{.name = variant.name, .y = {apart(first)}};
  line.y.insert(line.y.end(), curves.validation.begin(), curves.validation.end());
  lesson.report.parameters(model);

  const Tensor places = model.embed(lesson.unseen["main"]);
  const Placed placed = judge(lesson, places, model);
  const double moved = std::sqrt(mean(sum(square(model.table().detach() - first), 1)).item());
  lesson.report.metric("table", "moved", moved);
  lesson.report.metric("table", "apart_before", line.y.front());
  lesson.report.metric("table", "apart", line.y.back());
  std::printf("  labels moved by %.3f; the closest two were %.3f apart and are %.3f\n\n", moved,
              line.y.front(), line.y.back());
  lesson.panels.push_back(map(lesson, variant.name,
                              text("closest labels %.2f apart (at first %.2f), nearest right %.3f",
                                   line.y.back(), line.y.front(), placed.nearest),
                              places, model.table()));
  return line;
}

void learn_embeddings(Lesson& lesson) {
  std::vector<Line> lines;
  for (const Variant& variant :
       {Variant{.name = "not learned", .learned = false, .max_norm = 1}, Variant{.name = "learned"},
        Variant{.name = "learned, max_norm 1", .max_norm = 1},
        Variant{.name = "learned, told apart", .push = true}}) {
    lines.push_back(learn(lesson, variant));
  }
  lesson.panels.push_back(
      {.title = "the two closest labels",
       .content = Lines{.lines = lines, .x = {.name = "epoch"}, .y = {.name = "distance", .min = 0}}});
}

void label_embedding(const Options& options) {
  Report report = report_of(k_program, options);
  kernels::Exec exec(options.device, options.threads);
  const ExecScope scope(exec);
  Lesson lesson =
      timed_stage(report, "reading " + options.data.string(), [&] { return begin(report, options); });
  look_up(lesson);
  // The published example takes a softmax before the cross-entropy, which takes another: gradients are small
  // where a class is certain, right or wrong, and some starts stay there.
  classify(lesson, true);
  classify(lesson, false);
  const LabelEmbeddingRegressor labels = regress(lesson);
  regress_with_uncertainty(lesson, labels);
  learn_embeddings(lesson);
  write_results(
      report, options,
      {.title = "Iris: labels as places",
       .note = "maps: unseen irises, and their labels as the large dots; each map has its own scale",
       .panels = lesson.panels,
       .columns = 3},
      "label_embedding.png");
}

}  // namespace

int main(int argc, char** argv) {
  return run(k_program, argc, argv, label_embedding);
}
