// The routine: data in, relations, phases, a trained embedder out.
#pragma once

#include <flatland/dr/dataset.h>
#include <flatland/dr/event.h>
#include <flatland/dr/losses.h>
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
  std::function<Tensor(const Dataset&)> from_data;  // runs before the global relations
  std::function<Tensor(const Dataset&, const RelationDataMap&)> from_relations;  // runs after them
};
DerivedData pca_of(std::string key = "main", std::int64_t dims = 2);

// Calls of one role of the model, in batches.
struct ApplyOptions {
  std::string method = "embed";  // embed, encode, decode, classify
  std::string key = "main";
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
    Device device = best_device();
    int threads = 0;          // 0: all
    std::uint64_t seed = 42;  // initial weights, order of batches
    Listener on_event = {};
    TrainingPhase training_defaults = {};
  };
  explicit ParametricDR(Options options);
  ~ParametricDR();
  ParametricDR(ParametricDR&&) noexcept;
  ParametricDR& operator=(ParametricDR&&) noexcept;

  // Phases run in the order they are added. Error: unknown loss keys, sizes below 1, weights of another
  // number.
  void add_training_phase(TrainingPhase phase);

  // Validates the data, computes derived data and global relations (unless given), and runs all phases that
  // have not run yet; a listener's stop ends the running phase after the epoch, and train(data) goes on where
  // it ended.
  void train(const Dataset& data);
  // The parts of train, for those who want them one by one.
  void prepare(const Dataset& data);
  bool run_epochs(int at_most);  // false when all phases are done

  // The trained model on any data; const, needs no training data, works on a single row. A row alone gives
  // the bits that it gives inside a batch. Errors: before training, another number of columns, NaN.
  Tensor apply(const Tensor& x, const ApplyOptions& options = {}) const;
  Tensor apply(const Dataset& data, const ApplyOptions& options = {}) const;

  Model& model() const;
  const RelationDataMap& global_relation_data() const;
  // Relations of another routine over the same data; prepare does not compute them again.
  void set_global_relation_data(RelationDataMap relations);
  const Dataset& dataset() const;  // with derived data
  const std::vector<PhaseHistory>& history() const;
  bool trained() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace flatland
