// One training phase while it runs (private to this folder).
#pragma once

#include <flatland/dr/edge_sampler.h>
#include <flatland/dr/losses.h>
#include <flatland/dr/streams.h>
#include <flatland/dr/training.h>
#include <flatland/engine/pool.h>
#include <flatland/kernels/graph.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace flatland {

// Sums of weighted loss values over an epoch, by name, in the order of first appearance.
struct EpochSums {
  double loss = 0;
  std::vector<std::pair<std::string, double>> components;
};

// Holds what a phase needs from epoch to epoch; epochs may be run at any time, one by one.
//
// On a GPU an epoch is queued without waiting for it, and its loss values are read at its end. The first
// epoch runs step by step; where nothing is decided on the host and the steps are not too many, the second is
// recorded, and from then on an epoch is one replay.
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
    Device device = Device::cpu;
    std::int64_t most_recorded_steps = 4096;  // each takes some 20 KB of the host's memory, and a GPU's
  };
  PhaseRun(const TrainingPhase& phase, Inputs inputs);

  EpochSums run_epoch(const RelationContext& context);
  // The data or the relations are others now: what was drawn from them or recorded is forgotten.
  void data_changed();
  int epochs_done() const { return epoch_; }
  bool done() const { return epoch_ >= phase_.epochs; }
  // Of a recorded epoch; 0 where none was recorded.
  int recorded_kernels() const { return recording_ ? recording_->graph.kernels() : 0; }

 private:
  // What a step leaves: values on the model's device.
  struct StepLosses {
    Tensor loss;
    std::vector<std::pair<std::string, Tensor>> components;
  };
  // The recorded steps of an epoch, and the memory they use.
  struct Recording {
    explicit Recording(Device device) : memory(device) {}
    detail::GraphMemory memory;
    std::vector<Tensor> kept;
    std::vector<const void*> parameters;  // where they were
    std::vector<StepLosses> steps;
    Tensor losses;  // all values of the steps in a row
    kernels::Graph graph;
  };

  void prepare_sampling();
  void begin_epoch();
  kernels::RandomStream stream(StreamDomain domain) const;  // of this epoch
  void order_items();
  EpochSums run_steps(const RelationContext& context);
  std::vector<StepLosses> all_steps(const RelationContext& context);
  void record_steps(const RelationContext& context);
  std::int64_t first_of(std::int64_t b) const { return b * batch_size_; }
  std::int64_t size_of(std::int64_t b) const { return std::min(batch_size_, epoch_size_ - first_of(b)); }
  // Memory for what the b-th batch draws, items or the ends of edges; and its draws.
  Tensor empty_draws(std::int64_t b) const;
  void draw(std::int64_t b, Tensor& drawn) const;
  void select_batch(std::int64_t b);
  // The b-th step of the epoch.
  void step(std::int64_t b, const RelationContext& context, StepLosses& values);
  Tensor with_noise(std::int64_t b) const;     // what the model takes in it
  double learning_rate(std::int64_t b) const;  // of it
  static Tensor in_a_row(const std::vector<StepLosses>& steps);
  // value(tensor) reads one.
  template <class Value>
  static void add(EpochSums& sums, const StepLosses& step, Value value);
  static EpochSums sums_of(const std::vector<StepLosses>& steps, const Tensor& in_a_row);
  void check_labels(const Loss& loss) const;

  TrainingPhase phase_;
  Inputs inputs_;
  Device device_;
  std::optional<kernels::Exec>
      gpu_;  // the steps' own, so that its scratch memory stays where a recording uses it
  CompoundLoss loss_;
  std::vector<Tensor> parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  Batch batch_;
  std::optional<EdgeSampler> edges_;
  AliasTable weights_;
  // What this epoch draws, a batch each: a recorded epoch reads it from here. Else each step draws its own.
  std::vector<Tensor> drawn_;
  Tensor order_;  // int64: items in the order of this epoch
  Tensor rates_;  // float64 (batches), on a GPU: the learning rates of this epoch's steps
  std::int64_t batch_size_ = 0;
  std::int64_t epoch_size_ = 0;  // items or edges an epoch
  std::int64_t batches_ = 0;     // an epoch
  int epoch_ = 0;
  bool recordable_ = false;
  bool warm_ = false;  // an epoch has run step by step on this data, so that what steps keep is there
  std::unique_ptr<Recording> recording_;
};

}  // namespace flatland
