// A training loop of one's own, as the example `autoencoder` has it: a loader over 5,000 images of 784
// pixels, batches of 64, 784-128-2-128-784, squared error, gradient descent. A row of the table is one step;
// epochs of 79 are timed.
//   bench_loop [--data=<MNIST images, idx3 or idx3.gz>] [--benchmark_filter=...]     FLATLAND_ISA=v1|v3|v4
//   chooses the level
#include "bench/support/images.h"
#include "bench/support/run.h"

#include <benchmark/benchmark.h>
#include <flatland/dr/loader.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/optim.h>
#include <flatland/kernels/parallel.h>
#include <flatland/models/autoencoder.h>

#include <cstdio>
#include <cstdlib>
#include <string>

using namespace flatland;

namespace {

constexpr std::int64_t k_items = 5000, k_columns = 784, k_batch = 64;

Tensor data;

struct Loop {
  Autoencoder model{{.in_dim = k_columns}};
  std::unique_ptr<Optimizer> optimizer = make_optimizer(SGD{}, tensors_of(model.parameters()), 0.25);
  DataLoader loader{Dataset(data), {.batch_size = k_batch, .shuffle = true, .seed = 1}};

  Loop() { model.initialize(1); }
  // The mean loss of its batches.
  double epoch() {
    Tensor total = Tensor::scalar(0, Dtype::float32);
    for (const Dataset& batch : loader) {
      optimizer->zero_grad();
      const Tensor loss = mse_loss(model.reconstruct(batch["main"]), batch["main"]);
      loss.backward();
      optimizer->step();
      const NoGrad not_recorded;
      total = total + loss;
    }
    return total.item() / static_cast<double>(loader.batches());
  }
};

// Before anything is timed: threads do not change the loss, and training lowers it.
void verify() {
  double first[2] = {}, last[2] = {};
  for (const int threads : {1, 2}) {
    kernels::Exec exec(Device::cpu, threads);
    const ExecScope scope(exec);
    Loop loop;
    first[threads - 1] = loop.epoch();
    for (int i = 0; i < 10; ++i) last[threads - 1] = loop.epoch();
  }
  if (first[0] == first[1] && last[0] == last[1] && last[0] < first[0]) return;
  std::fprintf(stderr, "bench_loop: losses %.17g to %.17g with 1 thread, %.17g to %.17g with 2\n", first[0],
               last[0], first[1], last[1]);
  std::exit(1);
}

void autoencoder_step(benchmark::State& state) {
  kernels::Exec exec(Device::cpu, static_cast<int>(state.range(0)));
  const ExecScope scope(exec);
  kernels::with_team(exec, [&] {
    Loop loop;
    loop.epoch();
    while (state.KeepRunningBatch(loop.loader.batches())) loop.epoch();
  });
}

}  // namespace

int main(int argc, char** argv) {
  data = bench::images(bench::take_data_option(argc, argv), k_items);
  verify();
  for (const int threads : {1, 2}) {
    benchmark::RegisterBenchmark("autoencoder_step", autoencoder_step)
        ->ArgName("threads")
        ->Arg(threads)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
  return bench::run(argc, argv);
}
