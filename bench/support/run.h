// The end of a benchmark program's main.
#pragma once

#include <benchmark/benchmark.h>
#include <flatland/kernels/isa.h>

#include <string>

namespace flatland::bench {

// Runs what is registered, by the options of Google Benchmark, and tells the instruction-set level.
inline int run(int& argc, char** argv) {
  benchmark::AddCustomContext("isa", std::string(kernels::name(kernels::active_isa())));
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace flatland::bench
