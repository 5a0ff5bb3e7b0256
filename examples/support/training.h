// A training loop of one's own, beside a routine's: an optimizer, a loader, and any loss of a batch.
#pragma once

#include "examples/support/options.h"

#include <flatland/dr/event.h>
#include <flatland/dr/loader.h>
#include <flatland/dr/training.h>
#include <flatland/engine/module.h>
#include <flatland/engine/optim.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace flatland::examples {

// A model that starts from the seed, on the device of the options.
template <class M>
M started(M model, const Options& options) {
  model.initialize(options.seed);
  model.to(options.device);
  return model;
}

struct Training {
  std::string name = {};  // in the log and in the report
  OptimizerRecipe optimizer = Adam{};
  double learning_rate = 0.001;
  std::vector<ParameterGroup> groups = {};  // in place of all parameters of the module, alike
  int epochs = 20;
  int report_interval = 5;  // epochs
  std::function<Tensor(const Dataset& batch)> loss = {};
  std::function<double()> validate = {};  // after each epoch, not recorded; may be left out
};

struct Curves {
  std::vector<double> loss;        // the mean of the batches, an entry an epoch
  std::vector<double> validation;  // what `validate` gave
  double seconds_per_epoch = 0;    // the median, without validation
};

// Trains the module, which is in training mode meanwhile and out of it in `validate` and afterwards. The
// events of its epochs have the losses of Curves.
Curves train(Module& module, DataLoader& loader, const Training& training, const Listener& listener);

// Of values in rising order the one that `share` of them lie below, between two of them by their distance.
double quantile(const std::vector<double>& sorted, double share);

}  // namespace flatland::examples
