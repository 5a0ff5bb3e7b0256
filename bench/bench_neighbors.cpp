// Approximate neighbours of many items, and the exact ones beside them. Each case first measures its recall
// on 1,000 items, then times.
//   bench_neighbors [--data=<covertype.csv.gz>] [--benchmark_filter=...]
// Without --data the 92,962 rows of ten columns are made up. "distances" is counted a row.
#include "bench/support/images.h"
#include "bench/support/run.h"

#include <benchmark/benchmark.h>
#include <flatland/dr/readers.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/knn_approximate.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

using namespace flatland;
using namespace flatland::kernels;

namespace {

// Ten numbers a place.
Tensor covertype(const std::string& path) {
  if (path.empty()) return bench::made_up(92962, 10, 2);
  const Table table = read_csv(path);
  return table.numbers(std::span(table.names()).first(10));
}

void run(benchmark::State& state, const Tensor& data, std::int64_t k, bool approximate, int threads) {
  const MatView<const float> x = data.matrix<float>();
  const Exec exec(Device::cpu, threads);
  std::vector<std::int32_t> index(static_cast<std::size_t>(x.rows * k));
  std::vector<float> dist(index.size());
  const MatView<std::int32_t> to(index.data(), x.rows, k);
  const MatView<float> d(dist.data(), x.rows, k);
  KnnApproximateWork work{.distances = x.rows * (x.rows - 1) / 2};
  const auto search = [&] {
    if (approximate)
      work = knn_approximate<float>(exec, metric::euclidean, x, k, {}, to, d);
    else
      knn<float>(exec, metric::euclidean, x, k, to, d);
  };
  search();
  const double recall = knn_recall<float>(exec, metric::euclidean, x, d, 1000, 1);
  if (recall < 0.95) return state.SkipWithError("the recall is below 0.95");
  for (auto _ : state) search();
  state.counters["recall"] = recall;
  state.counters["distances"] = double(work.distances) / double(x.rows);
  state.counters["clusters"] = double(work.clusters);
  state.counters["visits"] = double(work.visits);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string path = bench::take_data_option(argc, argv);
  const std::function<Tensor()> places = [=] { return covertype(path); };
  const std::function<Tensor()> factors = [] { return bench::made_up(100000, 50, 2); };
  const std::function<Tensor()> million = [] { return bench::made_up(1000000, 50, 2); };
  const auto add = [](const std::string& name, const std::function<Tensor()>& make, int k, bool approximate,
                      int threads) {
    const std::string full = (approximate ? "approximate/" : "exact/") + name + "/k:" + std::to_string(k) +
                             "/threads:" + std::to_string(threads);
    benchmark::RegisterBenchmark(
        full.c_str(), [=](benchmark::State& state) { run(state, make(), k, approximate, threads); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  };
  for (const bool approximate : {true, false})
    for (const auto& [name, make] : {std::pair{"92962x10", places}, std::pair{"100000x50", factors}})
      for (const int k : {15, 30})
        for (const int threads : {1, 2}) add(name, make, k, approximate, threads);
  add("1000000x50", million, 15, true, 2);
  return bench::run(argc, argv);
}
