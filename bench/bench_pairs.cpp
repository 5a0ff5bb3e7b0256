// Nearest neighbours and distances of a batch. Each case first compares with float64 sums, then times.
//   bench_pairs [--data=<MNIST images, idx3 or idx3.gz>] [--benchmark_filter=...]
// Without --data the images are made up: sparse combinations of 20 hidden factors. "flop" counts 2 N^2 D / 2
// for kNN (the triangle), "pairs" the pairs of a batch.
#include <benchmark/benchmark.h>
#include <flatland/dr/readers.h>
#include <flatland/kernels/isa.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/pairwise.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

using namespace flatland;
using namespace flatland::kernels;

namespace {

struct Rows {
  std::vector<float> values;
  std::int64_t n = 0, d = 0;
  MatView<const float> view() const { return {values.data(), n, d}; }
};

double uniform(std::mt19937& random) {
  return random() / 4294967296.0;
}

Rows made_up(std::int64_t n, std::int64_t d, unsigned seed) {
  constexpr int factors = 20;
  std::mt19937 random(seed);
  std::vector<double> loading(static_cast<std::size_t>(factors * d));
  for (double& v : loading) v = uniform(random) - 0.5;
  Rows rows{std::vector<float>(static_cast<std::size_t>(n * d)), n, d};
  for (std::int64_t i = 0; i < n; ++i) {
    double factor[factors];
    for (double& f : factor) f = uniform(random) + uniform(random) - 1;
    for (std::int64_t k = 0; k < d; ++k) {
      double sum = 0.1 * uniform(random);
      for (int f = 0; f < factors; ++f) sum += factor[f] * loading[static_cast<std::size_t>(f * d + k)];
      rows.values[static_cast<std::size_t>(i * d + k)] = static_cast<float>(std::max(0., sum));
    }
  }
  return rows;
}

Rows images(const std::string& path, std::int64_t n) {
  if (path.empty()) return made_up(n, 784, 1);
  const Tensor all = read_idx_images(path).to(Dtype::float32);
  const auto matrix = all.matrix<float>();
  if (matrix.rows < n) return made_up(n, 784, 1);
  return {std::vector<float>(matrix.data, matrix.data + n * matrix.cols), n, matrix.cols};
}

// The distances of some rows' neighbours against a sort of all float64 distances.
bool verified(const Rows& x, std::int64_t k, const std::vector<std::int32_t>& index,
              const std::vector<float>& dist) {
  for (std::int64_t i = 0; i < x.n; i += std::max<std::int64_t>(1, x.n / 40)) {
    std::vector<double> all;
    for (std::int64_t j = 0; j < x.n; ++j) {
      double sum = 0;
      for (std::int64_t c = 0; c < x.d; ++c) {
        const double diff = double(x.view()(i, c)) - double(x.view()(j, c));
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

void run_knn(benchmark::State& state, const Rows& x, std::int64_t k, Metric metric, int threads) {
  const Exec exec(Device::cpu, threads);
  std::vector<std::int32_t> index(static_cast<std::size_t>(x.n * k));
  std::vector<float> dist(index.size());
  const auto run = [&] {
    knn<float>(exec, metric, x.view(), k, {index.data(), x.n, k}, {dist.data(), x.n, k});
  };
  run();
  if (metric == metric::euclidean && !verified(x, k, index, dist))
    return state.SkipWithError("differs from the float64 sums");
  for (auto _ : state) run();
  const double flop = double(x.n) * double(x.n) * double(x.d);
  state.counters["flop"] = benchmark::Counter(flop * double(state.iterations()), benchmark::Counter::kIsRate);
}

void run_condensed(benchmark::State& state, Metric metric, bool backward, int threads) {
  const Exec exec(Device::cpu, threads);
  const Rows x = made_up(500, 2, 3);
  const auto pairs = static_cast<std::size_t>(condensed_size(x.n));
  std::vector<float> dist(pairs), g(pairs, 1), dx(x.values.size());
  condensed_distances<float>(exec, metric, x.view(), dist);
  for (std::int64_t i = 0, at = 0; i < x.n; ++i)
    for (std::int64_t j = i + 1; j < x.n; ++j, ++at) {
      const double a = double(x.view()(i, 0)) - double(x.view()(j, 0));
      const double b = double(x.view()(i, 1)) - double(x.view()(j, 1));
      const double want = metric == metric::euclidean ? std::sqrt(a * a + b * b) : a * a + b * b;
      if (std::abs(dist[static_cast<std::size_t>(at)] - want) > 1e-6 * want)
        return state.SkipWithError("differs from the float64 sums");
    }
  for (auto _ : state) {
    if (backward)
      condensed_distances_backward<float>(exec, metric, x.view(), dist, g, {dx.data(), x.n, x.d});
    else
      condensed_distances<float>(exec, metric, x.view(), dist);
  }
  state.counters["pairs"] =
      benchmark::Counter(double(pairs) * double(state.iterations()), benchmark::Counter::kIsRate);
}

}  // namespace

int main(int argc, char** argv) {
  std::string data;
  for (int i = 1; i < argc; ++i)
    if (std::strncmp(argv[i], "--data=", 7) == 0) {
      data = argv[i] + 7;
      std::rotate(argv + i, argv + i + 1, argv + argc);
      --argc;
      --i;
    }
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
        "knn/images_5000x784/k:91", [=] { return images(data, 5000); }, 91);
    add(
        "knn/images_5000x784/k:91/cosine", [=] { return images(data, 5000); }, 91, metric::cosine);
    add(
        "knn/images_20000x784/k:91", [=] { return images(data, 20000); }, 91);
    add(
        "knn/7000x10/k:600", [] { return made_up(7000, 10, 2); }, 600);
    add(
        "knn/1200x64/k:90", [] { return made_up(1200, 64, 2); }, 90);
    add(
        "knn/2000x64/k:90/manhattan", [] { return made_up(2000, 64, 2); }, 90, metric::manhattan);
    if (threads == 2)
      add(
          "knn/made_up_60000x784/k:91", [] { return made_up(60000, 784, 2); }, 91);
    for (const Metric metric : {metric::euclidean, metric::sqeuclidean})
      for (const bool backward : {false, true})
        benchmark::RegisterBenchmark(("condensed/500x2/" + std::string(name(metric.kind)) +
                                      (backward ? "/backward" : "/forward") + end)
                                         .c_str(),
                                     run_condensed, metric, backward, threads)
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
  }
  benchmark::AddCustomContext("isa", std::string(kernels::name(active_isa())));
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
