// Autoencoders of MNIST: what depth, activations, optimizers and losses change, what classes can be read off
// their latent values, and what ten labels a class add. After the notebook of a course.
#include "examples/support/autoencoders.h"
#include "examples/support/console.h"
#include "examples/support/quality.h"
#include "examples/support/results.h"

#include <flatland/dr/draw.h>
#include <flatland/dr/metrics.h>
#include <flatland/dr/pca.h>
#include <flatland/dr/routines.h>
#include <flatland/kernels/check.h>

#include <algorithm>
#include <cstdio>

using namespace flatland;
using namespace flatland::examples;

namespace {

const Program k_program{.name = "autoencoder",
                        .purpose = "Trains autoencoders of MNIST in nine parts.",
                        .data_help = "a folder of MNIST's IDX files (examples/get_data.sh mnist)",
                        .defaults = {.data = FLATLAND_EXAMPLE_DATA "/mnist", .out = "out/autoencoder"},
                        .flags = {{"--part", "LETTERS",
                                   "a: 3 and 7 by SGD  b: deeper  c: latent activations  d: optimizers  "
                                   "e: losses  f: ten classes  g: 10-D latent  h: classifiers  "
                                   "i: semi-supervised; such as a,c,h [a]"},
                                  {"--all", "", "all parts"}}};

using activation::elu, activation::leaky_relu;

void draw_part(const Session& session, const std::string& part, Figure figure) {
  figure.title = "MNIST autoencoders, " + figure.title;
  write_picture(session.report, session.options, figure, "part_" + part + ".png");
}

// One autoencoder, drawn in full.
void one(const Session& session, const Digits& digits, const std::string& part, const std::string& title,
         const Variant& variant) {
  const Trained run = train_variant(session, digits, part, variant);
  const std::string note = report_quality(session.report, digits, run);
  draw_part(session, part,
            {.title = title,
             .panels = {latent_panel("latent values", note, run.latent, digits), decoded_grid_panel(run),
                        reconstructions_panel({run}, digits), curves_panel(run)},
             .columns = 2});
}

// Several of one loss, side by side; with the maps of their latent values, or without.
enum class Show { curves, maps };
void several(const Session& session, const std::string& part, const std::string& title,
             const std::vector<Variant>& variants, Show show) {
  const Digits& digits = session.two;
  Figure figure{.title = title,
                .note = text("a model that makes the mean image of everything has an MSE of %.4f",
                             mse_of_mean_image(digits)),
                .panels = {},
                .columns = show == Show::maps ? 2 : 3};
  std::vector<Trained> runs;
  for (const Variant& variant : variants) {
    runs.push_back(train_variant(session, digits, part, variant));
    if (show == Show::curves) continue;
    const std::string note = report_quality(session.report, digits, runs.back());
    figure.panels.push_back(latent_panel(variant.name, note, runs.back().latent, digits));
  }
  figure.panels.push_back(reconstructions_panel(runs, digits));
  figure.panels.push_back(training_panel(runs));
  figure.panels.push_back(unseen_panel(runs));
  draw_part(session, part, figure);
}

void part_a(const Session& session) {
  one(session, session.two, "a", "784-128-2 by gradient descent",
      {.name = "SGD", .optimizer = SGD{}, .learning_rate = 0.25, .epochs = 100});
}

void part_b(const Session& session) {
  std::vector<Variant> variants = {{.name = "leaky_relu", .model = {.activation = leaky_relu(0.2)}},
                                   {.name = "elu", .model = {.activation = elu()}},
                                   {.name = "tanh", .model = {.activation = activation::tanh}}};
  for (Variant& variant : variants) variant.model.hidden_dims = {512, 256, 128};
  several(session, "b", "784-512-256-128-2", variants, Show::maps);
}

void part_c(const Session& session) {
  several(session, "c", "activation of the latent values",
          {{.name = "none"},
           {.name = "tanh", .model = {.latent_activation = activation::tanh}},
           {.name = "sigmoid", .model = {.latent_activation = activation::sigmoid}},
           {.name = "relu", .model = {.latent_activation = activation::relu}}},
          Show::maps);
}

void part_d(const Session& session) {
  several(session, "d", "optimizers",
          {{.name = "Adam"},
           {.name = "SGD+momentum", .optimizer = SGD{.momentum = 0.9}, .learning_rate = 0.01},
           {.name = "RMSprop", .optimizer = RMSprop{}},
           {.name = "Adam+L2", .optimizer = Adam{.weight_decay = 1e-5}}},
          Show::curves);
}

// What each is trained on differs, so they are compared by losses of unseen images.
void part_e(const Session& session) {
  const std::vector<Variant> variants = {{.name = "MSE"},
                                         {.name = "BCE", .loss = bce_loss},
                                         {.name = "L1", .loss = l1_loss},
                                         {.name = "SmoothL1", .loss = smooth_l1_loss}};
  std::vector<Trained> runs;
  std::vector<std::string> names;
  std::vector<double> losses;
  for (const Variant& variant : variants) {
    runs.push_back(train_variant(session, session.two, "e", variant));
    names.push_back(variant.name);
    const Reconstruction& r = runs.back().unseen;
    losses.insert(losses.end(), {r.mse, r.bce, r.l1, r.smooth_l1});
  }
  for (std::size_t column = 0; column < 4; ++column) {
    double best = losses[column];
    for (std::size_t i = column; i < losses.size(); i += 4) best = std::min(best, losses[i]);
    for (std::size_t i = column; i < losses.size(); i += 4) losses[i] /= best;
  }
  draw_part(session, "e",
            {.title = "losses",
             .panels = {reconstructions_panel(runs, session.two),
                        unseen_panel(runs),
                        {.title = "every loss of every model",
                         .note = "unseen images; 1 is the best of a column",
                         .content = HeatMap{.values = Tensor::from(losses, {4, 4}),
                                            .row_names = names,
                                            .column_names = names,
                                            .rows_name = "trained on",
                                            .columns_name = "measured in",
                                            .write_values = true}}}});
}

void part_f(const Session& session) {
  one(session, session.ten, "f", "all ten classes", {.name = "Adam"});
}

// Ten latent values, laid out by principal components and by t-SNE.
void part_g(const Session& session) {
  const Digits& digits = session.two;
  const Trained run = train_variant(session, digits, "g", {.name = "10-D", .model = {.latent_dim = 10}});
  report_quality(session.report, digits, run);
  const Tensor labels = digits.train["labels"];
  const Tensor by_pca = Pca::fit(run.latent, 2).transform(run.latent);
  const Tensor scaled = run.latent / std_dev(run.latent).item();
  ParametricTSNE tsne({.in_dim = 10,
                       .epochs = session.epochs(60),
                       .device = session.options.device,
                       .threads = session.options.threads,
                       .seed = session.options.seed,
                       .on_event = show(session.report)});
  tsne.train(scaled);
  const Tensor by_tsne = tsne.apply(scaled);
  const std::vector<Quality> qualities = timed_stage(session.report, "measuring quality", [&] {
    std::vector<Quality> both = {train_quality({run.latent, by_pca, labels}),
                                 train_quality({run.latent, by_tsne, labels})};
    both[0].group = "pca", both[1].group = "tsne";
    return both;
  });
  show_quality(session.report, qualities);
  draw_part(session, "g",
            {.title = "ten latent values",
             .panels = {latent_panel("by principal components", summary(qualities[0]), by_pca, digits),
                        latent_panel("by parametric t-SNE", summary(qualities[1]), by_tsne, digits),
                        reconstructions_panel({run}, digits), curves_panel(run)},
             .columns = 2});
}

struct Task {
  std::string name;
  Features features;
  std::vector<std::int64_t> hidden_dims = {128};
  double dropout = 0, learning_rate = 0.001;
  int epochs = 10;
};

// Trains a classifier of features that are computed once; gives its accuracy on unseen images.
double classify(const Session& session, const std::shared_ptr<const Autoencoder>& autoencoder,
                const Task& task) {
  const Digits& digits = session.two;
  std::printf("--- h %s\n", task.name.c_str());
  session.report.begin_run("h " + task.name);
  FeatureClassifier model = started(FeatureClassifier({.autoencoder = autoencoder,
                                                       .features = task.features,
                                                       .n_classes = 2,
                                                       .hidden_dims = task.hidden_dims,
                                                       .dropout = task.dropout}),
                                    session.options);
  const Tensor seen = model.shared(digits.train["main"]), unseen = model.shared(digits.unseen["main"]);
  DataLoader loader({{"main", seen}, {"labels", digits.train["labels"]}},
                    {.batch_size = 64, .shuffle = true, .seed = session.options.seed});
  const Curves curves =
      train(model, loader,
            {.name = "h " + task.name,
             .learning_rate = task.learning_rate,
             .epochs = session.epochs(task.epochs),
             .loss =
                 [&](const Dataset& batch) {
                   return cross_entropy(model.classify_shared(batch["main"]), batch["labels"]);
                 }},
            show(session.report));
  const NoGrad not_recorded;
  const double train_accuracy = accuracy(model.classify_shared(seen), digits.train["labels"]);
  const double unseen_accuracy = accuracy(model.classify_shared(unseen), digits.unseen["labels"]);
  report_curves(session.report, curves);
  session.report.metric("train", "accuracy", train_accuracy);
  session.report.metric("unseen", "accuracy", unseen_accuracy);
  session.report.parameters(model);
  std::printf("accuracy %.4f in training, %.4f unseen\n", train_accuracy, unseen_accuracy);
  return unseen_accuracy;
}

void part_h(const Session& session) {
  const Trained run = train_variant(session, session.two, "h", {.name = "autoencoder"});
  const std::vector<Task> tasks = {{.name = "raw", .features = Features::raw},
                                   {.name = "latent",
                                    .features = Features::latent,
                                    .hidden_dims = {},
                                    .learning_rate = 0.01,
                                    .epochs = 20},
                                   {.name = "reconstruction", .features = Features::reconstruction},
                                   {.name = "combined", .features = Features::all, .dropout = 0.3}};
  Bars bars{.names = {}, .values = {}, .axis = {.name = "accuracy on unseen images", .min = 0}};
  for (const Task& task : tasks) {
    bars.names.push_back(task.name);
    bars.values.push_back(classify(session, run.model, task));
  }
  draw_part(
      session, "h",
      {.title = "3 or 7?",
       .panels = {{.title = "classifiers", .note = "by what they see", .content = bars}, curves_panel(run)}});
}

// All images to reconstruct, and ten labels a class.
void part_i(const Session& session) {
  constexpr std::int64_t k_labels = 10;
  const Digits& digits = session.two;
  std::printf("--- i semi-supervised\n");
  session.report.begin_run("i semi-supervised");
  const std::uint64_t seed = session.options.seed;
  SemiSupervisedAutoencoder model =
      started(SemiSupervisedAutoencoder({.in_dim = digits.train["main"].size(1), .latent_dim = 8}, 2),
              session.options);
  DataLoader loader(digits.train, {.batch_size = 64, .shuffle = true, .seed = seed});
  DataLoader labelled(digits.train, {.batch_size = 64,
                                     .sampler = SubsetRandomSampler{
                                         balanced_items(digits.train["labels"], k_labels, seed), seed}});
  const auto unseen_accuracy = [&] {
    return accuracy(model.classify(digits.unseen["main"]), digits.unseen["labels"]);
  };
  constexpr double k_label_weight = 0.1;
  const auto loss = [&](const Dataset& batch) {
    const Dataset known = labelled.next();
    const Tensor &x = batch["main"], &known_x = known["main"];
    const Tensor z = model.encode(known_x);
    return bce_loss(model.decode(z), known_x) + bce_loss(model.reconstruct(x), x) +
           k_label_weight * cross_entropy(model.classify_shared(z), known["labels"]);
  };
  const Curves curves = train(
      model, loader,
      {.name = "i semi-supervised", .epochs = session.epochs(50), .loss = loss, .validate = unseen_accuracy},
      show(session.report));
  const NoGrad not_recorded;
  report_curves(session.report, curves);
  report_reconstruction(session.report, model, digits.unseen["main"]);
  session.report.metric("unseen", "accuracy", curves.validation.back());
  std::printf("accuracy %.4f unseen\n", curves.validation.back());
  session.report.parameters(model);
  const Tensor latent = model.encode(digits.train["main"]);
  draw_part(session, "i",
            {.title = "ten labels a class",
             .panels = {latent_panel("latent values", "by principal components",
                                     Pca::fit(latent, 2).transform(latent), digits),
                        {.title = "accuracy",
                         .note = text("unseen images; %.3f in the end", curves.validation.back()),
                         .content = Lines{.lines = {{.name = "accuracy", .y = curves.validation}},
                                          .x = {.name = "epoch"},
                                          .y = {.name = "accuracy"}}}}});
}

struct Part {
  char letter;
  void (*run)(const Session&);
};
constexpr Part k_parts[] = {{'a', part_a}, {'b', part_b}, {'c', part_c}, {'d', part_d}, {'e', part_e},
                            {'f', part_f}, {'g', part_g}, {'h', part_h}, {'i', part_i}};

// "a,c,h": letters, with commas between them.
std::vector<Part> parts_of(const Options& options) {
  if (options.own.contains("--all")) return {std::begin(k_parts), std::end(k_parts)};
  const auto given = options.own.find("--part");
  const std::string letters = given == options.own.end() ? "a" : given->second;
  std::vector<Part> parts;
  for (std::size_t i = 0; i <= letters.size(); i += 2) {
    const bool letter_then_comma = i < letters.size() && (i + 1 == letters.size() || letters[i + 1] == ',');
    const auto found =
        letter_then_comma ? std::ranges::find(k_parts, letters[i], &Part::letter) : std::end(k_parts);
    FLATLAND_CHECK(found != std::end(k_parts), "--part: '", letters,
                   "' is not allowed; give letters from a to i with commas between them, such as a,c,h");
    parts.push_back(*found);
    if (i + 1 == letters.size()) break;
  }
  return parts;
}

void autoencoder(const Options& options) {
  const std::vector<Part> parts = parts_of(options);
  kernels::Exec exec(Device::cpu, options.threads);
  const ExecScope scope(exec);
  Report report = report_of(k_program, options);
  const Session session = begin_session(report, options);
  for (const Part& part : parts) part.run(session);
  write_report(report, options);
}

}  // namespace

int main(int argc, char** argv) {
  return run(k_program, argc, argv, autoencoder);
}
