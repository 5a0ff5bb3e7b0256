#include <flatland/dr/parametric_dr.h>
#include <flatland/dr/pca.h>
#include <flatland/dr/phase_run.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <set>

namespace flatland {

namespace {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

template <class Entries>
void check_distinct(const char* what, const Entries& entries) {
  std::set<std::string_view> keys;
  for (const auto& entry : entries) {
    FLATLAND_CHECK(keys.insert(entry.first).second, "ParametricDR: ", what, " has the key '", entry.first,
                   "' twice");
  }
}

std::string listed(const std::vector<std::string>& keys) {
  std::string names;
  for (const std::string& key : keys) names += (names.empty() ? "'" : ", '") + key + "'";
  return names.empty() ? "none" : names;
}
template <class Value>
std::string listed(const std::vector<std::pair<std::string, Value>>& entries) {
  std::vector<std::string> keys;
  for (const auto& entry : entries) keys.push_back(entry.first);
  return listed(keys);
}

Dtype floating_type(const Model& model) {
  const std::vector<NamedTensor> parameters = model.parameters();
  return parameters.empty() ? Dtype::float32 : parameters.front().tensor.dtype();
}

bool same_values(const Tensor& a, const Tensor& b) {
  if (a.impl() == b.impl()) return true;
  if (!(a.shape() == b.shape()) || a.dtype() != b.dtype()) return false;
  const Tensor x = a.to(Device::cpu), y = b.to(Device::cpu);
  const auto compare = [&](auto zero) {
    using T = decltype(zero);
    return x.numel() == 0 || std::memcmp(x.data<T>(), y.data<T>(), checked_bytes(x.numel(), sizeof(T))) == 0;
  };
  switch (a.dtype()) {
    case Dtype::float32:
      return compare(float{});
    case Dtype::float64:
      return compare(double{});
    case Dtype::int32:
      return compare(std::int32_t{});
    case Dtype::int64:
      return compare(std::int64_t{});
  }
  return false;
}

}  // namespace

DerivedData pca_of(std::string key, std::int64_t dims) {
  return {.from_data = [key = std::move(key),
                        dims](const Dataset& data) { return Pca::fit(data[key], dims).transform(data[key]); },
          .from_relations = {}};
}

struct ParametricDR::State {
  explicit State(Options given) : options(std::move(given)), exec(options.device, options.threads) {
    context.warn = [this](const std::string& text) { emit({.kind = Event::Kind::warning, .text = text}); };
  }

  Options options;
  kernels::Exec exec;
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

  void emit(const Event& event) {
    if (options.on_event && !options.on_event(event)) stop = true;
  }
  template <class F>
  void stage(const std::string& text, F&& f) {
    emit({.kind = Event::Kind::stage_started, .text = text});
    const Stopwatch watch;
    f();
    emit({.kind = Event::Kind::stage_finished, .text = text, .seconds = watch.seconds()});
  }

  void set_data(const Dataset& dataset);
  void compute_derived(bool from_relations);
  void compute_relations();
  RelationData compute_relation(const Relation& relation);
  void check_phase(const TrainingPhase& phase) const;
  void check_keys(const Dataset& dataset) const;
  void check_loss_keys(const Loss& loss, const Dataset& dataset) const;
  void begin_phase();
  void run_one_epoch();
  void record_epoch(const EpochSums& sums, double seconds);
};

// --- preparing ---

void ParametricDR::State::set_data(const Dataset& dataset) {
  FLATLAND_CHECK(!dataset.empty(), "train: the data set is empty; give it at least one item");
  const Dtype dtype = floating_type(*options.model);
  data = dataset.to(dtype).to(options.device);
  for (const std::string& key : data.keys()) {
    if (dataset[key].dtype() == dtype || !dataset[key].is_floating()) continue;
    check_finite(std::string("train: entry '") + key + "' as " + std::string(name(dtype)), data[key]);
  }
  const std::int64_t columns = options.model->in_dim();
  if (columns < 0 || !data.contains("main")) return;
  const Tensor& main = data["main"];
  FLATLAND_CHECK(main.rank() == 2 && main.size(1) == columns, "train: the data 'main' is ", main.shape(),
                 " but the model takes ", columns, " columns; set its in_dim to the number of columns");
}

// Finds out early, before the expensive relations, what a loss would miss in its first step.
void ParametricDR::State::check_loss_keys(const Loss& loss, const Dataset& dataset) const {
  const auto check_entry = [&](const char* who, const std::string& key) {
    const auto& derived = options.derived_data;
    const bool known = dataset.contains(key) ||
                       std::ranges::any_of(derived, [&](const auto& entry) { return entry.first == key; });
    FLATLAND_CHECK(known, "train: ", who, " needs the data entry '", key,
                   "', which is neither in the data set nor derived; the data set has ",
                   listed(dataset.keys()));
  };
  if (const auto* l = loss.target<PositionLoss>()) check_entry("PositionLoss", l->position_key);
  if (const auto* l = loss.target<ClassificationLoss>()) check_entry("ClassificationLoss", l->label_key);
  if (const auto* l = loss.target<CompoundLoss>()) {
    for (const auto& part : l->losses) check_loss_keys(part.second, dataset);
  }
  if (const auto* l = loss.target<RelationLoss>()) {
    FLATLAND_CHECK(options.global_relations.find(l->global_key) != nullptr,
                   "train: RelationLoss needs global relations '", l->global_key, "'; the routine has ",
                   listed(options.global_relations.entries()));
    FLATLAND_CHECK(options.batch_relations.find(l->batch_key) != nullptr,
                   "train: RelationLoss needs batch relations '", l->batch_key, "'; the routine has ",
                   listed(options.batch_relations.entries()));
  }
}

void ParametricDR::State::check_keys(const Dataset& dataset) const {
  for (const TrainingPhase& p : phases) {
    for (const std::string& key : p.loss_keys) check_loss_keys(*options.losses.find(key), dataset);
  }
}

void ParametricDR::State::compute_derived(bool from_relations) {
  for (const auto& [key, derived] : options.derived_data) {
    FLATLAND_CHECK((derived.from_data != nullptr) != (derived.from_relations != nullptr),
                   "ParametricDR: derived data '", key, "' needs one function, from_data or from_relations");
    if ((derived.from_relations != nullptr) != from_relations) continue;
    const NoGrad no_grad;
    stage("computing derived data '" + key + "'", [&] {
      data.set(key,
               from_relations ? derived.from_relations(data, global_relations) : derived.from_data(data));
    });
  }
}

// Runs a relation; its own stages end where the next one begins.
RelationData ParametricDR::State::compute_relation(const Relation& relation) {
  std::string inner;
  Stopwatch watch;
  const auto finish = [&] {
    if (!inner.empty())
      emit({.kind = Event::Kind::stage_finished, .text = inner, .seconds = watch.seconds()});
  };
  RelationContext stages;
  stages.warn = context.warn;
  stages.stage = [&](const std::string& text) {
    finish();
    inner = text;
    watch = Stopwatch();
    emit({.kind = Event::Kind::stage_started, .text = text});
  };
  RelationData computed = relation(data["main"], stages);
  finish();
  return computed;
}

void ParametricDR::State::compute_relations() {
  RelationDataMap all;
  for (const auto& [key, relation] : options.global_relations.entries()) {
    const auto given = std::ranges::find(global_relations, key, &RelationDataMap::value_type::first);
    if (kept_relations.contains(key) && given != global_relations.end()) {
      FLATLAND_CHECK(given->second.items() == data.size(), "train: the given global relations '", key,
                     "' are of ", given->second.items(), " items but the data has ", data.size(),
                     "; they must come from the same data");
      all.push_back(*given);
      continue;
    }
    const NoGrad no_grad;
    stage("computing global relations '" + key + "'",
          [&] { all.emplace_back(key, compute_relation(relation).to(options.device)); });
  }
  global_relations = std::move(all);
}

// --- training ---

void ParametricDR::State::check_phase(const TrainingPhase& p) const {
  const auto who = "training phase '" + p.name + "': ";
  FLATLAND_CHECK(!p.loss_keys.empty(), who, "no loss_keys; name at least one loss");
  for (const std::string& key : p.loss_keys) {
    FLATLAND_CHECK(options.losses.find(key) != nullptr, who, "no loss '", key, "'; the routine has ",
                   listed(options.losses.entries()));
  }
  FLATLAND_CHECK(p.loss_weights.empty() || p.loss_weights.size() == p.loss_keys.size(), who,
                 p.loss_keys.size(), " losses but ", p.loss_weights.size(),
                 " weights; give one each, or none");
  for (const double w : p.loss_weights) FLATLAND_CHECK(std::isfinite(w), who, "a loss weight is ", w);
  FLATLAND_CHECK(p.epochs >= 0, who, "epochs is ", p.epochs, "; it must be 0 or more");
  FLATLAND_CHECK(p.batch_size >= 1, who, "batch_size is ", p.batch_size, "; it must be 1 or more");
  FLATLAND_CHECK(p.batches_per_epoch == -1 || p.batches_per_epoch >= 1, who, "batches_per_epoch is ",
                 p.batches_per_epoch, "; it must be 1 or more, or -1 for all items once");
  FLATLAND_CHECK(std::isfinite(p.learning_rate) && p.learning_rate >= 0, who, "learning_rate is ",
                 p.learning_rate, "; it must be 0 or more");
  FLATLAND_CHECK(p.report_interval >= 1, who, "report_interval is ", p.report_interval,
                 "; it must be 1 or more");
}

void ParametricDR::State::begin_phase() {
  run.emplace(phases[phase], PhaseRun::Inputs{.model = *options.model,
                                              .data = data,
                                              .global_relations = global_relations,
                                              .batch_relations = options.batch_relations,
                                              .losses = options.losses,
                                              .seed = options.seed,
                                              .number = phase});
  history.push_back({.name = phases[phase].name, .loss = {}, .components = {}});
  phase_seconds = 0;
  emit({.kind = Event::Kind::phase_started, .text = phases[phase].name});
}

void ParametricDR::State::run_one_epoch() {
  const Stopwatch watch;
  struct TrainingMode {
    Model& model;
    explicit TrainingMode(Model& m) : model(m) { model.train(); }
    ~TrainingMode() { model.eval(); }
  };
  EpochSums sums;
  {
    const TrainingMode mode(*options.model);
    sums = run->run_epoch(context);
  }
  phase_seconds += watch.seconds();
  const TrainingPhase& p = phases[phase];
  FLATLAND_CHECK(std::isfinite(sums.loss), "train: the loss is ", sums.loss, " in epoch ",
                 run->epochs_done() - 1, " of phase '", p.name, "'; lower its learning_rate (",
                 p.learning_rate, ") or scale the data");
  trained = true;
  record_epoch(sums, phase_seconds);
}

void ParametricDR::State::record_epoch(const EpochSums& sums, double seconds) {
  const TrainingPhase& p = phases[phase];
  PhaseHistory& past = history.back();
  past.loss.push_back(sums.loss);
  Event event{.kind = Event::Kind::epoch_finished, .text = p.name, .seconds = seconds};
  event.epoch = run->epochs_done();
  event.epochs = p.epochs;
  event.report = (event.epoch - 1) % p.report_interval == 0 || event.epoch == p.epochs;
  event.loss = sums.loss;
  for (const auto& [key, value] : sums.components) {
    event.components.push_back({key, value});
    auto at = std::ranges::find(past.components, key, &std::pair<std::string, std::vector<double>>::first);
    // A component that appears late was 0 before.
    if (at == past.components.end()) at = past.components.insert(at, {key, {}});
    at->second.resize(past.loss.size() - 1, 0.0);
    at->second.push_back(value);
  }
  emit(event);
}

// --- the routine ---

ParametricDR::ParametricDR(Options options) {
  FLATLAND_CHECK(options.model, "ParametricDR: no model given; for example FullyConnectedEmbedder");
  check_distinct("global_relations", options.global_relations.entries());
  check_distinct("batch_relations", options.batch_relations.entries());
  check_distinct("losses", options.losses.entries());
  check_distinct("derived_data", options.derived_data);
  state_ = std::make_unique<State>(std::move(options));
  Model& model = *state_->options.model;
  if (state_->options.initialize) model.initialize(state_->options.seed);
  model.to(state_->options.device);
  model.eval();
}

ParametricDR::~ParametricDR() = default;
ParametricDR::ParametricDR(ParametricDR&&) noexcept = default;
ParametricDR& ParametricDR::operator=(ParametricDR&&) noexcept = default;

void ParametricDR::add_training_phase(TrainingPhase phase) {
  State& s = *state_;
  const TrainingPhase builtin;
  const TrainingPhase& ours = s.options.training_defaults;
  const auto merge = [&](auto member) {
    if (phase.*member == builtin.*member) phase.*member = ours.*member;
  };
  merge(&TrainingPhase::name);
  merge(&TrainingPhase::epochs);
  merge(&TrainingPhase::batch_size);
  merge(&TrainingPhase::batches_per_epoch);
  merge(&TrainingPhase::sampling);
  merge(&TrainingPhase::loss_keys);
  merge(&TrainingPhase::loss_weights);
  merge(&TrainingPhase::optimizer);
  merge(&TrainingPhase::learning_rate);
  merge(&TrainingPhase::schedule);
  merge(&TrainingPhase::report_interval);
  if (phase.name.empty()) phase.name = "phase " + std::to_string(s.phases.size() + 1);
  s.check_phase(phase);
  s.phases.push_back(std::move(phase));
}

void ParametricDR::prepare(const Dataset& data) {
  State& s = *state_;
  const ExecScope scope(s.exec);
  s.prepared = false;
  s.check_keys(data);
  s.stage("data set initialised", [&] { s.set_data(data); });
  s.compute_derived(false);
  s.compute_relations();
  s.compute_derived(true);
  s.given = data;
  s.prepared = true;
}

bool ParametricDR::run_epochs(int at_most) {
  State& s = *state_;
  FLATLAND_CHECK(s.prepared, "run_epochs: not prepared; call prepare with the data first");
  FLATLAND_CHECK(at_most >= 0, "run_epochs: ", at_most, " epochs; give 0 or more");
  const ExecScope scope(s.exec);
  s.stop = false;
  for (int done = 0; s.phase < s.phases.size();) {
    if (s.run && s.run->done()) {
      s.emit(
          {.kind = Event::Kind::phase_finished, .text = s.phases[s.phase].name, .seconds = s.phase_seconds});
      s.run.reset();
      ++s.phase;
      continue;
    }
    if (done == at_most || s.stop) return true;
    if (!s.run) s.begin_phase();
    if (s.run->done() || s.stop) continue;
    s.run_one_epoch();
    ++done;
  }
  s.trained = true;
  return false;
}

void ParametricDR::train(const Dataset& data) {
  State& s = *state_;
  FLATLAND_CHECK(!s.phases.empty(), "train: no training phase; call add_training_phase first");
  if (!s.prepared) {
    prepare(data);
  } else {
    const auto known = s.given.keys();
    const bool same = known == data.keys() && std::ranges::all_of(known, [&](const std::string& key) {
                        return same_values(s.given[key], data[key]);
                      });
    FLATLAND_CHECK(same,
                   "train: the data differs from that of the first call; call prepare(data) to go on with "
                   "other data, or make a new routine");
    s.check_keys(data);
  }
  run_epochs(std::numeric_limits<int>::max());
}

// --- use ---

Tensor ParametricDR::apply(const Tensor& x, const ApplyOptions& options) const {
  const State& s = *state_;
  FLATLAND_CHECK(s.trained, "apply: the model has not been trained; call train first");
  FLATLAND_CHECK(options.batch_size >= 1, "apply: batch_size is ", options.batch_size,
                 "; it must be 1 or more");
  const Model& model = *s.options.model;
  FLATLAND_CHECK(x.defined() && (x.rank() == 2 || (x.rank() == 1 && x.is_floating())),
                 "apply: give a matrix with a row an item, or a vector for one item");
  check_finite("apply", x);
  kernels::Exec exec(s.options.device, s.options.threads);
  const ExecScope scope(exec);
  const NoGrad no_grad;
  Tensor input = x.detach().to(s.options.device);
  if (input.rank() == 1) input = reshape(input, {1, input.numel()});
  if (input.is_floating()) input = input.to(floating_type(model));
  const std::int64_t columns = model.in_dim();
  FLATLAND_CHECK(columns < 0 || options.method == "decode" || input.size(1) == columns,
                 "apply: the data has ", input.size(1), " columns but the model was trained on ", columns);
  const std::int64_t n = input.size(0);
  if (n <= options.batch_size) return call_model(model, options.method, input);
  std::vector<Tensor> parts;
  for (std::int64_t begin = 0; begin < n; begin += options.batch_size) {
    parts.push_back(
        call_model(model, options.method, slice_rows(input, begin, std::min(begin + options.batch_size, n))));
  }
  return concat(parts);
}

Tensor ParametricDR::apply(const Dataset& data, const ApplyOptions& options) const {
  FLATLAND_CHECK(!data.empty(), "apply: the data set is empty; give it at least one item");
  return apply(data[options.key], options);
}

Model& ParametricDR::model() const {
  return *state_->options.model;
}
const RelationDataMap& ParametricDR::global_relation_data() const {
  return state_->global_relations;
}
void ParametricDR::set_global_relation_data(RelationDataMap relations) {
  State& s = *state_;
  check_distinct("global relation data", relations);
  for (auto& [key, relation] : relations) {
    FLATLAND_CHECK(s.options.global_relations.find(key) != nullptr,
                   "set_global_relation_data: no global relations '", key, "'; the routine has ",
                   listed(s.options.global_relations.entries()));
    FLATLAND_CHECK(!s.prepared || relation.items() == s.data.size(), "set_global_relation_data: relations '",
                   key, "' are of ", relation.items(), " items but the data has ", s.data.size());
    const auto at = std::ranges::find(s.global_relations, key, &RelationDataMap::value_type::first);
    if (at == s.global_relations.end()) {
      s.global_relations.emplace_back(key, relation.to(s.options.device));
    } else {
      at->second = relation.to(s.options.device);
    }
    s.kept_relations.insert(key);
  }
}
const Dataset& ParametricDR::dataset() const {
  return state_->data;
}
const std::vector<PhaseHistory>& ParametricDR::history() const {
  return state_->history;
}
const std::vector<TrainingPhase>& ParametricDR::training_phases() const {
  return state_->phases;
}
bool ParametricDR::trained() const {
  return state_->trained;
}

}  // namespace flatland
