#include "examples/support/autoencoders.h"

#include "examples/support/console.h"
#include "examples/support/mnist.h"
#include "examples/support/quality.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace flatland::examples {
namespace {

constexpr std::int64_t k_batch = 64;

Dataset of_part(const Options& options, MnistPart part) {
  const LabelledImages mnist = read_mnist(options.data, part);
  return Dataset{{"main", mnist.images}, {"labels", mnist.labels}};
}

Dataset with_labels_in(const Dataset& data, const std::vector<std::int64_t>& digits) {
  const std::vector<std::int64_t> labels = data["labels"].to_vector<std::int64_t>();
  std::vector<std::int64_t> items, positions;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto found = std::ranges::find(digits, labels[i]);
    if (found == digits.end()) continue;
    items.push_back(static_cast<std::int64_t>(i));
    positions.push_back(found - digits.begin());
  }
  Dataset chosen = data.rows(Tensor::from(items).to(data["main"].device()));
  chosen.set("labels", Tensor::from(positions).to(data["main"].device()));
  return chosen;
}

}  // namespace

Digits only(const Digits& all, const std::vector<std::int64_t>& digits) {
  Digits chosen{with_labels_in(all.train, digits), with_labels_in(all.unseen, digits), {}};
  for (const std::int64_t digit : digits) chosen.classes.push_back(std::to_string(digit));
  return chosen;
}

Session begin_session(Report& report, const Options& options) {
  const Digits all = timed_stage(report, "reading " + options.data.string(), [&] {
    Digits digits{of_part(options, MnistPart::train), of_part(options, MnistPart::test), {}};
    constexpr std::int64_t k_quick_train = 1000, k_quick_unseen = 400;
    if (options.quick) {
      digits.train = digits.train.first(k_quick_train);
      digits.unseen = digits.unseen.first(k_quick_unseen);
    }
    digits.train = digits.train.to(options.device);
    digits.unseen = digits.unseen.to(options.device);
    return digits;
  });
  return {report, options, only(all, {3, 7}), only(all, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9})};
}

void report_curves(Report& report, const Curves& curves) {
  report.metric("train", "loss", curves.loss.back());
  report.metric("train", "seconds_per_epoch", curves.seconds_per_epoch);
  std::printf("loss %.5f in training, %.4f s an epoch\n", curves.loss.back(), curves.seconds_per_epoch);
  std::fflush(stdout);
}

Reconstruction report_reconstruction(Report& report, const Autoencoder& model, const Tensor& images) {
  const NoGrad not_recorded;
  const Tensor made = model.reconstruct(images);
  const Reconstruction losses{.mse = mse_loss(made, images).item(),
                              .bce = bce_loss(made, images).item(),
                              .l1 = l1_loss(made, images).item(),
                              .smooth_l1 = smooth_l1_loss(made, images).item()};
  std::printf("MSE %.5f unseen\n", losses.mse);
  report.metric("unseen", "mse", losses.mse);
  report.metric("unseen", "bce", losses.bce);
  report.metric("unseen", "l1", losses.l1);
  report.metric("unseen", "smooth_l1", losses.smooth_l1);
  return losses;
}

double mse_of_mean_image(const Digits& digits) {
  const NoGrad not_recorded;
  return mean(square(digits.unseen["main"] - mean(digits.train["main"], 0))).item();
}

Trained train_variant(const Session& session, const Digits& digits, const std::string& part,
                      const Variant& variant) {
  const std::string name = part + " " + variant.name;
  std::printf("--- %s\n", name.c_str());
  session.report.begin_run(name);
  const Tensor train_images = digits.train["main"], unseen_images = digits.unseen["main"];
  Autoencoder::Options options = variant.model;
  options.in_dim = train_images.size(1);
  const auto model = std::make_shared<Autoencoder>(started(Autoencoder(options), session.options));

  DataLoader loader(digits.train, {.batch_size = k_batch, .shuffle = true, .seed = session.options.seed});
  const auto loss_of = [&](const auto& loss, const Tensor& x) { return loss(model->reconstruct(x), x); };
  const Curves curves = train(*model, loader,
                              {.name = name,
                               .optimizer = variant.optimizer,
                               .learning_rate = variant.learning_rate,
                               .epochs = session.epochs(variant.epochs),
                               .loss = [&](const Dataset& b) { return loss_of(variant.loss, b["main"]); },
                               .validate = [&] { return loss_of(mse_loss, unseen_images).item(); }},
                              show(session.report));
  const NoGrad not_recorded;
  report_curves(session.report, curves);
  session.report.parameters(*model);
  return {.name = variant.name,
          .model = model,
          .curves = curves,
          .unseen = report_reconstruction(session.report, *model, unseen_images),
          .latent = model->encode(train_images),
          .unseen_latent = model->encode(unseen_images)};
}

std::string report_quality(Report& report, const Digits& digits, const Trained& trained) {
  static constexpr std::int64_t k_items = 5000;
  const auto points = [](const Dataset& data, const Tensor& latent) {
    const std::int64_t n = std::min(k_items, data.size());
    const Dataset part = data.first(n);
    return LabelledPoints{part["main"], slice_rows(latent, 0, n), part["labels"]};
  };
  return summary(
      measured(report, points(digits.train, trained.latent), points(digits.unseen, trained.unseen_latent))
          .front());
}

namespace {

Panel panel_of(std::string title, std::string note, std::string loss, std::vector<Line> lines) {
  return {
      .title = std::move(title),
      .note = std::move(note),
      .content = Lines{
          .lines = std::move(lines), .x = {.name = "epoch"}, .y = {.name = std::move(loss), .log = true}}};
}

}  // namespace

Panel curves_panel(const Trained& run) {
  return panel_of(
      "loss", "mean of an epoch's batches, and unseen images after it", "MSE",
      {{.name = "training", .y = run.curves.loss}, {.name = "unseen", .y = run.curves.validation}});
}

Panel training_panel(const std::vector<Trained>& runs) {
  std::vector<Line> lines;
  for (const Trained& run : runs) lines.push_back({.name = run.name, .y = run.curves.loss});
  return panel_of("loss in training", "mean of an epoch's batches", "MSE", std::move(lines));
}

Panel unseen_panel(const std::vector<Trained>& runs) {
  std::vector<Line> lines;
  for (const Trained& run : runs) lines.push_back({.name = run.name, .y = run.curves.validation});
  return panel_of("loss of unseen images", "after each epoch", "MSE", std::move(lines));
}

Panel reconstructions_panel(const std::vector<Trained>& runs, const Digits& digits) {
  constexpr std::int64_t k_columns = 12, k_rows = 12;  // a square, about
  const NoGrad not_recorded;
  const std::int64_t bands = k_rows / (std::ssize(runs) + 1);
  std::vector<Tensor> rows;
  for (std::int64_t band = 0; band < bands; ++band) {
    rows.push_back(slice_rows(digits.unseen["main"], band * k_columns, (band + 1) * k_columns));
    const Tensor originals = rows.back();
    for (const Trained& run : runs) rows.push_back(run.model->reconstruct(originals));
  }
  std::string names = "unseen";
  for (const Trained& run : runs) names += ", " + run.name;
  return {.title = "reconstructions",
          .note = "rows: " + names,
          .content = Images{.pixels = concat(rows), .height = 28, .width = 28, .columns = k_columns}};
}

Panel latent_panel(const std::string& title, const std::string& note, const Tensor& points,
                   const Digits& digits) {
  return {.title = title,
          .note = note,
          .content = Scatter{.points = points, .labels = digits.train["labels"], .classes = digits.classes}};
}

Panel decoded_grid_panel(const Trained& run) {
  constexpr std::int64_t k_side = 16;
  constexpr double k_left_out = 0.02;  // of the points, on each side
  std::vector<double> low, high;
  for (std::int64_t j = 0; j < 2; ++j) {
    std::vector<double> values = column(run.latent, j).to_vector<double>();
    std::ranges::sort(values);
    low.push_back(quantile(values, k_left_out)), high.push_back(quantile(values, 1 - k_left_out));
  }
  std::vector<float> points;
  for (std::int64_t i = 0; i < k_side * k_side; ++i) {
    const double right = static_cast<double>(i % k_side) / (k_side - 1),
                 up = 1 - static_cast<double>(i / k_side) / (k_side - 1);
    points.push_back(static_cast<float>(low[0] + right * (high[0] - low[0])));
    points.push_back(static_cast<float>(low[1] + up * (high[1] - low[1])));
  }
  const NoGrad not_recorded;
  const Tensor grid = Tensor::from(points, {k_side * k_side, 2}).to(run.latent.device());
  return {.title = "decoded latent points",
          .note = "a grid over the map beside it",
          .content = Images{.pixels = run.model->decode(grid), .height = 28, .width = 28, .columns = k_side}};
}

}  // namespace flatland::examples
