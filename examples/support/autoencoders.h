// What the parts of the example `autoencoder` share: digits, trained autoencoders, pictures of them.
#pragma once

#include "examples/support/options.h"
#include "examples/support/training.h"

#include <flatland/dr/plot.h>
#include <flatland/dr/report.h>
#include <flatland/engine/ops.h>
#include <flatland/models/autoencoder.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace flatland::examples {

struct Digits {
  Dataset train, unseen;             // "main": images; "labels": positions in `classes`
  std::vector<std::string> classes;  // "3", "7"
};
// Those of some digits only.
Digits only(const Digits& all, const std::vector<std::int64_t>& digits);

// What all parts are given.
struct Session {
  Report& report;
  const Options& options;
  Digits two, ten;  // 3 and 7; all

  int epochs(int n) const { return options.quick ? 2 : n; }
};
Session begin_session(Report& report, const Options& options);

using PairLoss = std::function<Tensor(const Tensor& prediction, const Tensor& target)>;

// An autoencoder to be trained: a run of the report.
struct Variant {
  std::string name = {};
  Autoencoder::Options model = {};
  OptimizerRecipe optimizer = Adam{};
  double learning_rate = 0.001;
  int epochs = 20;
  PairLoss loss = mse_loss;
};
// Mean losses of reconstructions.
struct Reconstruction {
  double mse = 0, bce = 0, l1 = 0, smooth_l1 = 0;
};
struct Trained {
  std::string name;
  std::shared_ptr<Autoencoder> model;
  Curves curves;  // the variant's own loss in training, and the MSE of unseen images
  Reconstruction unseen;
  Tensor latent, unseen_latent;
};

// Begins a run "<part> <name>", trains, and reports losses and seconds an epoch. Of a variant's model the
// number of columns is filled in.
Trained train_variant(const Session& session, const Digits& digits, const std::string& part,
                      const Variant& variant);
// The last epoch's loss and the seconds an epoch, in the report and on the screen.
void report_curves(Report& report, const Curves& curves);
// Of images that training did not see, in the report, and the MSE on the screen.
Reconstruction report_reconstruction(Report& report, const Autoencoder& model, const Tensor& images);
// The MSE of unseen images when each is reconstructed as the mean of the training images.
double mse_of_mean_image(const Digits& digits);

// Neighbours among the images against neighbours among latent values, of at most 5,000 images; gives a
// summary of those that it was trained on, which latent_panel draws.
std::string report_quality(Report& report, const Digits& digits, const Trained& trained);

// --- panels ---
// The MSE of one run, in training and of unseen images.
Panel curves_panel(const Trained& run);
// A line a run: its loss in training; the MSE of unseen images.
Panel training_panel(const std::vector<Trained>& runs);
Panel unseen_panel(const std::vector<Trained>& runs);
// Rows of unseen images, and below each one row a run of what it makes of them.
Panel reconstructions_panel(const std::vector<Trained>& runs, const Digits& digits);
Panel latent_panel(const std::string& title, const std::string& note, const Tensor& points,
                   const Digits& digits);
// Images of a grid of latent points that covers those of the training images but for the outermost.
Panel decoded_grid_panel(const Trained& run);

}  // namespace flatland::examples
