// One training phase while it runs (private to this folder).
#pragma once

#include <flatland/dr/losses.h>
#include <flatland/dr/training.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace flatland {

// Sums of weighted loss values over an epoch, by name, in the order of first appearance.
struct EpochSums {
  double loss = 0;
  std::vector<std::pair<std::string, double>> components;
};

// Holds what a phase needs from epoch to epoch; epochs may be run at any time, one by one.
class PhaseRun {
 public:
  struct Inputs {
    Model& model;
    const Dataset& data;
    const RelationDataMap& global_relations;
    const RelationMap& batch_relations;
    const LossMap& losses;
    std::uint64_t seed = 0;
    std::uint64_t number = 0;  // of the phase; picks its random numbers
  };
  PhaseRun(const TrainingPhase& phase, Inputs inputs);

  EpochSums run_epoch(const RelationContext& context);
  int epochs_done() const { return epoch_; }
  bool done() const { return epoch_ >= phase_.epochs; }

 private:
  // One step on the items [begin, end) of the epoch's order.
  void step(std::int64_t begin, std::int64_t end, const RelationContext& context, EpochSums& sums);
  void add_input_noise(std::int64_t begin);
  double learning_rate() const;
  void add_components(EpochSums& sums) const;

  void begin_epoch();

  TrainingPhase phase_;
  Inputs inputs_;
  CompoundLoss loss_;
  std::unique_ptr<Optimizer> optimizer_;
  Batch batch_;
  Tensor order_;  // int64 (N): items in the order of this epoch
  std::int64_t batch_size_ = 0;
  std::int64_t batches_ = 0;  // an epoch
  int epoch_ = 0;
  std::int64_t step_ = 0;
  std::vector<std::pair<std::string, Tensor>> components_;  // of the last step
};

}  // namespace flatland
