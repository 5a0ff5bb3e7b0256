#include <flatland/dr/routine_state.h>

#include <algorithm>
#include <cmath>

namespace flatland {

namespace {

// Transforms that never look at single values on the host; a user's may.
bool computes_on_gpu(const Transform& t) {
  return t.target<PerplexityBasedRescale>() || t.target<ConnectivityBasedRescale>() ||
         t.target<Symmetrize>() || t.target<Normalize>() || t.target<NormalizeRows>() ||
         t.target<ZeroDiagonal>() || t.target<StudentT>() || t.target<ModifiedCauchy>() ||
         t.target<Identity>() || t.target<ToSquare>() || t.target<ToTriangular>() || t.target<ToNeighbor>() ||
         t.target<ToSparse>() || t.target<ToFlat>();
}

// Whether global relations are computed where the data is; all others on the CPU.
bool computes_on_gpu(const Relation& relation) {
  const auto all_built_in = [](const auto* r) {
    return r != nullptr && r->metric.built_in() &&
           std::ranges::all_of(r->transforms, [](const Transform& t) { return computes_on_gpu(t); });
  };
  return all_built_in(relation.target<NeighborBasedPDist>()) || all_built_in(relation.target<PDist>());
}

}  // namespace

namespace detail {

Dtype floating_type(const Model& model) {
  const std::vector<NamedTensor> parameters = model.parameters();
  return parameters.empty() ? Dtype::float32 : parameters.front().tensor.dtype();
}

}  // namespace detail

// --- preparing ---

void ParametricDR::State::set_data(const Dataset& dataset) {
  const Dtype dtype = detail::floating_type(*options.model);
  data = dataset.to(dtype).to(options.device);
  for (const std::string& key : data.keys()) {
    if (dataset[key].dtype() == dtype || !dataset[key].is_floating()) continue;
    check_finite(std::string("train: entry '") + key + "' as " + std::string(name(dtype)), data[key]);
  }
  const Model& model = *options.model;
  FLATLAND_CHECK(model.items() < 0 || model.items() == data.size(), "train: the data has ", data.size(),
                 " items but the ", model.name(), " holds ", model.items(), "; set its items to the data's");
}

// What the model takes, as soon as it is there.
void ParametricDR::State::check_input() const {
  const Model& model = *options.model;
  const std::string key = model.input_key();
  if (!data.contains(key)) return;
  const Tensor& x = data[key];
  const std::int64_t columns = model.in_dim();
  FLATLAND_CHECK(columns < 0 || (x.rank() == 2 && x.size(1) == columns), "train: the data '", key, "' is ",
                 x.shape(), " but the model takes ", columns,
                 " columns; set its in_dim to the number of columns");
  if (model.items() >= 0 && x.dtype() == Dtype::int64) {
    for (const std::int64_t item : x.to_vector<std::int64_t>())
      FLATLAND_CHECK(item >= 0 && item < model.items(), "train: '", key, "' has item ", item, ", but the ",
                     model.name(), " holds items 0 to ", model.items() - 1, " only");
  }
  for (const TrainingPhase& p : phases) check_noise(p);
}

void ParametricDR::State::check_noise(const TrainingPhase& p) const {
  const std::string key = options.model->input_key();
  FLATLAND_CHECK(p.input_noise == 0 || !data.contains(key) || data[key].is_floating(), "training phase '",
                 p.name, "': input_noise is ", p.input_noise, ", but the ", options.model->name(), " takes '",
                 key, "' of ", name(data[key].dtype()), ", to which none can be added; set it to 0");
}

void ParametricDR::State::check_entry(std::string_view who, const std::string& key,
                                      const Dataset& dataset) const {
  const auto& derived = options.derived_data;
  const bool known = dataset.contains(key) ||
                     std::ranges::any_of(derived, [&](const auto& entry) { return entry.first == key; });
  FLATLAND_CHECK(known, "train: ", who, " needs the data entry '", key,
                 "', which is neither in the data set nor derived; the data set has ",
                 detail::listed(dataset.keys()));
}

// Finds out early, before the expensive relations, what a loss would miss in its first step.
void ParametricDR::State::check_loss_keys(const Loss& loss, const Dataset& dataset, bool edges) const {
  const bool calls_model = loss.target<RelationLoss>() || loss.target<PositionLoss>() ||
                           loss.target<ClassificationLoss>() || loss.target<ReconstructionLoss>() ||
                           loss.target<TripletLoss>() || loss.target<CorrelationLoss>();
  if (calls_model) check_entry("the " + options.model->name(), options.model->input_key(), dataset);
  if (const auto* l = loss.target<PositionLoss>()) check_entry("PositionLoss", l->position_key, dataset);
  if (const auto* l = loss.target<ClassificationLoss>())
    check_entry("ClassificationLoss", l->label_key, dataset);
  if (const auto* l = loss.target<CorrelationLoss>()) check_entry("CorrelationLoss", l->data_key, dataset);
  if (const auto* l = loss.target<CompoundLoss>()) {
    for (const auto& part : l->losses) check_loss_keys(part.second, dataset, edges);
  }
  if (const auto* l = loss.target<RelationLoss>()) {
    const Relation* relation = options.batch_relations.find(l->batch_key);
    const bool pairs = edges && relation != nullptr && relation->target<DistsFromTo>() != nullptr;
    FLATLAND_CHECK(pairs || options.global_relations.find(l->global_key) != nullptr,
                   "train: RelationLoss needs global relations '", l->global_key, "'; the routine has ",
                   detail::listed(options.global_relations.entries()));
    FLATLAND_CHECK(relation != nullptr, "train: RelationLoss needs batch relations '", l->batch_key,
                   "'; the routine has ", detail::listed(options.batch_relations.entries()));
  }
}

void ParametricDR::State::check_relation_keys(const Dataset& dataset) const {
  for (const auto& [key, relation] : options.global_relations.entries()) {
    if (kept_relations.contains(key)) continue;
    const std::string& needed = relation.data_key();
    check_entry("the recipe of global relations '" + key + "'", needed, dataset);
    const bool too_late =
        !dataset.contains(needed) && std::ranges::any_of(options.derived_data, [&](const auto& entry) {
          return entry.first == needed && entry.second.from_relations != nullptr;
        });
    FLATLAND_CHECK(!too_late, "train: the recipe of global relations '", key, "' needs the data entry '",
                   needed, "', which is derived from relations and comes after them; derive it from_data");
  }
}

void ParametricDR::State::check_keys(const Dataset& dataset) const {
  FLATLAND_CHECK(!dataset.empty(), "train: the data set is empty; give it at least one item");
  for (const auto& entry : options.derived_data) {
    FLATLAND_CHECK(!dataset.contains(entry.first), "train: the data set has an entry '", entry.first,
                   "', which derived data would replace; name one of them otherwise");
  }
  check_relation_keys(dataset);
  for (const TrainingPhase& p : phases) {
    if (p.sampling == Sampling::weighted) {
      check_entry("weighted sampling", p.weight_key, dataset);
      if (dataset.contains(p.weight_key))
        check_item_weights("training phase '" + p.name + "': entry '" + p.weight_key + "'",
                           dataset[p.weight_key]);
    }
    for (const std::string& key : p.loss_keys)
      check_loss_keys(*options.losses.find(key), dataset, p.sampling == Sampling::negative_edge);
  }
}

void ParametricDR::State::compute_derived(bool from_relations) {
  for (const auto& entry : options.derived_data) {
    const std::string& key = entry.first;
    const DerivedData& derived = entry.second;
    FLATLAND_CHECK((derived.from_data != nullptr) != (derived.from_relations != nullptr),
                   "ParametricDR: derived data '", key, "' needs one function, from_data or from_relations");
    if ((derived.from_relations != nullptr) != from_relations) continue;
    const NoGrad no_grad;
    stage("computing derived data '" + key + "'", [&] {
      Tensor value =
          from_relations ? derived.from_relations(data, global_relations, context) : derived.from_data(data);
      if (value.defined() && value.is_floating()) value = value.to(detail::floating_type(*options.model));
      if (value.defined()) value = value.to(options.device);
      data.set(key, value);
    });
    if (key == options.model->input_key()) check_input();
  }
}

// Runs a relation; its own stages end where the next one begins.
RelationData ParametricDR::State::compute_relation(const Relation& relation) {
  std::string inner;
  detail::Stopwatch watch;
  const auto finish = [&] {
    if (!inner.empty())
      emit({.kind = Event::Kind::stage_finished, .text = inner, .seconds = watch.seconds()});
  };
  RelationContext stages;
  stages.warn = context.warn;
  stages.stage = [&](const std::string& text) {
    finish();
    inner = text;
    watch = detail::Stopwatch();
    emit({.kind = Event::Kind::stage_started, .text = text});
  };
  const Device device = computes_on_gpu(relation) ? options.device : Device::cpu;
  std::optional<kernels::Exec> own;  // a search takes much scratch memory, which goes with it
  std::optional<ExecScope> scope;
  if (device == Device::cuda) scope.emplace(own.emplace(device));
  RelationData computed = relation(data[relation.data_key()].to(device), stages);
  finish();
  return placed(computed);
}

// A GPU reads blocks from a square; a triangle would become one in each step.
RelationData ParametricDR::State::placed(const RelationData& relations) const {
  const RelationData there = relations.to(options.device);
  const bool triangle = there.get_if<TriangularRelations>() != nullptr;
  return triangle && options.device == Device::cuda ? there.to_square() : there;
}

void ParametricDR::State::compute_relations() {
  RelationDataMap all;
  for (const auto& entry : options.global_relations.entries()) {
    const std::string& key = entry.first;
    const Relation& relation = entry.second;
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
          [&] { all.emplace_back(key, compute_relation(relation)); });
  }
  global_relations = std::move(all);
}

// --- training ---

namespace {

// What a loss needs of the phase that calls it, which else only its first step would find missing.
void check_loss(const std::string& who, const Loss& loss, const TrainingPhase& p,
                const RelationMap& batch_relations) {
  const bool edges = p.sampling == Sampling::negative_edge;
  if (const auto* l = loss.target<CompoundLoss>()) {
    FLATLAND_CHECK(!l->losses.empty(), who, "CompoundLoss: no losses given");
    FLATLAND_CHECK(l->weights.empty() || l->weights.size() == l->losses.size(), who,
                   "CompoundLoss: ", l->losses.size(), " losses but ", l->weights.size(),
                   " weights; give one each, or none");
    for (std::size_t i = 0; i < l->losses.size(); ++i) {
      const std::string part = who + "part '" + l->losses[i].first + "': ";
      FLATLAND_CHECK(l->weights.empty() || std::isfinite(l->weights[i]), part, "its weight is ",
                     l->weights[i], "; it must be finite");
      check_loss(part, l->losses[i].second, p, batch_relations);
    }
  }
  if (loss.target<TripletLoss>()) {
    FLATLAND_CHECK(
        edges, who,
        "a TripletLoss takes edges between items of one kind; set sampling = "
        "Sampling::negative_edge, neg_sampling_rate = 1 and edge_rel_key to relations of such items");
    FLATLAND_CHECK(p.neg_sampling_rate == 1, who,
                   "a TripletLoss sets one random item against each edge, but "
                   "neg_sampling_rate is ",
                   p.neg_sampling_rate, "; set it to 1");
  }
  if (const auto* l = loss.target<RelationLoss>()) {
    const Relation* relation = batch_relations.find(l->batch_key);
    FLATLAND_CHECK(
        edges || relation == nullptr || relation->target<DistsFromTo>() == nullptr, who,
        "its batch relations '", l->batch_key,
        "' are DistsFromTo, which relates sampled pairs; set sampling = Sampling::negative_edge, or use "
        "DifferentiablePDist");
  }
}

}  // namespace

void ParametricDR::State::check_sampling(const TrainingPhase& p) const {
  const auto who = "training phase '" + p.name + "': ";
  for (const std::string& key : p.loss_keys)
    check_loss(who + "loss '" + key + "': ", *options.losses.find(key), p, options.batch_relations);
  constexpr int most_rate = 100000;
  FLATLAND_CHECK(p.neg_sampling_rate >= 0 && p.neg_sampling_rate <= most_rate, who, "neg_sampling_rate is ",
                 p.neg_sampling_rate, "; it must be 0 to ", most_rate);
  if (p.sampling != Sampling::negative_edge && p.sampling != Sampling::weighted) return;
  // More than any run does, and few enough that no size below overflows.
  constexpr std::int64_t most_steps = std::int64_t{1} << 31, most_edges = std::int64_t{1} << 40;
  FLATLAND_CHECK(p.batches_per_epoch <= most_steps, who, "batches_per_epoch is ", p.batches_per_epoch,
                 "; an epoch has at most ", most_steps, " steps");
  if (p.sampling == Sampling::weighted) return;
  FLATLAND_CHECK(p.batch_size <= most_edges / std::max<std::int64_t>(1, p.batches_per_epoch), who,
                 "batch_size is ", p.batch_size, " edges and batches_per_epoch ", p.batches_per_epoch,
                 "; an epoch has at most ", most_edges, " edges, lower one of them");
  FLATLAND_CHECK(options.global_relations.find(p.edge_rel_key) != nullptr, who, "no global relations '",
                 p.edge_rel_key, "' to sample edges from; the routine has ",
                 detail::listed(options.global_relations.entries()), "; set edge_rel_key");
}

void ParametricDR::State::check_phase(const TrainingPhase& p) const {
  const auto who = "training phase '" + p.name + "': ";
  FLATLAND_CHECK(!p.loss_keys.empty(), who, "no loss_keys; name at least one loss");
  for (const std::string& key : p.loss_keys) {
    FLATLAND_CHECK(options.losses.find(key) != nullptr, who, "no loss '", key, "'; the routine has ",
                   detail::listed(options.losses.entries()));
  }
  FLATLAND_CHECK(p.loss_weights.empty() || p.loss_weights.size() == p.loss_keys.size(), who,
                 p.loss_keys.size(), " losses but ", p.loss_weights.size(),
                 " weights; give one each, or none");
  for (std::size_t i = 0; i < p.loss_weights.size(); ++i)
    FLATLAND_CHECK(std::isfinite(p.loss_weights[i]), who, "the weight of loss '", p.loss_keys[i], "' is ",
                   p.loss_weights[i], "; it must be finite");
  FLATLAND_CHECK(p.epochs >= 0, who, "epochs is ", p.epochs, "; it must be 0 or more");
  FLATLAND_CHECK(p.batch_size >= 1, who, "batch_size is ", p.batch_size, "; it must be 1 or more");
  FLATLAND_CHECK(p.batches_per_epoch == -1 || p.batches_per_epoch >= 1, who, "batches_per_epoch is ",
                 p.batches_per_epoch, "; it must be 1 or more, or -1 for all items once");
  FLATLAND_CHECK(std::isfinite(p.learning_rate) && p.learning_rate >= 0, who, "learning_rate is ",
                 p.learning_rate, "; it must be 0 or more");
  const double fraction = p.schedule.final_fraction;
  FLATLAND_CHECK(fraction >= 0 && fraction <= 1, who, "the schedule's final_fraction is ", fraction,
                 "; it must be 0 to 1");
  FLATLAND_CHECK(std::isfinite(p.input_noise) && p.input_noise >= 0, who, "input_noise is ", p.input_noise,
                 "; it is a deviation, 0 or more");
  if (prepared) check_noise(p);
  check_sampling(p);
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
                                              .number = phase,
                                              .device = options.device});
  history.push_back({.name = phases[phase].name, .loss = {}, .components = {}});
  phase_seconds = 0;
  emit({.kind = Event::Kind::phase_started, .text = phases[phase].name});
}

void ParametricDR::State::run_one_epoch() {
  const detail::Stopwatch watch;
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

bool ParametricDR::State::run_epochs(int at_most) {
  for (int done = 0; phase < phases.size();) {
    if (run && run->done()) {
      emit({.kind = Event::Kind::phase_finished, .text = phases[phase].name, .seconds = phase_seconds});
      run.reset();
      ++phase;
      continue;
    }
    if (done == at_most || stop) return true;
    if (!run) begin_phase();
    if (run->done() || stop) continue;
    run_one_epoch();
    ++done;
  }
  trained = true;
  return false;
}

}  // namespace flatland
