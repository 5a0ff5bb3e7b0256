// What the machine can do at most, measured: fused multiply-adds and copies.
#pragma once

#include <flatland/kernels/isa.h>

#include <cstdint>

namespace flatland::bench {

// FLOP/s of `threads` threads that do nothing but multiply and add in registers, at the active level; x86-64
// without FMA multiplies, then adds. The best of some tries, measured once. T: float or double.
template <class T>
double fma_roof(int threads);

// Bytes/s read and written by copies of arrays that no cache holds. The best of some tries, measured once.
double copy_roof(int threads);

// The loop of fma_roof at one level: `steps` times as many multiply-adds as keep the processor busy; how many
// FLOP that was.
template <kernels::Isa I, class T>
double run_chains(std::int64_t steps);

}  // namespace flatland::bench
