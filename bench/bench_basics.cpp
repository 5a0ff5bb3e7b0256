// The small kernels of a training step: shuffling, batches by index, bias gradients, the optimizer, and
// elementwise work. Each case first checks its result by a plain loop, then times; "B/s" is what the contract
// says must move, "of_roof" its share of what a copy of large arrays moves: more where a cache holds the
// data.
//   bench_basics [--benchmark_filter=...]     FLATLAND_ISA=v1|v3|v4 chooses the level
#include "bench/support/run.h"

#include <benchmark/benchmark.h>
#include <flatland/kernels/elementwise.h>
#include <flatland/kernels/gather.h>
#include <flatland/kernels/optimizer.h>
#include <flatland/kernels/random.h>
#include <flatland/kernels/reduce.h>

#include <cmath>
#include <string>
#include <vector>

using namespace flatland;
using kernels::Exec;
using kernels::MatView;
using kernels::ParameterView;
using kernels::RandomStream;

namespace {

constexpr std::int64_t k_rows = 500, k_items = 5000;

std::vector<float> random_values(std::int64_t n, std::uint64_t stream) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(2 * RandomStream{7, stream}.uniform(i) - 1);
  return values;
}

bool close(double got, double want) {
  return std::abs(got - want) <= 1e-5 * (std::abs(want) + 1);
}

Exec exec_of(const benchmark::State& state) {
  return Exec(Device::cpu, static_cast<int>(state.range(0)));
}

// Times `run` after `verified` approves of its first result.
template <class Run, class Verified>
void time_verified(benchmark::State& state, double bytes, Run run, Verified verified) {
  run();
  if (!verified()) return state.SkipWithError("differs from the plain loop");
  const double rate = bench::timed(state, bytes, run);
  state.counters["B/s"] = rate;
  state.counters["of_roof"] = rate / bench::copy_roof(static_cast<int>(state.range(0)));
}

void permutation(benchmark::State& state) {
  const Exec exec = exec_of(state);
  std::vector<std::int64_t> p(static_cast<std::size_t>(state.range(1)));
  const RandomStream random{1, 2};
  time_verified(
      state, 8.0 * static_cast<double>(p.size()), [&] { kernels::random_permutation(exec, random, p); },
      [&] {
        for (std::size_t i = 1; i < p.size(); ++i)
          if (random.bits64(static_cast<std::uint64_t>(p[i - 1])) >
              random.bits64(static_cast<std::uint64_t>(p[i])))
            return false;
        return true;
      });
}

void adam(benchmark::State& state) {
  const Exec exec = exec_of(state);
  const std::int64_t n = 83652;  // 784-100-50-2
  std::vector<float> value = random_values(n, 1), grad = random_values(n, 2);
  std::vector<float> m(value.size()), v(value.size());
  const std::vector<float> before = value;
  const std::int64_t edges[] = {0, 78400, 78500, 83500, 83550, 83650, n};
  const double lr = 0.01;
  kernels::ParameterClock clocks[6];
  std::vector<ParameterView<float>> parameters;
  for (int k = 0; k < 6; ++k) {
    const std::int64_t at = edges[k];
    parameters.push_back({&value[static_cast<std::size_t>(at)], &grad[static_cast<std::size_t>(at)],
                          &m[static_cast<std::size_t>(at)], &v[static_cast<std::size_t>(at)],
                          edges[k + 1] - at, &clocks[k]});
  }
  time_verified(
      state, 28.0 * static_cast<double>(n), [&] { kernels::adam_step<float>(exec, {}, &lr, parameters); },
      [&] {  // the first step has m = g and v = g^2 after the corrections
        for (std::size_t i = 0; i < value.size(); ++i) {
          const double g = grad[i];
          if (std::abs(value[i] - (before[i] - 0.01 * g / (std::abs(g) + 1e-8))) > 1e-6) return false;
        }
        return true;
      });
}

void gather(benchmark::State& state) {
  const Exec exec = exec_of(state);
  const std::int64_t cols = state.range(1);
  const std::vector<float> x = random_values(k_items * cols, 3);
  std::vector<float> y(static_cast<std::size_t>(k_rows * cols));
  std::vector<std::int64_t> index(k_rows);
  for (std::size_t i = 0; i < index.size(); ++i)
    index[i] = static_cast<std::int64_t>(RandomStream{7, 4}.below(i, k_items));
  const MatView<const float> from(x.data(), k_items, cols);
  const MatView<float> to(y.data(), k_rows, cols);
  time_verified(
      state, 8.0 * static_cast<double>(y.size()), [&] { kernels::gather_rows<float>(exec, from, index, to); },
      [&] {
        for (std::int64_t i = 0; i < k_rows; ++i)
          for (std::int64_t j = 0; j < cols; ++j)
            if (to(i, j) != from(index[static_cast<std::size_t>(i)], j)) return false;
        return true;
      });
}

void column_sums(benchmark::State& state) {
  const Exec exec = exec_of(state);
  const std::int64_t cols = state.range(1);
  const std::vector<float> x = random_values(k_rows * cols, 5);
  const MatView<const float> m(x.data(), k_rows, cols);
  std::vector<float> s(static_cast<std::size_t>(cols));
  time_verified(
      state, 4.0 * static_cast<double>(x.size()), [&] { kernels::column_sums<float>(exec, m, s); },
      [&] {
        for (std::int64_t j = 0; j < cols; ++j) {
          double sum = 0;
          for (std::int64_t i = 0; i < k_rows; ++i) sum += m(i, j);
          if (!close(s[static_cast<std::size_t>(j)], sum)) return false;
        }
        return true;
      });
}

void sum(benchmark::State& state) {
  const Exec exec = exec_of(state);
  const std::vector<float> x = random_values(k_rows * 784, 6);
  double want = 0, got = 0;
  for (const float v : x) want += v;
  time_verified(
      state, 4.0 * static_cast<double>(x.size()),
      [&] {
        got = kernels::sum<float>(exec, {x.data(), k_rows, 784});
      },
      [&] { return close(got, want); });
}

void exp(benchmark::State& state) {
  const Exec exec = exec_of(state);
  const std::vector<float> x = random_values(k_rows * 784, 7);
  std::vector<float> y(x.size());
  time_verified(
      state, 8.0 * static_cast<double>(x.size()),
      [&] { kernels::unary<float>(exec, kernels::UnaryOp::exp, x, y); },
      [&] {
        for (std::size_t i = 0; i < x.size(); ++i)
          if (!close(y[i], std::exp(static_cast<double>(x[i])))) return false;
        return true;
      });
}

void add_row(benchmark::State& state) {
  const Exec exec = exec_of(state);
  const std::vector<float> x = random_values(k_rows * 784, 8), row = random_values(784, 9);
  std::vector<float> y(x.size());
  time_verified(
      state, 8.0 * static_cast<double>(x.size()),
      [&] {
        kernels::binary<float>(exec, kernels::BinaryOp::add, {1, 1, k_rows, 784}, {x.data(), {0, 0, 784, 1}},
                               {row.data(), {0, 0, 0, 1}}, y.data());
      },
      [&] {
        for (std::size_t i = 0; i < x.size(); ++i)
          if (y[i] != x[i] + row[i % 784]) return false;
        return true;
      });
}

void fill_normal(benchmark::State& state) {
  const Exec exec = exec_of(state);
  std::vector<float> y(100000);
  time_verified(
      state, 4.0 * static_cast<double>(y.size()),
      [&] {
        kernels::fill_normal<float>(exec, {1, 3}, 0, 1, y);
      },
      [&] {
        double mean = 0;
        for (const float v : y) mean += v / static_cast<double>(y.size());
        return std::abs(mean) < 0.02;
      });
}

const std::vector<std::int64_t> k_threads{1, 2};

BENCHMARK(permutation)->ArgsProduct({k_threads, {5000, 60000}})->ArgNames({"threads", "n"})->UseRealTime();
BENCHMARK(adam)->ArgsProduct({k_threads})->ArgNames({"threads"})->UseRealTime();
BENCHMARK(gather)->ArgsProduct({k_threads, {2, 784}})->ArgNames({"threads", "cols"})->UseRealTime();
BENCHMARK(column_sums)->ArgsProduct({k_threads, {2, 100, 784}})->ArgNames({"threads", "cols"})->UseRealTime();
BENCHMARK(sum)->ArgsProduct({k_threads})->ArgNames({"threads"})->UseRealTime();
BENCHMARK(exp)->ArgsProduct({k_threads})->ArgNames({"threads"})->UseRealTime();
BENCHMARK(add_row)->ArgsProduct({k_threads})->ArgNames({"threads"})->UseRealTime();
BENCHMARK(fill_normal)->ArgsProduct({k_threads})->ArgNames({"threads"})->UseRealTime();

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv);
}
