// Leaving values out at random.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// Where the draws of a layer stand, in memory of exec's device, so that a step that was recorded once draws
// anew each time it is run.
struct DropoutState {
  std::uint64_t seed = 0, stream = 0;  // of the draws (random.h)
  std::uint64_t next = 0;              // number of the first one that was not used yet
  unsigned long long arrived = 0;      // for the GPU: its blocks that are done with the present call
};

// y[i] = x[i] mask[i], mask[i] = 0 with probability p, else 1 / (1 - p): 0 where the uniform draw number next
// + i, rounded to T, is below p. Then next += n.   x, mask, y (n)   p in [0, 1)   y may be x
// The same mask on every device and for any number of threads. dx = dy mask.
template <class T>
void dropout(const Exec& exec, double p, DropoutState* state, InSpan<T> x, OutSpan<T> mask, std::span<T> y);

}  // namespace flatland::kernels
