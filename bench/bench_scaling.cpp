// One training of a given size, in a process of its own: seconds of each stage, of a step and of applying,
// and the peak memory beside estimate_memory's. First trains, then checks the relations and the loss, and
// only then prints a line of JSON. bench/scaling.py runs it over sizes and makes the tables of SCALING.md.
//   bench_scaling [--routine=tsne|umap] [--n=5000] [--dim=784] [--batch=500] [--threads=2]
//   [--neighbors=90|30]
//   [--estimate-only=1]     FLATLAND_ISA=v1|v3|v4 chooses the level
#include "bench/support/images.h"

#include <flatland/dr/memory_estimate.h>
#include <flatland/engine/ops.h>
#include <flatland/models/fully_connected_embedder.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

using namespace flatland;

namespace {

struct Case {
  bool umap = false;
  std::int64_t n = 5000, dim = 784, batch = 500;
  int threads = 2;
  std::int64_t neighbors = 0;  // 0: 90 and 30
  bool estimate_only = false;
};
constexpr int k_rate = 3;           // random items an edge
constexpr int k_edge_batches = 20;  // an epoch

// A wrong run must not look fast.
void require(bool right, const char* what) {
  if (right) return;
  std::fprintf(stderr, "bench_scaling: %s\n", what);
  std::exit(1);
}

Case case_of(int argc, char** argv) {
  Case c;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const std::size_t sign = option.find('=');
    const std::string name = option.substr(0, sign);
    if (name.starts_with("--benchmark_")) continue;  // from the target run_bench
    require(sign != std::string::npos, "options are --name=value; see the head of bench_scaling.cpp");
    const std::string value = option.substr(sign + 1);
    if (name == "--routine") {
      require(value == "tsne" || value == "umap", "--routine is tsne or umap");
      c.umap = value == "umap";
      continue;
    }
    const long long number = std::atoll(value.c_str());
    require(number > 0, "sizes are whole numbers above 0");
    if (name == "--n")
      c.n = number;
    else if (name == "--dim")
      c.dim = number;
    else if (name == "--batch")
      c.batch = number;
    else if (name == "--threads")
      c.threads = static_cast<int>(number);
    else if (name == "--neighbors")
      c.neighbors = number;
    else
      require(name == "--estimate-only", "unknown option; see the head of bench_scaling.cpp");
    c.estimate_only = c.estimate_only || name == "--estimate-only";
  }
  if (c.neighbors == 0) c.neighbors = c.umap ? 30 : 90;
  return c;
}

// Bytes, the most that this program has held; what started it does not count.
std::int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
  }
  require(false, "/proc/self/status does not tell the peak memory; this needs Linux");
  return 0;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Tells its listener that another stage begins.
Transform stage(const char* name) {
  return [name](const RelationData& data, const RelationContext& context) {
    context.stage(name);
    return data;
  };
}

struct Times {
  std::map<std::string, double> stages;  // by text
  double phase_started = 0;
};

ParametricDR routine_of(const Case& c, Times& times) {
  const auto k = static_cast<double>(c.neighbors);
  const std::vector<Transform> tsne{PerplexityBasedRescale{.perplexity = k / 3}, stage("symmetrizing"),
                                    Symmetrize{}, Normalize{}};
  const std::vector<Transform> umap{ConnectivityBasedRescale{.n_neighbors = k}, stage("symmetrizing"),
                                    Symmetrize{.subtract_product = true}};
  const RelationMap pairs(DifferentiablePDist{.transforms = {StudentT{}, Normalize{}, ToSquare{}}});
  const RelationMap edges(DistsFromTo{.transforms = {ModifiedCauchy{}}});
  ParametricDR routine(
      {.model = FullyConnectedEmbedder({.in_dim = c.dim}),
       .global_relations = NeighborBasedPDist{.n_neighbors = c.neighbors, .transforms = c.umap ? umap : tsne},
       .batch_relations = c.umap ? edges : pairs,
       .derived_data = {{"start", c.umap ? spectral_of("rel") : pca_of("main")}},
       .losses = c.umap ? RelationLoss{cross_entropy_loss} : RelationLoss{kullback_leibler_div},
       .threads = c.threads,
       .on_event = [&](const Event& event) {
         if (event.kind == Event::Kind::stage_finished) times.stages[event.text] += event.seconds;
         if (event.kind == Event::Kind::phase_started) times.phase_started = now();
         return true;
       }});
  TrainingPhase phase{.name = "main", .epochs = 1 << 20, .batch_size = c.batch};
  if (c.umap) {
    phase.batches_per_epoch = k_edge_batches;
    phase.sampling = Sampling::negative_edge;
    phase.neg_sampling_rate = k_rate;
  }
  routine.add_training_phase(phase);
  return routine;
}

// Every true neighbour of some items is related to them, both ways.
void verify(const Case& c, const Tensor& data, const RelationData& relations) {
  const auto* rows = relations.get_if<SparseRelations>();
  require(rows != nullptr && relations.symmetric(), "the relations are not sparse and symmetric");
  const auto x = data.matrix<float>();
  const auto offset = rows->row_offset.values<std::int64_t>();
  const auto col = rows->col.values<std::int32_t>();
  for (std::int64_t i = 0; i < c.n; i += c.n / 7 + 1) {
    std::vector<std::pair<double, std::int64_t>> all;
    for (std::int64_t j = 0; j < c.n; ++j) {
      double sum = 0;
      for (std::int64_t d = 0; d < c.dim; ++d) sum += std::pow(double(x(i, d)) - double(x(j, d)), 2);
      if (j != i) all.emplace_back(sum, j);
    }
    std::ranges::nth_element(all, all.begin() + c.neighbors);
    const auto at = static_cast<std::size_t>(i);
    const auto row = col.subspan(static_cast<std::size_t>(offset[at]),
                                 static_cast<std::size_t>(offset[at + 1] - offset[at]));
    for (std::int64_t j = 0; j < c.neighbors; ++j)
      require(std::ranges::binary_search(row, all[static_cast<std::size_t>(j)].second),
              "a near neighbour is missing in the relations");
  }
  if (c.umap) return;
  double sum = 0;
  for (const float p : rows->values.values<float>()) sum += double(p);
  require(std::abs(sum - 1) < 1e-4, "the relations do not add up to 1");
}

// Seconds of a step: the median of epochs, by their number of steps.
double train(const Case& c, ParametricDR& routine) {
  const double steps = c.umap ? k_edge_batches : std::ceil(double(c.n) / double(std::min(c.n, c.batch)));
  std::vector<double> epochs;
  for (double begin = now(); epochs.size() < 5 || (now() - begin < 0.5 && epochs.size() < 1000);) {
    const double start = now();
    routine.run_epochs(1);
    epochs.push_back((now() - start) / steps);
  }
  const std::vector<double>& loss = routine.history().back().loss;
  require(loss.back() < loss.front(), "training does not lower the loss");
  return median(epochs);
}

double apply_seconds(const ParametricDR& routine, const Tensor& data) {
  std::vector<double> runs;
  for (int i = 0; i < 5; ++i) {
    const double start = now();
    routine.apply(data);
    runs.push_back(now() - start);
  }
  return median(runs);
}

}  // namespace

int main(int argc, char** argv) {
  const Case c = case_of(argc, argv);
  require(c.neighbors < c.n - 1, "fewer items than neighbours");
  TrainingSize size{.batch_size = c.batch, .threads = c.threads};
  if (c.umap) size.negative_sampling_rate = k_rate;
  const double estimate = double(estimate_memory(c.n, c.dim, c.neighbors, size).peak());
  if (c.estimate_only) return std::printf("{\"estimate_bytes\": %.0f}\n", estimate) < 0;

  const std::int64_t before = peak_memory();
  const Tensor data = bench::made_up(c.n, c.dim, 1);
  Times times;
  ParametricDR routine = routine_of(c, times);
  routine.prepare(Dataset(data));
  const double start = now();
  routine.run_epochs(1);
  const double sampling = times.phase_started - start;
  const double step = train(c, routine);
  const double peak = double(peak_memory() - before);
  const Tensor some = data.size(0) > 20000 ? slice_rows(data, 0, 20000).clone() : data;
  const double apply = apply_seconds(routine, some) / double(some.size(0));
  const RelationData& relations = at(routine.global_relation_data(), "rel");
  verify(c, data, relations);

  auto& stage_seconds = times.stages;
  const std::pair<const char*, double> values[] = {
      {"n", double(c.n)},
      {"dim", double(c.dim)},
      {"batch", double(c.batch)},
      {"threads", c.threads},
      {"k", double(c.neighbors)},
      {"neighbors", stage_seconds["indexing nearest neighbours"]},
      {"search", stage_seconds["calculating probabilities"]},
      {"symmetrize", stage_seconds["symmetrizing"]},
      {"start", stage_seconds["computing derived data 'start'"]},
      {"sampling", sampling},
      {"step", step},
      {"apply", apply},
      {"peak_bytes", peak},
      {"estimate_bytes", estimate},
      {"entries", double(relations.values().numel()) / double(c.n)}};
  std::printf("{\"routine\": \"%s\"", c.umap ? "umap" : "tsne");
  for (const auto& [name, value] : values) std::printf(", \"%s\": %.10g", name, value);
  std::printf("}\n");
  return 0;
}
