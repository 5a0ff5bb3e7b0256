// Matrix products of a training step, an application and a covariance. Each case first compares with float64
// sums, then times; "of_roof" is the share of the rate of fused multiply-adds in registers.
//   bench_matmul [--benchmark_filter=...]     FLATLAND_ISA=v1|v3|v4 chooses the level
#include "bench/support/run.h"

#include <benchmark/benchmark.h>
#include <flatland/kernels/matmul.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace flatland;
using kernels::MatView;
using kernels::Transpose;

namespace {

struct Case {
  const char* name;
  Transpose transpose;
  std::int64_t m, n, k;
};

const Case k_cases[] = {
    {"layer_1", Transpose::b, 500, 100, 784},       {"layer_2", Transpose::b, 500, 50, 100},
    {"layer_3", Transpose::b, 500, 2, 50},          {"umap_layer_1", Transpose::b, 2000, 100, 784},
    {"umap_layer_2", Transpose::b, 2000, 100, 100}, {"umap_dw_1", Transpose::a, 100, 784, 2000},
    {"umap_dw_2", Transpose::a, 100, 100, 2000},    {"umap_dx_2", Transpose::none, 2000, 100, 100},
    {"dw_1", Transpose::a, 100, 784, 500},          {"dw_2", Transpose::a, 50, 100, 500},
    {"dx_2", Transpose::none, 500, 100, 50},        {"apply", Transpose::b, 5000, 100, 784},
    {"covariance", Transpose::a, 784, 784, 5000},   {"square", Transpose::none, 1024, 1024, 1024},
    {"one_row", Transpose::b, 1, 100, 784},         {"ae_layer_1", Transpose::b, 64, 128, 784},
    {"ae_layer_4", Transpose::b, 64, 784, 128},     {"ae_dw_1", Transpose::a, 128, 784, 64},
    {"ae_dw_4", Transpose::a, 784, 128, 64},        {"ae_dx_4", Transpose::none, 64, 128, 784},
};

template <class T>
std::vector<T> random_values(std::int64_t n) {
  static std::mt19937 random(7);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& v : values) v = static_cast<T>(random() / 2147483648.0 - 1);
  return values;
}

template <class T>
struct Problem {
  Case shape;
  std::vector<T> a, b, c;
  MatView<const T> va, vb;
  MatView<T> vc;

  explicit Problem(const Case& s)
      : shape(s),
        a(random_values<T>(s.m * s.k)),
        b(random_values<T>(s.k * s.n)),
        c(static_cast<std::size_t>(s.m * s.n)) {
    va = s.transpose == Transpose::a ? MatView<const T>(a.data(), s.k, s.m)
                                     : MatView<const T>(a.data(), s.m, s.k);
    vb = s.transpose == Transpose::b ? MatView<const T>(b.data(), s.n, s.k)
                                     : MatView<const T>(b.data(), s.k, s.n);
    vc = MatView<T>(c.data(), s.m, s.n);
  }
  void run(const kernels::Exec& exec) { kernels::matmul<T>(exec, shape.transpose, va, vb, vc); }

  // Against float64 sums, at some 2,000 places.
  bool verified() const {
    const std::int64_t step = std::max<std::int64_t>(1, shape.m * shape.n / 2000);
    for (std::int64_t at = 0; at < shape.m * shape.n; at += step) {
      const std::int64_t i = at / shape.n, j = at % shape.n;
      double sum = 0, size = 0;
      for (std::int64_t k = 0; k < shape.k; ++k) {
        const double x = shape.transpose == Transpose::a ? va(k, i) : va(i, k);
        const double y = shape.transpose == Transpose::b ? vb(j, k) : vb(k, j);
        sum += x * y;
        size += std::abs(x * y);
      }
      if (!(std::abs(vc(i, j) - sum) <= 8 * std::numeric_limits<T>::epsilon() * size)) return false;
    }
    return true;
  }
};

template <class T>
void run(benchmark::State& state, const Case& shape, int threads) {
  const kernels::Exec exec(Device::cpu, threads);
  Problem<T> problem(shape);
  problem.run(exec);
  if (!problem.verified()) return state.SkipWithError("differs from the float64 sums");
  const double flop = 2.0 * double(shape.m) * double(shape.n) * double(shape.k);
  const double rate = bench::timed(state, flop, [&] { problem.run(exec); });
  state.counters["FLOP/s"] = rate;
  state.counters["of_roof"] = rate / bench::fma_roof<T>(threads);
}

}  // namespace

int main(int argc, char** argv) {
  for (const int threads : {1, 2})
    for (const Case& shape : k_cases) {
      const std::string name = std::string(shape.name) + '/' + std::to_string(shape.m) + 'x' +
                               std::to_string(shape.n) + 'x' + std::to_string(shape.k) +
                               "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(("float/" + name).c_str(), run<float>, shape, threads)->UseRealTime();
      benchmark::RegisterBenchmark(("double/" + name).c_str(), run<double>, shape, threads)->UseRealTime();
    }
  return bench::run(argc, argv);
}
