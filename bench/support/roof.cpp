#include "bench/support/roof.h"

#include <flatland/kernels/exec.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <vector>

namespace flatland::bench {

namespace {

constexpr int k_tries = 5;

// The most of what work(exec) says it did that is done in a second, of some tries.
template <class Work>
double best_rate(int threads, const Work& work) {
  const kernels::Exec exec(Device::cpu, threads);
  double best = 0;
  kernels::with_team(exec, [&] {
    for (int i = 0; i < k_tries; ++i) {
      const auto start = std::chrono::steady_clock::now();
      const double amount = work(exec);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      best = std::max(best, amount / seconds.count());
    }
  });
  return best;
}

// measure(threads), once for each number of threads.
template <class Measure>
double once(std::map<int, double>& known, int threads, const Measure& measure) {
  const auto [at, fresh] = known.try_emplace(threads, 0);
  if (fresh) at->second = measure(threads);
  return at->second;
}

}  // namespace

template <class T>
double fma_roof(int threads) {
  static std::map<int, double> known;
  return once(known, threads, [](int n) {
    return best_rate(n, [n](const kernels::Exec& exec) {
      double flop = 0;
      kernels::parallel_for(exec, n, [&](std::int64_t task, int) {
        const double own = kernels::with_isa([](auto isa) { return run_chains<isa, T>(1 << 20); });
        if (task == 0) flop = n * own;  // all do the same
      });
      return flop;
    });
  });
}

double copy_roof(int threads) {
  static std::map<int, double> known;
  return once(known, threads, [](int n) {
    constexpr std::size_t bytes = std::size_t{1} << 27, piece = std::size_t{1} << 22;
    const std::vector<char> from(bytes, 1);
    std::vector<char> to(bytes);
    return best_rate(n, [&](const kernels::Exec& exec) {
      kernels::parallel_for(exec, bytes / piece, [&](std::int64_t task, int) {
        const std::size_t at = static_cast<std::size_t>(task) * piece;
        std::memcpy(to.data() + at, from.data() + at, piece);
      });
      return 2.0 * static_cast<double>(bytes);
    });
  });
}

template double fma_roof<float>(int);
template double fma_roof<double>(int);

}  // namespace flatland::bench
