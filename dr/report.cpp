#include <flatland/dr/file.h>
#include <flatland/dr/json.h>
#include <flatland/dr/report.h>
#include <flatland/dr/sha256.h>
#include <flatland/dr/training.h>
#include <flatland/kernels/isa.h>
#include <flatland/kernels/version.h>

#include <algorithm>
#include <variant>

namespace flatland {
namespace {

template <class T>
using Named = std::vector<std::pair<std::string, T>>;

// The value of `name`, added at the end when it is new.
template <class T>
T& entry(Named<T>& entries, std::string_view name) {
  const auto found = std::ranges::find(entries, name, &std::pair<std::string, T>::first);
  if (found != entries.end()) return found->second;
  return entries.emplace_back(std::string(name), T{}).second;
}

void update(Sha256& sum, const Tensor& tensor) {
  const Tensor values = tensor.to(Device::cpu);
  switch (values.dtype()) {
    case Dtype::float32:
      return sum.update(std::as_bytes(values.values<float>()));
    case Dtype::float64:
      return sum.update(std::as_bytes(values.values<double>()));
    case Dtype::int32:
      return sum.update(std::as_bytes(values.values<std::int32_t>()));
    case Dtype::int64:
      return sum.update(std::as_bytes(values.values<std::int64_t>()));
  }
}

}  // namespace

std::string sha256_of(const std::vector<NamedTensor>& tensors) {
  Sha256 sum;
  for (const NamedTensor& parameter : tensors) update(sum, parameter.tensor);
  return sum.hex();
}

struct Report::State {
  struct Phase {
    PhaseHistory history;
    double seconds = 0;
  };

  struct Run {
    std::string name;
    std::vector<Phase> phases;
    Named<Named<double>> metrics;
    std::string parameters_sha256;
  };

  Options options;
  Named<double> stages;      // a name may come twice
  std::vector<Run> runs{1};  // the first has no name: what is outside of runs
  std::vector<std::string> files;
  std::vector<std::string> warnings;
  Named<std::variant<double, std::string>> more;

  // Of all runs; one alone has its own.
  std::string all_parameters() const {
    if (runs.size() == 1) return runs[0].parameters_sha256;
    Sha256 sum;
    for (const Run& run : runs) sum.update(std::as_bytes(std::span(run.parameters_sha256)));
    return sum.hex();
  }

  void add(const Event& event) {
    using Kind = Event::Kind;
    if (event.kind == Kind::stage_finished) stages.emplace_back(event.text, event.seconds);
    if (event.kind == Kind::warning) warnings.push_back(event.text);
    std::vector<Phase>& phases = runs.back().phases;
    if (event.kind == Kind::phase_started) phases.push_back({{event.text, {}, {}}, 0});
    if (phases.empty() && event.kind != Kind::epoch_finished) return;
    if (phases.empty()) phases.push_back({{event.text, {}, {}}, 0});  // it began before this run
    Phase& phase = phases.back();
    if (event.kind == Kind::phase_finished) phase.seconds = event.seconds;
    if (event.kind != Kind::epoch_finished) return;
    phase.seconds = event.seconds;
    phase.history.loss.push_back(event.loss);
    for (const LossComponent& part : event.components) {
      entry(phase.history.components, part.name).push_back(part.value);
    }
  }
};

Report::Report(Options options) : state_(std::make_shared<State>()) {
  state_->options = std::move(options);
  if (state_->options.threads == 0) state_->options.threads = kernels::Exec().threads();
}

Listener Report::listener(Listener next) {
  return [state = state_, next = std::move(next)](const Event& event) {
    state->add(event);
    return next(event);
  };
}

void Report::stage(std::string name, double seconds) {
  state_->stages.emplace_back(std::move(name), seconds);
}

void Report::metric(std::string_view group, std::string_view name, double value) {
  entry(entry(state_->runs.back().metrics, group), name) = value;
}

void Report::begin_run(std::string name) {
  state_->runs.push_back({std::move(name), {}, {}, {}});
}

void Report::parameters(const Module& module) {
  state_->runs.back().parameters_sha256 = sha256_of(module.parameters());
}

void Report::file(const std::filesystem::path& path) {
  state_->files.push_back(path.string());
}

void Report::set(std::string_view name, double value) {
  entry(state_->more, name) = value;
}

void Report::set(std::string_view name, std::string_view text) {
  entry(state_->more, name) = std::string(text);
}

namespace {

template <class Run>
void write_run(detail::JsonWriter& json, const Run& run) {
  json.begin_list("phases");
  for (const auto& phase : run.phases) {
    json.begin_object();
    json.text("name", phase.history.name);
    json.number("seconds", phase.seconds);
    json.numbers("loss", phase.history.loss);
    json.begin_object("components");
    for (const auto& [part, values] : phase.history.components) json.numbers(part, values);
    json.end_object();
    json.end_object();
  }
  json.end_list();
  json.begin_object("metrics");
  for (const auto& [group, values] : run.metrics) {
    json.begin_object(group);
    for (const auto& [metric, value] : values) json.number(metric, value);
    json.end_object();
  }
  json.end_object();
}

}  // namespace

std::string Report::json() const {
  const State& s = *state_;
  detail::JsonWriter json;
  json.begin_object();
  json.text("program", s.options.program);
  json.text("version", FLATLAND_VERSION);
  json.text("device", name(s.options.device));
  json.number("threads", s.options.threads);
  json.text("isa", kernels::name(kernels::active_isa()));
  json.integer("seed", s.options.seed);
  for (const auto& [key, value] : s.more) {
    if (const double* number = std::get_if<double>(&value)) json.number(key, *number);
    if (const std::string* text = std::get_if<std::string>(&value)) json.text(key, *text);
  }
  json.begin_list("stages");
  for (const auto& [stage, seconds] : s.stages) {
    json.begin_object();
    json.text("name", stage);
    json.number("seconds", seconds);
    json.end_object();
  }
  json.end_list();
  write_run(json, s.runs.front());
  if (s.runs.size() > 1) {
    json.begin_list("runs");
    for (std::size_t r = 1; r < s.runs.size(); ++r) {
      json.begin_object();
      json.text("name", s.runs[r].name);
      write_run(json, s.runs[r]);
      json.text("parameters_sha256", s.runs[r].parameters_sha256);
      json.end_object();
    }
    json.end_list();
  }
  json.text("parameters_sha256", s.all_parameters());
  json.texts("warnings", s.warnings);
  json.texts("files", s.files);
  json.end_object();
  return json.take();
}

void Report::write(const std::filesystem::path& path) const {
  write_file(path, json());
}

}  // namespace flatland
