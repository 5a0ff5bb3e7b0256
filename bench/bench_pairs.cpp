// Nearest neighbours and distances of a batch. Each case first compares with float64 sums, then times.
//   bench_pairs [--data=<MNIST images, idx3 or idx3.gz>] [--benchmark_filter=...]
// Without --data the images are made up. FLOP are 2 N^2 D / 2 for kNN (the triangle), "of_roof" is the share
// of the rate of fused multiply-adds in registers, "pairs" the pairs of a batch.
#include "bench/support/images.h"
#include "bench/support/run.h"

#include <benchmark/benchmark.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/pairwise.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

using namespace flatland;
using namespace flatland::kernels;

namespace {

using Rows = MatView<const float>;

// The distances of some rows' neighbours against a sort of all float64 distances.
bool verified(const Rows& x, std::int64_t k, const std::vector<std::int32_t>& index,
              const std::vector<float>& dist) {
  for (std::int64_t i = 0; i < x.rows; i += std::max<std::int64_t>(1, x.rows / 40)) {
    std::vector<double> all;
    for (std::int64_t j = 0; j < x.rows; ++j) {
      double sum = 0;
      for (std::int64_t c = 0; c < x.cols; ++c) {
        const double diff = double(x(i, c)) - double(x(j, c));
        sum += diff * diff;
      }
      if (i != j) all.push_back(std::sqrt(sum));
    }
    std::sort(all.begin(), all.end());
    for (std::int64_t r = 0; r < k; ++r) {
      const auto at = static_cast<std::size_t>(i * k + r);
      if (index[at] == i || std::abs(dist[at] - all[static_cast<std::size_t>(r)]) > 1e-6 * all.back())
        return false;
    }
  }
  return true;
}

void run_knn(benchmark::State& state, const Tensor& data, std::int64_t k, Metric metric, int threads) {
  const Rows x = data.matrix<float>();
  const Exec exec(Device::cpu, threads);
  std::vector<std::int32_t> index(static_cast<std::size_t>(x.rows * k));
  std::vector<float> dist(index.size());
  const auto run = [&] {
    knn<float>(exec, metric, x, k, {index.data(), x.rows, k}, {dist.data(), x.rows, k});
  };
  run();
  if (metric == metric::euclidean && !verified(x, k, index, dist))
    return state.SkipWithError("differs from the float64 sums");
  const double rate = bench::timed(state, double(x.rows) * double(x.rows) * double(x.cols), run);
  state.counters["FLOP/s"] = rate;
  state.counters["of_roof"] = rate / bench::fma_roof<float>(threads);
}

void run_condensed(benchmark::State& state, Metric metric, bool backward, int threads) {
  const Exec exec(Device::cpu, threads);
  const Tensor points = bench::made_up(500, 2, 3);
  const Rows x = points.matrix<float>();
  const auto pairs = static_cast<std::size_t>(condensed_size(x.rows));
  std::vector<float> dist(pairs), g(pairs, 1), dx(static_cast<std::size_t>(points.numel()));
  condensed_distances<float>(exec, metric, x, dist);
  for (std::int64_t i = 0, at = 0; i < x.rows; ++i)
    for (std::int64_t j = i + 1; j < x.rows; ++j, ++at) {
      const double a = double(x(i, 0)) - double(x(j, 0));
      const double b = double(x(i, 1)) - double(x(j, 1));
      const double want = metric == metric::euclidean ? std::sqrt(a * a + b * b) : a * a + b * b;
      if (std::abs(dist[static_cast<std::size_t>(at)] - want) > 1e-6 * want)
        return state.SkipWithError("differs from the float64 sums");
    }
  for (auto _ : state) {
    if (backward)
      condensed_distances_backward<float>(exec, metric, x, dist, g, {dx.data(), x.rows, x.cols});
    else
      condensed_distances<float>(exec, metric, x, dist);
  }
  state.counters["pairs"] =
      benchmark::Counter(double(pairs) * double(state.iterations()), benchmark::Counter::kIsRate);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string data = bench::take_data_option(argc, argv);
  for (const int threads : {1, 2}) {
    const std::string end = "/threads:" + std::to_string(threads);
    const auto add = [&](const std::string& name, auto make, std::int64_t k,
                         Metric metric = metric::euclidean) {
      benchmark::RegisterBenchmark(
          (name + end).c_str(), [=](benchmark::State& state) { run_knn(state, make(), k, metric, threads); })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    };
    add(
        "knn/images_5000x784/k:91", [=] { return bench::images(data, 5000); }, 91);
    add(
        "knn/images_5000x784/k:91/cosine", [=] { return bench::images(data, 5000); }, 91, metric::cosine);
    add(
        "knn/images_20000x784/k:91", [=] { return bench::images(data, 20000); }, 91);
    add(
        "knn/7000x10/k:600", [] { return bench::made_up(7000, 10, 2); }, 600);
    add(
        "knn/1200x64/k:90", [] { return bench::made_up(1200, 64, 2); }, 90);
    add(
        "knn/2000x64/k:90/manhattan", [] { return bench::made_up(2000, 64, 2); }, 90, metric::manhattan);
    if (threads == 2)
      add(
          "knn/made_up_60000x784/k:91", [] { return bench::made_up(60000, 784, 2); }, 91);
    for (const Metric metric : {metric::euclidean, metric::sqeuclidean})
      for (const bool backward : {false, true})
        benchmark::RegisterBenchmark(("condensed/500x2/" + std::string(name(metric.kind)) +
                                      (backward ? "/backward" : "/forward") + end)
                                         .c_str(),
                                     run_condensed, metric, backward, threads)
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
  }
  return bench::run(argc, argv);
}
