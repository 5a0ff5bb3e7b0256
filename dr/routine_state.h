// What a routine holds (private to this folder).
#pragma once

#include <flatland/dr/listed.h>
#include <flatland/dr/parametric_dr.h>
#include <flatland/dr/phase_run.h>
#include <flatland/engine/pool.h>
#include <flatland/kernels/parallel.h>

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace flatland {

namespace detail {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// The floating type of a model's parameters.
Dtype floating_type(const Model& model);

}  // namespace detail

struct ParametricDR::State {
  explicit State(Options given) : options(std::move(given)), exec(Device::cpu, options.threads) {
    if (options.device == Device::cuda) gpu.emplace(Device::cuda);
    context.warn = [this](const std::string& text) { emit({.kind = Event::Kind::warning, .text = text}); };
  }

  Options options;
  kernels::Exec exec;  // of the host, which does what is left to it with a GPU too
  std::optional<kernels::Exec> gpu;
  Dataset data;
  Dataset given;  // as it was given, to recognise it again
  RelationDataMap global_relations;
  std::set<std::string, std::less<>> kept_relations;  // given by the user: not computed
  std::vector<TrainingPhase> phases;
  std::vector<PhaseHistory> history;
  std::optional<PhaseRun> run;  // of the phase that is running
  std::size_t phase = 0;        // the number of phases that are done
  double phase_seconds = 0;
  bool prepared = false;
  bool trained = false;
  bool stop = false;
  RelationContext context;

  // Runs work on the routine's own execs.
  template <class F>
  void run_on_own(F&& work) {
    const ExecScope host(exec);
    if (!gpu) return kernels::with_team(exec, work);
    const ExecScope on_gpu(*gpu);
    work();
  }

  void emit(const Event& event) {
    if (options.on_event && !options.on_event(event)) stop = true;
  }
  template <class F>
  void stage(const std::string& text, F&& f) {
    emit({.kind = Event::Kind::stage_started, .text = text});
    const detail::Stopwatch watch;
    f();
    release_cached_memory();  // what a stage leaves unused is much, and the next one needs other sizes
    emit({.kind = Event::Kind::stage_finished, .text = text, .seconds = watch.seconds()});
  }

  void set_data(const Dataset& dataset);
  void check_input() const;
  void check_noise(const TrainingPhase& p) const;
  void compute_derived(bool from_relations);
  void compute_relations();
  RelationData compute_relation(const Relation& relation);
  RelationData placed(const RelationData& relations) const;  // where and as batches look blocks of them up
  void check_phase(const TrainingPhase& phase) const;
  void check_sampling(const TrainingPhase& phase) const;
  void check_keys(const Dataset& dataset) const;
  void check_relation_keys(const Dataset& dataset) const;
  void check_entry(std::string_view who, const std::string& key, const Dataset& dataset) const;
  void check_loss_keys(const Loss& loss, const Dataset& dataset, bool edges) const;
  void begin_phase();
  void run_one_epoch();
  bool run_epochs(int at_most);  // as ParametricDR::run_epochs
  void record_epoch(const EpochSums& sums, double seconds);
};

}  // namespace flatland
