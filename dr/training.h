// Training phases.
#pragma once

#include <flatland/engine/optim.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace flatland {

using OptimizerRecipe = std::variant<Adam, SGD, AdamW, RMSprop>;

// standard: every item once an epoch, in a new order each epoch; the last batch may be short
// weighted: items drawn with replacement, with probability proportional to their weights
// whole: all items at once, in their order; a step an epoch. With the t-SNE loss that is the exact objective.
// negative_edge: edges drawn with replacement, with probability proportional to the relation edge_rel_key,
//   each with neg_sampling_rate items drawn uniformly and set against its source
enum class Sampling { standard, weighted, whole, negative_edge };

// The learning rate over a phase: constant, or falling from learning_rate to final_fraction of it along half
// a cosine over all steps.
struct LearningRateSchedule {
  enum class Kind { constant, cosine };
  Kind kind = Kind::constant;
  double final_fraction = 0;

  bool operator==(const LearningRateSchedule&) const = default;
};

// A field that is left at the value it has here takes the routine's training_defaults.
struct TrainingPhase {
  std::string name = "";         // "phase 1" and so on unless given
  int epochs = 5;                // 0: the phase does nothing
  std::int64_t batch_size = 50;  // items, or edges; more than N items: all
  // -1: N items, or max(batch_size, N / (neg_sampling_rate + 1)) edges. Else so many batches, at most N items
  // with standard sampling.
  std::int64_t batches_per_epoch = -1;
  Sampling sampling = Sampling::standard;
  std::string weight_key = "weights";  // weighted: the entry (N) with the weights, not negative
  std::string edge_rel_key = "rel";    // negative_edge: the global relations whose entries are the edges
  int neg_sampling_rate = 5;           // negative_edge: random items an edge
  std::vector<std::string> loss_keys = {"loss"};
  std::vector<double> loss_weights = {};  // 1 each unless given
  OptimizerRecipe optimizer = Adam{};
  double learning_rate = 0.01;
  LearningRateSchedule schedule = {};
  int report_interval = 5;  // Event::report is set for epochs 0, 5, 10, ... and the last
  // Deviation of normal noise that is added to what the model takes at each step, new each time, and to
  // nothing that its output is compared with. The map
  // becomes smoother, which helps points it has not seen; about the distance between near neighbours, divided
  // by the square root of the number of columns.
  double input_noise = 0;
};

// What happened in a phase, an entry an epoch.
struct PhaseHistory {
  std::string name;
  std::vector<double> loss;
  std::vector<std::pair<std::string, std::vector<double>>> components;  // weighted, by loss key
};

}  // namespace flatland
