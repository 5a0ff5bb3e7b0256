// Relations of the standard training step (batch 500 of N = 5,000) and of its preparation. Each case first
// compares with another way to the same values, then times.
//   bench_relations [--benchmark_filter=...]     FLATLAND_ISA=v1|v3|v4 chooses the level
#include "bench/support/run.h"

#include <benchmark/benchmark.h>
#include <flatland/kernels/divergence.h>
#include <flatland/kernels/neighbor_weights.h>
#include <flatland/kernels/similarity.h>
#include <flatland/kernels/sparse.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

using namespace flatland;
using kernels::Exec;
using kernels::In;
using kernels::MatView;
using kernels::Out;
using kernels::SparseRows;

namespace {

constexpr std::int64_t k_items = 5000;

// A wrong kernel must not look fast.
void require(bool right, const char* what) {
  if (right) return;
  std::fprintf(stderr, "bench_relations: %s is wrong\n", what);
  std::exit(1);
}

std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

// N items on a line of clusters: k neighbours among the items close by, ascending distances.
struct Graph {
  std::int64_t n, k;
  std::vector<std::int32_t> index;
  std::vector<float> dist;
};
Graph graph(std::int64_t n, std::int64_t k) {
  std::mt19937 random(3);
  Graph g{n, k, {}, {}};
  std::vector<std::int32_t> near(at(2 * k));
  std::vector<std::int64_t> place(at(n));  // neighbours have unrelated numbers
  std::iota(place.begin(), place.end(), 0);
  std::shuffle(place.begin(), place.end(), random);
  std::vector<std::int32_t> rank(at(n));
  for (std::int64_t i = 0; i < n; ++i) rank[at(place[at(i)])] = static_cast<std::int32_t>(i);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < 2 * k; ++j)
      near[at(j)] = static_cast<std::int32_t>(place[at((rank[at(i)] + 1 + j - (j < k ? k + 1 : k) + n) % n)]);
    std::shuffle(near.begin(), near.end(), random);
    g.index.insert(g.index.end(), near.begin(), near.begin() + k);
    std::vector<float> row(at(k));
    for (float& d : row) d = 4 + 4 * std::sqrt(static_cast<float>(random()) / 4.3e9F);
    std::sort(row.begin(), row.end());
    g.dist.insert(g.dist.end(), row.begin(), row.end());
  }
  return g;
}

struct Sparse {
  std::int64_t n = 0;
  std::vector<std::int64_t> offset;
  std::vector<std::int32_t> col;
  std::vector<float> value;
  SparseRows<float> view() const {
    return {n, n, offset.data(), offset.data() + 1, col.data(), value.data()};
  }
};
Sparse symmetrized(const Exec& exec, const Graph& g, const std::vector<float>& weight) {
  Sparse s{g.n, std::vector<std::int64_t>(at(g.n + 1)), {}, {}};
  const MatView<const std::int32_t> index(g.index.data(), g.n, g.k);
  const std::size_t entries = at(kernels::symmetrize_count(exec, index, s.offset));
  s.col.resize(entries);
  s.value.resize(entries);
  kernels::symmetrize<float>(exec, kernels::SymmetrizeKind::mean, index, In<float>(weight.data(), g.n, g.k),
                             s.offset, s.col, s.value);
  return s;
}
std::vector<float> weights(const Exec& exec, const Graph& g) {
  std::vector<float> p(g.dist.size());
  const std::int64_t missed = kernels::perplexity_weights<float>(exec, In<float>(g.dist.data(), g.n, g.k),
                                                                 static_cast<double>(g.k) / 3, {},
                                                                 MatView<float>(p.data(), g.n, g.k), {});
  require(missed == 0, "perplexity_weights");
  return p;
}

// Entropies of the rows against the target, then the search.
void perplexity(benchmark::State& state) {
  const Exec exec(Device::cpu, static_cast<int>(state.range(1)));
  const Graph g = graph(k_items, state.range(0));
  const std::vector<float> p = weights(exec, g);
  for (std::int64_t i = 0; i < g.n; ++i) {
    double h = 0;
    for (std::int64_t j = 0; j < g.k; ++j) {
      const double v = static_cast<double>(p[at(i * g.k + j)]);
      if (v > 0) h -= v * std::log(v);
    }
    require(std::abs(h - std::log(static_cast<double>(g.k) / 3)) < 1e-5, "perplexity_weights");
  }
  std::vector<float> out(g.dist.size());
  for (auto _ : state)
    kernels::perplexity_weights<float>(exec, In<float>(g.dist.data(), g.n, g.k), static_cast<double>(g.k) / 3,
                                       {}, MatView<float>(out.data(), g.n, g.k), {});
  state.counters["points"] =
      benchmark::Counter(static_cast<double>(g.n), benchmark::Counter::kIsIterationInvariantRate);
}

void connectivity(benchmark::State& state) {
  const Exec exec(Device::cpu, static_cast<int>(state.range(1)));
  const Graph g = graph(k_items, state.range(0));
  std::vector<float> out(g.dist.size());
  const auto run = [&] {
    return kernels::connectivity_weights<float>(exec, In<float>(g.dist.data(), g.n, g.k),
                                                static_cast<double>(g.k), {},
                                                MatView<float>(out.data(), g.n, g.k), {});
  };
  require(run() == 0, "connectivity_weights");
  for (auto _ : state) run();
  state.counters["points"] =
      benchmark::Counter(static_cast<double>(g.n), benchmark::Counter::kIsIterationInvariantRate);
}

void symmetrize(benchmark::State& state) {
  const Exec exec(Device::cpu, static_cast<int>(state.range(1)));
  const Graph g = graph(k_items, state.range(0));
  const std::vector<float> p = weights(exec, g);
  const Sparse s = symmetrized(exec, g, p);
  require(std::abs(std::accumulate(s.value.begin(), s.value.end(), 0.0) - k_items) < 0.1, "symmetrize");
  for (auto _ : state) symmetrized(exec, g, p);
  state.counters["entries"] = static_cast<double>(s.col.size());
}

// The relations of a batch of b items.
struct Batch {
  Exec exec;
  Sparse p;
  std::vector<std::int64_t> index;
  std::vector<std::int32_t> position;
  std::vector<std::int64_t> begin, end;
  std::vector<std::int32_t> col;
  std::vector<float> value, y;
  std::int64_t b;

  Batch(int threads, std::int64_t k, std::int64_t n, std::int64_t b) : exec(Device::cpu, threads), b(b) {
    const Graph g = graph(n, k);
    p = symmetrized(exec, g, weights(exec, g));
    std::mt19937 random(5);
    index.resize(at(n));
    std::iota(index.begin(), index.end(), 0);
    std::shuffle(index.begin(), index.end(), random);
    index.resize(at(b));
    position.assign(at(n), -1);
    begin.resize(at(b));
    end.resize(at(b));
    const std::int64_t capacity = std::min(b, longest());
    col.resize(at(b * capacity));
    value.resize(at(b * capacity));
    for (std::int64_t i = 0; i < 2 * b; ++i) y.push_back(static_cast<float>(random()) / 4e8F - 5);
    take();
  }
  std::int64_t longest() const {
    std::int64_t most = 0;
    for (std::int64_t i = 0; i < p.n; ++i) most = std::max(most, p.offset[at(i + 1)] - p.offset[at(i)]);
    return most;
  }
  void take() {
    kernels::sparse_block<float>(exec, p.view(), index, position, true, std::ssize(col) / b, begin, end, col,
                                 value);
  }
  SparseRows<float> rows() const { return {b, b, begin.data(), end.data(), col.data(), value.data()}; }
  double entries_a_row() const { return static_cast<double>(p.col.size()) / static_cast<double>(p.n); }
};

void sparse_block(benchmark::State& state) {
  Batch batch(static_cast<int>(state.range(1)), state.range(0), k_items, 500);
  double sum = 0;
  for (std::int64_t i = 0; i < batch.b; ++i)
    for (std::int64_t e = batch.begin[at(i)]; e < batch.end[at(i)]; ++e)
      sum += static_cast<double>(batch.value[at(e)]);
  require(std::abs(sum - 1) < 1e-5, "sparse_block");
  for (auto _ : state) batch.take();
  state.counters["nnz_a_row"] = batch.entries_a_row();
}

void dense_block(benchmark::State& state) {
  Batch batch(static_cast<int>(state.range(1)), state.range(0), k_items, 500);
  std::vector<float> block(at(batch.b * batch.b));
  const auto run = [&] {
    kernels::dense_block<float>(batch.exec, batch.p.view(), batch.index, batch.position, true,
                                MatView<float>(block.data(), batch.b, batch.b));
  };
  run();
  require(std::abs(std::accumulate(block.begin(), block.end(), 0.0) - 1) < 1e-5, "dense_block");
  for (auto _ : state) run();
  state.counters["nnz_a_row"] = batch.entries_a_row();
}

// The whole objective by separate kernels over dense matrices, as the composed ops run it.
struct Composed {
  std::int64_t n;
  std::vector<float> p, dist, w, q, dq, dw, d_dist, dy;

  explicit Composed(const Batch& batch)
      : n(batch.b), p(at(n * n), 0.0F), dist(p), w(p), q(p), dq(p), dw(p), d_dist(p), dy(at(2 * n)) {
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t e = batch.begin[at(i)]; e < batch.end[at(i)]; ++e)
        p[at(i * n + batch.col[at(e)])] = batch.value[at(e)];
  }
  float run(const Exec& exec, const std::vector<float>& y, double alpha) {
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        const float a = y[at(2 * i)] - y[at(2 * j)], b = y[at(2 * i + 1)] - y[at(2 * j + 1)];
        dist[at(i * n + j)] = std::sqrt(a * a + b * b);
      }
    kernels::student_t<float>(exec, alpha, dist, w);
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) w[at(i * n + i)] = 0;
    for (const float v : w) sum += static_cast<double>(v);
    for (std::size_t e = 0; e < w.size(); ++e) q[e] = w[e] / static_cast<float>(sum);
    const MatView<const float> pv(p.data(), n, n), qv(q.data(), n, n);
    const float loss = kernels::kl_divergence<float>(exec, 1e-7, pv, qv);
    const float one = 1;
    kernels::kl_divergence_backward<float>(exec, 1e-7, &one, pv, qv, Out<float>(dq.data(), n, n),
                                           Out<float>());
    double inner = 0;
    for (std::size_t e = 0; e < w.size(); ++e)
      inner += static_cast<double>(dq[e]) * static_cast<double>(q[e]);
    for (std::size_t e = 0; e < w.size(); ++e)
      dw[e] = static_cast<float>((static_cast<double>(dq[e]) - inner) / sum);
    kernels::student_t_backward<float>(exec, alpha, dist, w, dw, d_dist, nullptr);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t c = 0; c < 2; ++c) {
        double force = 0;
        for (std::int64_t j = 0; j < n; ++j)
          if (j != i && dist[at(i * n + j)] > 0)
            force += static_cast<double>(2 * d_dist[at(i * n + j)] / dist[at(i * n + j)] *
                                         (y[at(2 * i + c)] - y[at(2 * j + c)]));
        dy[at(2 * i + c)] = static_cast<float>(force);
      }
    return loss;
  }
};

// range: batch, threads, 100 alpha
void kl_student_t(benchmark::State& state) {
  const std::int64_t b = state.range(0);
  const Batch batch(static_cast<int>(state.range(1)), 90, std::max(k_items, b), b);
  const double alpha = static_cast<double>(state.range(2)) / 100;
  std::vector<float> dy(at(2 * b));
  const auto run = [&] {
    return kernels::kl_student_t<float>(batch.exec, alpha, 1e-7, MatView<const float>(batch.y.data(), b, 2),
                                        batch.rows(), Out<float>(dy.data(), b, 2));
  };
  if (b <= 1000) {
    Composed composed(batch);
    const float want = composed.run(batch.exec, batch.y, alpha);
    require(std::abs(run() - want) <= 1e-5F * std::abs(want), "kl_student_t");
    float largest = 0;
    for (const float v : composed.dy) largest = std::max(largest, std::abs(v));
    for (std::size_t i = 0; i < dy.size(); ++i)
      require(std::abs(dy[i] - composed.dy[i]) <= 1e-4F * largest, "the gradient of kl_student_t");
  }
  for (auto _ : state) benchmark::DoNotOptimize(run());
  state.counters["pairs"] =
      benchmark::Counter(static_cast<double>(b * b), benchmark::Counter::kIsIterationInvariantRate);
}

void kl_student_t_composed(benchmark::State& state) {
  const Batch batch(static_cast<int>(state.range(1)), 90, k_items, state.range(0));
  Composed composed(batch);
  for (auto _ : state) benchmark::DoNotOptimize(composed.run(batch.exec, batch.y, 1));
}

void fuzzy_cross_entropy(benchmark::State& state) {
  const Exec exec(Device::cpu, static_cast<int>(state.range(1)));
  const std::size_t n = at(state.range(0));
  std::vector<float> dist(n), p(n), q(n), g(n);
  for (std::size_t i = 0; i < n; ++i) {
    dist[i] = 0.01F * static_cast<float>(i);
    p[i] = static_cast<float>(i % 4 == 0);
  }
  const float one = 1;
  for (auto _ : state) {
    kernels::modified_cauchy<float>(exec, 1.58, 0.9, dist, q);
    benchmark::DoNotOptimize(kernels::fuzzy_cross_entropy<float>(exec, 1e-7, p, std::span<const float>(q)));
    kernels::fuzzy_cross_entropy_backward<float>(exec, 1e-7, &one, p, q, g);
    kernels::modified_cauchy_backward<float>(exec, 1.58, 0.9, dist, q, g, g, nullptr, nullptr);
  }
}

BENCHMARK(perplexity)->ArgsProduct({{90, 300}, {1, 2}})->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(connectivity)->ArgsProduct({{30}, {1, 2}})->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(symmetrize)->ArgsProduct({{90, 300}, {1, 2}})->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(sparse_block)->ArgsProduct({{90, 170, 1300}, {1, 2}})->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(dense_block)->ArgsProduct({{170}, {1, 2}})->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(kl_student_t)
    ->ArgsProduct({{500}, {1, 2}, {100, 250}})
    ->Args({5000, 1, 100})
    ->Args({5000, 2, 100})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(kl_student_t_composed)->ArgsProduct({{500}, {1, 2}})->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(fuzzy_cross_entropy)->ArgsProduct({{2000}, {1}})->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv);
}
