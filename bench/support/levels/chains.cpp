// Compiled once a level, like the kernels' *_simd.cpp files.
#include "bench/support/roof.h"

#include <flatland/kernels/simd.h>

namespace flatland::bench {

using namespace kernels;

// Twelve sums that do not wait for each other fill the pipelines of two multiply-add units.
template <Isa I, class T>
double run_chains(std::int64_t steps) {
  constexpr int chains = 12;
  using V = Vec<T, I>;
  volatile T one = 1, tiny = static_cast<T>(1e-9);
  const V a = splat<V>(one), b = splat<V>(tiny);
  V sum[chains];
  FLATLAND_UNROLL for (int c = 0; c < chains; ++c) sum[c] = splat<V>(static_cast<T>(c));
  for (std::int64_t i = 0; i < steps; ++i)
    FLATLAND_UNROLL for (int c = 0; c < chains; ++c) sum[c] = fma(sum[c], a, b);
  V total = sum[0];
  FLATLAND_UNROLL for (int c = 1; c < chains; ++c) total += sum[c];
  volatile T used = total[0];
  static_cast<void>(used);
  return 2.0 * chains * lanes<T, I> * static_cast<double>(steps);
}

template double run_chains<this_isa, float>(std::int64_t);
template double run_chains<this_isa, double>(std::int64_t);

}  // namespace flatland::bench
