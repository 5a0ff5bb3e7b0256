// What the GPU does in a routine: whole epochs as a routine runs them, and the kernels that take its time, by
// CUDA's own order of work (each measurement ends with a wait). Without a usable GPU every benchmark says so
// and is skipped.
//   bench_gpu [--benchmark_filter=...]
#include <benchmark/benchmark.h>
#include <flatland/dr/routines.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/relation_ops.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/neighbor_weights.h>

#include <limits>

using namespace flatland;

namespace {

bool usable(benchmark::State& state) {
  if (best_device() == Device::cuda) return true;
  state.SkipWithError("no usable GPU");
  return false;
}

Tensor random_rows(std::int64_t n, std::int64_t d) {
  Tensor x = Tensor::empty({n, d});
  kernels::fill_uniform<float>(current_exec(), {.seed = 1, .stream = 1}, 0, 1, x.mutable_values<float>());
  return x.to(Device::cuda);
}

// One training epoch, replayed from its recording: batch 500 of N items, 784-100-50-2.
void tsne_epoch(benchmark::State& state) {
  if (!usable(state)) return;
  const std::int64_t n = state.range(0), batch = 500;
  ParametricTSNE tsne({.in_dim = 784,
                       .epochs = std::numeric_limits<int>::max(),
                       .init_epochs = 1,
                       .batch_size = batch,
                       .device = Device::cuda});
  tsne.prepare(Dataset(random_rows(n, 784).to(Device::cpu)));
  tsne.run_epochs(8);
  for (auto _ : state) tsne.run_epochs(1);
  const double steps = static_cast<double>((n + batch - 1) / batch);
  state.counters["us_per_step"] = benchmark::Counter(
      steps * 1e-6, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void knn(benchmark::State& state) {
  if (!usable(state)) return;
  const std::int64_t n = state.range(0), d = 784, k = state.range(1);
  const Tensor x = random_rows(n, d);
  Tensor index = Tensor::empty({n, k}, Dtype::int32, Device::cuda);
  Tensor dist = Tensor::empty({n, k}, Dtype::float32, Device::cuda);
  const kernels::Exec exec(Device::cuda);
  const auto run = [&] {
    kernels::knn<float>(exec, metric::euclidean, x.matrix<float>(), k, index.mutable_matrix<std::int32_t>(),
                        dist.mutable_matrix<float>());
    exec.wait();
  };
  run();
  for (auto _ : state) run();
}

// The float32 product of the same distances, in row tiles: what exact kNN is held against.
void knn_product(benchmark::State& state) {
  if (!usable(state)) return;
  const std::int64_t n = state.range(0), d = 784, rows = 2048;
  const Tensor x = random_rows(n, d);
  Tensor tile = Tensor::empty({rows, n}, Dtype::float32, Device::cuda);
  const kernels::Exec exec(Device::cuda);
  const auto run = [&] {
    for (std::int64_t i = 0; i < n; i += rows) {
      const std::int64_t m = std::min(rows, n - i);
      kernels::matmul<float>(exec, kernels::Transpose::b, {x.data<float>() + i * d, m, d}, x.matrix<float>(),
                             kernels::MatView<float>(tile.mutable_data<float>(), m, n));
    }
    exec.wait();
  };
  run();
  for (auto _ : state) run();
}

void perplexity(benchmark::State& state) {
  if (!usable(state)) return;
  const std::int64_t n = state.range(0), k = 90;
  const Tensor dist = random_rows(n, k);
  Tensor p = Tensor::empty({n, k}, Dtype::float32, Device::cuda);
  const kernels::Exec exec(Device::cuda);
  const auto run = [&] {
    kernels::perplexity_weights<float>(exec, dist.matrix<float>(), 30, {}, p.mutable_matrix<float>(), {});
    exec.wait();
  };
  run();
  for (auto _ : state) run();
}

// Loss and gradient over all pairs of N points, with 90 affinities a row.
void kl_student_t(benchmark::State& state) {
  if (!usable(state)) return;
  const std::int64_t n = state.range(0), k = 90;
  Tensor y = random_rows(n, 2);
  y.requires_grad(true);
  std::vector<std::int64_t> begin, end;
  std::vector<std::int32_t> col;
  for (std::int64_t i = 0; i < n; ++i) {
    begin.push_back(i * k);
    end.push_back((i + 1) * k);
    for (std::int64_t j = 0; j < k; ++j) col.push_back(static_cast<std::int32_t>((i / k * k + j) % n));
  }
  const SparseBlock p{n, Tensor::from(begin).to(Device::cuda), Tensor::from(end).to(Device::cuda),
                      Tensor::from(col).to(Device::cuda),
                      Tensor::full({n * k}, 1.0 / static_cast<double>(n * k), Dtype::float32, Device::cuda)};
  const kernels::Exec exec(Device::cuda);
  const auto run = [&] {
    y.zero_grad();
    kl_student_t(y, p).backward();
    exec.wait();
  };
  run();
  for (auto _ : state) run();
}

// The roof: bytes read and written by a copy on the device.
void copy(benchmark::State& state) {
  if (!usable(state)) return;
  const std::size_t bytes = std::size_t{1} << 30;
  const kernels::Exec exec(Device::cuda);
  void* a = kernels::allocate_memory(Device::cuda, bytes);
  void* b = kernels::allocate_memory(Device::cuda, bytes);
  for (auto _ : state) {
    kernels::copy_within(exec, b, a, bytes);
    exec.wait();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 2 *
                          static_cast<std::int64_t>(bytes));
  kernels::free_memory(Device::cuda, a);
  kernels::free_memory(Device::cuda, b);
}

BENCHMARK(tsne_epoch)->Arg(5000)->Arg(20000)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(kl_student_t)->Arg(500)->Arg(5000)->Arg(60000)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(knn)->Args({5000, 91})->Args({70000, 31})->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(knn_product)->Arg(5000)->Arg(70000)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(perplexity)->Arg(5000)->Arg(1000000)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(copy)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
