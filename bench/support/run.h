// What the benchmark programs share: a timed loop, and the end of their main.
#pragma once

#include <benchmark/benchmark.h>
#include <flatland/kernels/isa.h>

#include "bench/support/roof.h"

#include <chrono>
#include <cstdio>
#include <string>

namespace flatland::bench {

// The benchmark's loop around work(); returns how many of the units that one call takes it did a second.
template <class Work>
double timed(benchmark::State& state, double units, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    work();
    benchmark::ClobberMemory();
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return units * static_cast<double>(state.iterations()) / seconds.count();
}

// Runs what is registered, by the options of Google Benchmark, and tells the instruction-set level and the
// machine's roofs.
inline int run(int& argc, char** argv) {
  benchmark::AddCustomContext("isa", std::string(kernels::name(kernels::active_isa())));
  for (const int threads : {1, 2}) {
    char text[80];
    std::snprintf(text, sizeof(text), "%.0f GFLOP/s in float32, %.1f GB/s", fma_roof<float>(threads) * 1e-9,
                  copy_roof(threads) * 1e-9);
    benchmark::AddCustomContext("roof, threads: " + std::to_string(threads), text);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace flatland::bench
