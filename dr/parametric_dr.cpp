#include <flatland/dr/memory_estimate.h>
#include <flatland/dr/routine_state.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <cstring>
#include <iomanip>
#include <limits>
#include <set>
#include <sstream>

namespace flatland {

namespace {

template <class Entries>
void check_distinct(const char* what, const Entries& entries) {
  std::set<std::string_view> keys;
  for (const auto& entry : entries) {
    FLATLAND_CHECK(keys.insert(entry.first).second, "ParametricDR: ", what, " has the key '", entry.first,
                   "' twice");
  }
}

// What `phase` leaves open, from `defaults`.
TrainingPhase completed(TrainingPhase phase, const TrainingPhase& defaults) {
  const TrainingPhase builtin;
  const auto merge = [&](auto member) {
    if (phase.*member == builtin.*member) phase.*member = defaults.*member;
  };
  merge(&TrainingPhase::name);
  merge(&TrainingPhase::epochs);
  merge(&TrainingPhase::batch_size);
  merge(&TrainingPhase::batches_per_epoch);
  merge(&TrainingPhase::sampling);
  merge(&TrainingPhase::weight_key);
  merge(&TrainingPhase::edge_rel_key);
  merge(&TrainingPhase::neg_sampling_rate);
  merge(&TrainingPhase::loss_keys);
  merge(&TrainingPhase::loss_weights);
  merge(&TrainingPhase::optimizer);
  merge(&TrainingPhase::learning_rate);
  merge(&TrainingPhase::schedule);
  merge(&TrainingPhase::report_interval);
  merge(&TrainingPhase::input_noise);
  return phase;
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

// What a search for neighbours and what follows takes, for an error; nothing for other relations.
std::string memory_needed(const RelationMap& relations, const Dataset& data) {
  std::ostringstream text;
  for (const auto& entry : relations.entries()) {
    const auto* search = entry.second.target<NeighborBasedPDist>();
    if (search == nullptr || !data.contains(search->data_key) || data[search->data_key].rank() != 2) continue;
    const std::int64_t n = data.size(), columns = data[search->data_key].size(1);
    const std::int64_t k = search->neighbors_for(n);
    text << ". " << n << " items of " << columns << " columns with " << k << " neighbours each take some "
         << std::setprecision(2)
         << static_cast<double>(estimate_memory(n, columns, k, {.search = search->search}).peak()) * 1e-9
         << " GB (estimate_memory)";
  }
  return text.str();
}

}  // namespace

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
  for (const TrainingPhase& phase : state_->options.training_phases) add_training_phase(phase);
}

ParametricDR::~ParametricDR() = default;
ParametricDR::ParametricDR(ParametricDR&&) noexcept = default;
ParametricDR& ParametricDR::operator=(ParametricDR&&) noexcept = default;

void ParametricDR::add_training_phase(TrainingPhase phase) {
  State& s = *state_;
  phase = completed(std::move(phase), s.options.training_defaults);
  if (phase.name.empty()) phase.name = "phase " + std::to_string(s.phases.size() + 1);
  s.check_phase(phase);
  s.phases.push_back(std::move(phase));
}

void ParametricDR::set_training_defaults(TrainingPhase defaults) {
  TrainingPhase& ours = state_->options.training_defaults;
  ours = completed(std::move(defaults), ours);
}

void ParametricDR::prepare(const Dataset& data) {
  State& s = *state_;
  s.prepared = s.stop = false;
  s.check_keys(data);
  try {
    s.run_on_own([&] {
      s.stage("data set initialised", [&] {
        s.set_data(data);
        s.check_input();
      });
      s.compute_derived(false);
      s.compute_relations();
      s.compute_derived(true);
    });
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(error.what() + memory_needed(s.options.global_relations, data));
  }
  s.exec = kernels::Exec(Device::cpu, s.options.threads);  // the scratch memory of the search goes back
  s.given = data;
  if (s.run) s.run_on_own([&] { s.run->data_changed(); });
  s.prepared = true;
}

bool ParametricDR::run_epochs(int at_most) {
  State& s = *state_;
  FLATLAND_CHECK(s.prepared, "run_epochs: not prepared; call prepare with the data first");
  FLATLAND_CHECK(at_most >= 0, "run_epochs: ", at_most, " epochs; give 0 or more");
  bool more = false;
  struct StopHeard {  // what asks for one while preparing ends this call
    bool& stop;
    ~StopHeard() { stop = false; }
  } heard{s.stop};
  s.run_on_own([&] { more = s.run_epochs(at_most); });
  return more;
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
  const bool by_number = model.items() >= 0 && x.defined() && !x.is_floating();
  FLATLAND_CHECK(x.defined() && (x.rank() == 2 || (x.rank() == 1 && (x.is_floating() || by_number))),
                 "apply: give a matrix with a row an item, or a vector for one item");
  if (x.is_floating()) check_finite("apply", x);
  if (by_number) {
    for (const std::int64_t item : x.to_vector<std::int64_t>()) {
      FLATLAND_CHECK(item >= 0 && item < model.items(), "apply: item ", item, ", but the ", model.name(),
                     " holds items 0 to ", model.items() - 1, " only");
    }
  }
  kernels::Exec exec(s.options.device, s.options.threads);
  const ExecScope scope(exec);
  const NoGrad no_grad;
  Tensor input = x.detach().to(s.options.device);
  if (input.rank() == 1 && !by_number) input = reshape(input, {1, input.numel()});
  if (input.is_floating()) input = input.to(detail::floating_type(model));
  const std::int64_t columns = model.in_dim();
  FLATLAND_CHECK(columns < 0 || options.method == "decode" || input.size(1) == columns,
                 "apply: the data has ", input.size(1), " columns but the model was trained on ", columns);
  const std::int64_t n = input.size(0);
  if (n <= options.batch_size) return call_model(model, options.method, input).to(x.device());
  std::vector<Tensor> parts;
  kernels::with_team(exec, [&] {
    for (std::int64_t begin = 0; begin < n; begin += options.batch_size) {
      parts.push_back(call_model(model, options.method,
                                 slice_rows(input, begin, std::min(begin + options.batch_size, n))));
    }
  });
  return concat(parts).to(x.device());
}

Tensor ParametricDR::apply(const Dataset& data, const ApplyOptions& options) const {
  FLATLAND_CHECK(!data.empty(), "apply: the data set is empty; give it at least one item");
  const Model& m = model();
  FLATLAND_CHECK(m.items() < 0 || data.size() == m.items(), "apply: the data has ", data.size(),
                 " items but the ", m.name(), " holds ", m.items(),
                 "; it places no others, so give the numbers of items, an int64 vector");
  return apply(data[options.key.empty() ? m.input_key() : options.key], options);
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
                   detail::listed(s.options.global_relations.entries()));
    FLATLAND_CHECK(!s.prepared || relation.items() == s.data.size(), "set_global_relation_data: relations '",
                   key, "' are of ", relation.items(), " items but the data has ", s.data.size());
    const auto at = std::ranges::find(s.global_relations, key, &RelationDataMap::value_type::first);
    if (at == s.global_relations.end()) {
      s.global_relations.emplace_back(key, s.placed(relation));
    } else {
      at->second = s.placed(relation);
    }
    s.kept_relations.insert(key);
  }
  if (!s.run || !s.prepared) return;
  s.prepared = false;  // unless the run can go on with them
  s.run_on_own([&] { s.run->data_changed(); });
  s.prepared = true;
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
