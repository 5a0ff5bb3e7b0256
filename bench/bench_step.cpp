// The parts of the t-SNE training step, each given what the ones before it made: batch 500 of N = 5,000
// images, 784-100-50-2, relations of perplexity 30. bench_phase times whole steps. Without data the images
// are made up.
//   bench_step [--data=<MNIST images, idx3 or idx3.gz>] [--benchmark_filter=...]     FLATLAND_ISA=v1|v3|v4
#include "bench/support/images.h"
#include "bench/support/run.h"

#include <benchmark/benchmark.h>
#include <flatland/dr/losses.h>
#include <flatland/dr/routines.h>
#include <flatland/engine/pool.h>
#include <flatland/kernels/parallel.h>
#include <flatland/models/fully_connected_embedder.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

using namespace flatland;

namespace {

constexpr std::int64_t k_items = 5000, k_columns = 784, k_batch = 500;

std::string images_path;

// Everything a step needs.
struct Step {
  Dataset data = bench::images(images_path, k_items);
  RelationContext context = {};
  RelationDataMap global = {{"rel", NeighborBasedPDist{.transforms = {PerplexityBasedRescale{}, Symmetrize{},
                                                                      Normalize{}}}(data["main"], context)}};
  RelationMap batch_relations = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}, ToSquare{}}};
  FullyConnectedEmbedder model{{.in_dim = k_columns}};
  Tensor order = Tensor::empty({k_items}, Dtype::int64);
  std::unique_ptr<Optimizer> optimizer;
  Batch batch{data};
  RelationLoss loss{kullback_leibler_div};

  Step() {
    model.initialize(1);
    std::vector<Tensor> parameters;
    for (const NamedTensor& p : model.parameters()) parameters.push_back(p.tensor);
    optimizer = make_optimizer(Adam{}, parameters, 0.01);
    shuffle(0);
  }
  void shuffle(std::uint64_t epoch) {
    kernels::random_permutation(current_exec(), {.seed = 1, .stream = epoch},
                                order.mutable_values<std::int64_t>());
  }
  void select(std::int64_t number) {
    const std::int64_t begin = number % (k_items / k_batch) * k_batch;
    batch.select(slice_rows(order, begin, begin + k_batch));
  }
  LossInput input() { return {model, batch, global, batch_relations, context}; }
  double run(std::int64_t number) {
    select(number);
    optimizer->zero_grad();
    const Tensor value = loss(input());
    value.backward();
    optimizer->step();
    return value.item();
  }
};

// The same loss by the composed operations, before anything is timed.
void verify(Step& step) {
  step.select(0);
  const double fused = step.loss(step.input()).item();
  step.loss.fuse = false;
  const double composed = step.loss(step.input()).item();
  step.loss.fuse = true;
  if (std::abs(fused - composed) <= 1e-4 * std::abs(composed)) return;
  std::fprintf(stderr, "bench_step: fused loss %g, composed %g\n", fused, composed);
  std::exit(1);
}

Step& step() {
  static Step shared;
  static const bool verified = (verify(shared), true);
  static_cast<void>(verified);
  return shared;
}

// Runs a part on a team of the given number of threads, as a routine does.
template <class Part>
void timed(benchmark::State& state, Part part) {
  kernels::Exec exec(Device::cpu, static_cast<int>(state.range(0)));
  const ExecScope scope(exec);
  kernels::with_team(exec, [&] {
    Step& s = step();
    s.select(0);
    for (int i = 0; i < 20; ++i) part(s, i);
    const std::uint64_t before = memory_use().system_allocations;
    std::int64_t i = 0;
    for (auto _ : state) part(s, i++);
    state.counters["allocations"] = static_cast<double>(memory_use().system_allocations - before);
  });
}

void shuffle(benchmark::State& state) {
  timed(state, [](Step& s, std::int64_t i) { s.shuffle(static_cast<std::uint64_t>(i)); });
}
void gather(benchmark::State& state) {
  timed(state, [](Step& s, std::int64_t i) {
    s.select(i);
    benchmark::DoNotOptimize(s.batch["main"]);
  });
}
void sub_matrix(benchmark::State& state) {
  timed(state, [](Step& s, std::int64_t i) {
    s.select(i);
    benchmark::DoNotOptimize(s.global[0].second.sub_sparse(s.batch.index(), true));
  });
}
void forward(benchmark::State& state) {
  const Tensor x = gather_rows(step().data["main"], slice_rows(step().order, 0, k_batch));
  timed(state, [&](Step& s, std::int64_t) { benchmark::DoNotOptimize(s.model.embed(x)); });
}
void loss_and_its_gradient(benchmark::State& state) {
  const Tensor index = slice_rows(step().order, 0, k_batch);
  Tensor y = step().model.embed(gather_rows(step().data["main"], index)).detach().clone();
  y.requires_grad(true);
  const SparseBlock block = step().global[0].second.sub_sparse(index, true);
  timed(state, [&](Step&, std::int64_t) {
    y.zero_grad();
    kl_student_t(y, block).backward();
  });
}
// 20,000 items through the network.
void apply(benchmark::State& state) {
  const Tensor x = bench::images(images_path, 4 * k_items);
  timed(state, [&](Step& s, std::int64_t) {
    const NoGrad not_recorded;
    benchmark::DoNotOptimize(s.model.embed(x));
  });
}
void forward_and_backward(benchmark::State& state) {
  const Tensor x = gather_rows(step().data["main"], slice_rows(step().order, 0, k_batch));
  const Tensor upstream = Tensor::ones({k_batch, 2});
  timed(state, [&](Step& s, std::int64_t) {
    s.optimizer->zero_grad();
    s.model.embed(x).backward(upstream);
  });
}
void optimizer(benchmark::State& state) {
  step().run(0);
  timed(state, [](Step& s, std::int64_t) { s.optimizer->step(); });
}

}  // namespace

int main(int argc, char** argv) {
  images_path = bench::take_data_option(argc, argv);
  const std::pair<const char*, void (*)(benchmark::State&)> cases[] = {
      {"shuffle_of_an_epoch", shuffle},
      {"gather", gather},
      {"sub_matrix", sub_matrix},
      {"forward", forward},
      {"apply", apply},
      {"loss_and_its_gradient", loss_and_its_gradient},
      {"forward_and_backward", forward_and_backward},
      {"optimizer", optimizer}};
  for (const auto& [name, run] : cases) {
    for (const int threads : {1, 2}) {
      benchmark::RegisterBenchmark(name, run)->ArgName("threads")->Arg(threads)->UseRealTime()->Unit(
          benchmark::kMicrosecond);
    }
  }
  return bench::run(argc, argv);
}
