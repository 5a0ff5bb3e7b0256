// What a run did, for programs to read: report.json.
#pragma once

#include <flatland/dr/event.h>
#include <flatland/engine/module.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flatland {

// SHA-256 over the bytes of all values, in order. Equal runs have equal sums.
std::string sha256_of(const std::vector<NamedTensor>& tensors);

// {"program", "version", "device", "threads", "isa", "seed", "stages": [{"name", "seconds"}],
//  "phases": [{"name", "seconds", "loss": [...], "components": {name: [...]}}],
//  "metrics": {"train": {...}, "unseen": {...}}, "parameters_sha256", "warnings": [...], "files": [...]}
// With begin_run also "runs": [{"name", "phases", "metrics", "parameters_sha256"}], what was reported after
// each.
//   Report report({.program = "quickstart", .seed = 42});
//   ParametricTSNE tsne({..., .on_event = report.listener(log_to(std::clog))});
//   report.metric("train", "trustworthiness", trustworthiness(x, y));
//   report.write("report.json");
class Report {
 public:
  struct Options {
    std::string program = {};
    Device device = Device::cpu;
    int threads = 0;  // 0: as many as the machine offers
    std::uint64_t seed = 0;
  };
  explicit Report(Options options);

  // Collects stages and phases, and hands each event on to `next`. The report may move or end before the
  // listener.
  Listener listener(Listener next = {});
  // A stage of the program's own.
  void stage(std::string name, double seconds);
  // From here on, phases, metrics and parameters are those of a run of this name, one of several.
  void begin_run(std::string name);
  void metric(std::string_view group, std::string_view name, double value);
  void parameters(const Module& module);
  void file(const std::filesystem::path& path);
  // Any other number or text at the top level.
  void set(std::string_view name, double value);
  void set(std::string_view name, std::string_view text);

  std::string json() const;
  // Error: unwritable or full disk.
  void write(const std::filesystem::path& path) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace flatland
