#include <flatland/kernels/check.h>
#include <flatland/kernels/dropout.h>
#include <flatland/kernels/dropout_cuda.h>
#include <flatland/kernels/dropout_formulas.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/random_simd.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>

namespace flatland::kernels {

template <class T>
void dropout(const Exec& exec, double p, DropoutState* state, InSpan<T> x, OutSpan<T> mask, std::span<T> y) {
  FLATLAND_CHECK(p >= 0 && p < 1, "dropout: p is ", p,
                 "; it is the share to leave out, 0 or more and below 1");
  FLATLAND_CHECK(x.size() == y.size() && mask.size() == y.size(), "dropout: x has ", x.size(),
                 " values, mask ", mask.size(), " and y ", y.size(), "; the numbers must be equal");
  FLATLAND_ON_CUDA(exec) return cuda::dropout<T>(exec, p, state, x, mask, y);
  const std::int64_t n = std::ssize(y);
  const Dropout<T> rule(p);
  const auto draw = with_isa([](auto isa) { return &uniform_tile<isa, T>; });
  for_tiles(exec, n, 8192, [&](std::int64_t begin, std::int64_t count) {
    T* const m = mask.data();
    draw({state->seed, state->stream}, state->next + static_cast<std::uint64_t>(begin), count, 0, 1,
         m + begin);
    for (std::int64_t i = begin; i < begin + count; ++i) {
      m[i] = rule.mask(m[i]);
      y.data()[i] = x.data()[i] * m[i];
    }
  });
  state->next += static_cast<std::uint64_t>(n);
}

template void dropout(const Exec&, double, DropoutState*, InSpan<float>, OutSpan<float>, std::span<float>);
template void dropout(const Exec&, double, DropoutState*, InSpan<double>, OutSpan<double>, std::span<double>);

}  // namespace flatland::kernels
