// What the tape itself costs: steps too small to compute anything. Values are checked before anything is
// timed.
//   bench_tape [--benchmark_filter=...]
#include "bench/support/run.h"

#include <benchmark/benchmark.h>
#include <flatland/engine/optim.h>

#include <cstdio>
#include <cstdlib>

using namespace flatland;

namespace {

constexpr int k_chain = 1000;

// x + x + ... + x, and its gradient: one recorded op each.
double chain(Tensor& x) {
  x.zero_grad();
  Tensor y = x;
  for (int i = 0; i < k_chain; ++i) y = y + x;
  y.backward();
  return x.grad().item();
}

void chain_of_additions(benchmark::State& state) {
  kernels::Exec exec(Device::cpu, 1);
  const ExecScope scope(exec);
  Tensor x = Tensor::scalar(1).requires_grad(true);
  if (chain(x) != k_chain + 1) {
    std::fputs("bench_tape: wrong gradient\n", stderr);
    std::exit(1);
  }
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(chain(x));
  state.SetItemsProcessed(state.iterations() * k_chain);
}

void step_of_a_tiny_network(benchmark::State& state) {
  kernels::Exec exec(Device::cpu, 1);
  const ExecScope scope(exec);
  Sequential net({4, 4, 4, 2}, activation::softplus);
  const Tensor x = Tensor::ones({4, 4}), target = Tensor::zeros({4, 2});
  const auto adam = make_optimizer(Adam{}, tensors_of(net.parameters()), 0.01);
  for ([[maybe_unused]] auto _ : state) {
    const Tensor loss = mse_loss(net.forward(x), target);
    adam->zero_grad();
    loss.backward();
    adam->step();
  }
}

}  // namespace

BENCHMARK(chain_of_additions)->Unit(benchmark::kMicrosecond);
BENCHMARK(step_of_a_tiny_network)->Unit(benchmark::kMicrosecond);
int main(int argc, char** argv) {
  return bench::run(argc, argv);
}
