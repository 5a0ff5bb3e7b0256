// The routine: data in, relations, phases, a trained embedder out.
#pragma once

#include <flatland/dr/dataset.h>
#include <flatland/dr/event.h>
#include <flatland/dr/losses.h>
#include <flatland/dr/spectral.h>
#include <flatland/dr/training.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace flatland {

// An entry of the data set that is computed before training, from other entries or from global relations.
struct DerivedData {
  std::function<Tensor(const Dataset&)> from_data = {};  // runs before the global relations
  // Runs after them; the context takes warnings.
  std::function<Tensor(const Dataset&, const RelationDataMap&, const RelationContext&)> from_relations = {};
};
// Coordinates along the first principal components of an entry.
DerivedData pca_of(std::string key = "main", std::int64_t dims = 2);
// Spectral coordinates of global relations (spectral.h), each component of deviation 1; where they cannot be
// found, PCA's coordinates of fallback_key likewise, with a warning; coordinates beyond its columns are 0.
DerivedData spectral_of(std::string relation_key = "rel", std::int64_t dims = 2,
                        std::string fallback_key = "main", const SpectralOptions& options = {});

// Calls of one role of the model, in batches.
struct ApplyOptions {
  std::string method = "embed";  // embed, encode, decode, classify
  std::string key = "";          // of a data set; empty: what the model takes
  std::int64_t batch_size = 4096;
};

class ParametricDR {
 public:
  struct Options {
    ModelHandle model = {};
    RelationMap global_relations = {};
    RelationMap batch_relations = {};
    std::vector<std::pair<std::string, DerivedData>> derived_data = {};
    LossMap losses = {};
    Device device = Device::cpu;  // best_device() takes a GPU where there is one
    int threads = 0;              // 0: all
    std::uint64_t seed = 42;      // initial weights, order of batches
    bool initialize = true;       // false: the model keeps the weights it comes with
    Listener on_event = {};
    TrainingPhase training_defaults = {};
    std::vector<TrainingPhase> training_phases = {};
  };
  // Draws the model's weights. Errors: no model, the same key twice.
  explicit ParametricDR(Options options);
  ~ParametricDR();
  ParametricDR(ParametricDR&&) noexcept;
  ParametricDR& operator=(ParametricDR&&) noexcept;

  // Phases run in the order they are added, those of the options first. Errors: no or unknown loss keys,
  // another number of weights, sizes below 1, negative epochs or learning rates, losses over sampled edges in
  // a phase that samples others or none.
  void add_training_phase(TrainingPhase phase);
  // For phases that are added from here on. What is left open keeps its default.
  void set_training_defaults(TrainingPhase defaults);

  // Prepares on the first call, and runs all phases that have not run yet. A listener's stop ends the call
  // after the epoch, or before the first, and train with the same data goes on where it ended, with the bits
  // of one run.
  // Errors: no phase; other data than before (prepare takes it); keys that nothing provides; a loss that is
  // not finite.
  void train(const Dataset& data);
  // The parts of train, for those who want them one by one. prepare moves the data to the device in the
  // model's floating type, and computes derived data and those global relations that were not given; phases
  // go on where they were.
  void prepare(const Dataset& data);
  bool run_epochs(int at_most);  // false when all phases are done. Error: not prepared.

  // The trained model on any data; const, needs no training data, works on a single row (a vector counts as
  // one) and from several threads at once. A row alone gives the bits that it gives inside a batch.
  // Errors: before training, unknown method, another number of columns, NaN or infinite values.
  Tensor apply(const Tensor& x, const ApplyOptions& options = {}) const;
  Tensor apply(const Dataset& data, const ApplyOptions& options = {}) const;  // of entry options.key

  Model& model() const;
  const RelationDataMap& global_relation_data() const;  // on the device; on a GPU triangular ones are square
  // Relations of another routine over the same data; prepare does not compute them again, and checks their
  // number of items. Error: keys that are not in global_relations.
  void set_global_relation_data(RelationDataMap relations);
  const Dataset& dataset() const;  // with derived data
  const std::vector<PhaseHistory>& history() const;
  const std::vector<TrainingPhase>& training_phases() const;
  bool trained() const;  // at least one epoch has run, or all phases are done

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace flatland
