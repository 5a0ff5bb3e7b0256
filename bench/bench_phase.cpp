// Training steps as a routine runs them: batches of 500 of 5,000 images of 784 pixels; a row of the table is
// one step, and epochs are timed.
//   tsne_step    784-100-50-2, relations of perplexity 30; tsne_step_of_20000 with so many images
//   hybrid_step  the same with a head for 10 classes
//   umap_step    784-100-100-100-2, relations of 30 neighbours, 500 edges and 3 random ones for each
//   bench_phase [--data=<MNIST images, idx3 or idx3.gz>] [--benchmark_filter=...]     FLATLAND_ISA=v1|v3|v4
//   chooses the level
#include "bench/support/images.h"
#include "bench/support/run.h"

#include <benchmark/benchmark.h>
#include <flatland/dr/phase_run.h>
#include <flatland/dr/routines.h>
#include <flatland/kernels/parallel.h>
#include <flatland/models/classifier.h>
#include <flatland/models/fully_connected_embedder.h>

#include <cstdio>
#include <cstdlib>
#include <string>

using namespace flatland;

namespace {

constexpr std::int64_t k_items = 5000, k_columns = 784, k_batch = 500, k_classes = 10;

Dataset data_of(const std::string& path, std::int64_t items) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < items; ++i) labels.push_back(i % k_classes);
  return Dataset{{"main", bench::images(path, items)}, {"labels", Tensor::from(labels)}};
}

Dataset data;

// A routine's parts, and its phase while it runs.
struct Training {
  TrainingPhase phase;
  ModelHandle model;
  RelationDataMap global;
  RelationMap batch;
  LossMap losses;
  RelationContext context = {};
  std::unique_ptr<PhaseRun> run = nullptr;

  double epoch() { return run->run_epoch(context).loss; }
  // From the first weights and the first epoch on.
  void begin() {
    model->initialize(1);
    run = std::make_unique<PhaseRun>(phase, PhaseRun::Inputs{*model, data, global, batch, losses});
  }
};

RelationData relations(std::int64_t n_neighbors, std::vector<Transform> transforms) {
  RelationContext context;
  return NeighborBasedPDist{.n_neighbors = n_neighbors, .transforms = std::move(transforms)}(data["main"],
                                                                                             context);
}

Training tsne() {
  return {.phase = {.name = "t-SNE", .batch_size = k_batch},
          .model = FullyConnectedEmbedder({.in_dim = k_columns}),
          .global = {{"rel", relations(0, {PerplexityBasedRescale{}, Symmetrize{}, Normalize{}})}},
          .batch = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}, ToSquare{}}},
          .losses = RelationLoss{kullback_leibler_div}};
}

Training hybrid() {
  Training training = tsne();
  training.model = HybridEmbedder({.in_dim = k_columns, .n_classes = k_classes});
  training.losses = {{"tsne", RelationLoss{kullback_leibler_div}}, {"class", ClassificationLoss{}}};
  training.phase.loss_keys = {"tsne", "class"};
  training.phase.loss_weights = {100, 1};
  return training;
}

Training umap() {
  return {.phase = {.name = "UMAP",
                    .batch_size = k_batch,
                    .batches_per_epoch = 10,
                    .sampling = Sampling::negative_edge,
                    .neg_sampling_rate = 3},
          .model = FullyConnectedEmbedder({.in_dim = k_columns, .hidden_dims = {100, 100, 100}}),
          .global = {{"rel", relations(30, {ConnectivityBasedRescale{.n_neighbors = 30},
                                            Symmetrize{.subtract_product = true}})}},
          .batch = DistsFromTo{.transforms = {ModifiedCauchy{.min_dist = 0.1, .spread = 1}}},
          .losses = RelationLoss{cross_entropy_loss}};
}

// Before anything is timed: threads do not change the loss, and training lowers it.
void verify(Training& training) {
  double first[2] = {}, last[2] = {};
  for (const int threads : {1, 2}) {
    kernels::Exec exec(Device::cpu, threads);
    const ExecScope scope(exec);
    training.begin();
    first[threads - 1] = training.epoch();
    for (int i = 0; i < 10; ++i) last[threads - 1] = training.epoch();
  }
  if (first[0] == first[1] && last[0] == last[1] && last[0] < first[0]) return;
  std::fprintf(stderr, "bench_phase: %s: losses %.17g to %.17g with 1 thread, %.17g to %.17g with 2\n",
               training.phase.name.c_str(), first[0], last[0], first[1], last[1]);
  std::exit(1);
}

struct Case {
  const char* name;
  std::int64_t items;
  Training (*make)();
};

// Made and verified once for all numbers of threads.
Training& prepared(const std::string& path, const Case& wanted) {
  static Training training;
  static std::string name;
  if (name != wanted.name) {
    data = data_of(path, wanted.items);
    training = wanted.make();
    verify(training);
    name = wanted.name;
  }
  return training;
}

void timed(benchmark::State& state, const std::string& path, const Case& wanted) {
  Training& training = prepared(path, wanted);
  const std::int64_t given = training.phase.batches_per_epoch,
                     steps = given > 0 ? given : wanted.items / k_batch;
  kernels::Exec exec(Device::cpu, static_cast<int>(state.range(0)));
  const ExecScope scope(exec);
  kernels::with_team(exec, [&] {
    training.begin();
    training.epoch();
    while (state.KeepRunningBatch(steps)) training.epoch();
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string path = bench::take_data_option(argc, argv);
  for (const Case& c : {Case{"tsne_step", k_items, tsne}, Case{"tsne_step_of_20000", 20000, tsne},
                        Case{"hybrid_step", k_items, hybrid}, Case{"umap_step", k_items, umap}}) {
    for (const int threads : {1, 2}) {
      benchmark::RegisterBenchmark(c.name, timed, path, c)
          ->ArgName("threads")
          ->Arg(threads)
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
  return bench::run(argc, argv);
}
