// A training loop of one's own, beside a routine's: an optimizer, a loader, and any loss of a batch.
#pragma once

#include <flatland/dr/event.h>
#include <flatland/dr/loader.h>
#include <flatland/dr/training.h>
#include <flatland/engine/module.h>

#include <functional>
#include <string>
#include <vector>

namespace flatland::examples {

struct Training {
  std::string name = {};  // in the log and in the report
  OptimizerRecipe optimizer = Adam{};
  double learning_rate = 0.001;
  int epochs = 20;
  std::function<Tensor(const Dataset& batch)> loss = {};
  std::function<double()> validate = {};  // after each epoch, not recorded; may be left out
};

struct Curves {
  std::vector<double> loss;        // the mean of the batches, an entry an epoch
  std::vector<double> validation;  // what `validate` gave
  double seconds_per_epoch = 0;    // the median, without validation
};

// Trains the module, which is in training mode meanwhile and out of it in `validate` and afterwards.
Curves train(Module& module, DataLoader& loader, const Training& training, const Listener& listener);

}  // namespace flatland::examples
