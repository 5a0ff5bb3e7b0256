#include <flatland/kernels/divergence.h>
#include <flatland/kernels/divergence_cuda.h>
#include <flatland/kernels/divergence_formulas.h>
#include <flatland/kernels/divergence_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_divergence_tile = 4096;

// Rows of a matrix of n columns that make a tile.
std::int64_t tile_rows(std::int64_t n) {
  return std::max<std::int64_t>(1, 2 * k_divergence_tile / std::max<std::int64_t>(1, n));
}

void check_eps(const char* who, double eps) {
  FLATLAND_CHECK(eps > 0 && eps < 1, who, ": eps is ", eps, "; want a small positive number such as 1e-7");
}
template <class T>
void check_square(const char* who, const MatView<const T>& p, const MatView<const T>& q) {
  FLATLAND_CHECK(p.rows == p.cols && q.rows == p.rows && q.cols == p.rows, who, ": p is ", p, " and q is ", q,
                 "; both must be square and of one size");
}
// The mean over n of values whose sums stand in `part`; 0 for none.
template <class T>
T mean(const ScratchArray<double>& part, std::int64_t parts, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < parts; ++i) sum += part[i];
  return static_cast<T>(sum / static_cast<double>(std::max<std::int64_t>(1, n)));
}

}  // namespace

template <class T>
void kl_divergence(const Exec& exec, double eps, In<T> p, MatView<const T> q, T* value) {
  check_eps("kl_divergence", eps);
  check_square("kl_divergence", p, q);
  FLATLAND_ON_CUDA(exec) return cuda::kl_divergence<T>(exec, eps, p, q, value);
  const std::int64_t n = p.rows;
  const std::int64_t rows = tile_rows(n);
  const std::int64_t tiles = ceil_div(n, rows);
  const ScratchArray<double> part(exec, tiles);
  with_isa([&](auto isa) {
    for_tiles(exec, n, rows, [&](std::int64_t first, std::int64_t count) {
      double sum = 0;
      for (std::int64_t i = first; i < first + count; ++i)
        sum += kl_range<isa, T>(eps, p.row(i), q.row(i), i) +
               kl_range<isa, T>(eps, p.row(i) + i + 1, q.row(i) + i + 1, n - i - 1);
      part[first / rows] = sum;
    });
  });
  *value = mean<T>(part, tiles, n);
}

template <class T>
void kl_divergence_backward(const Exec& exec, double eps, const T* upstream, In<T> p, In<T> q, Out<T> dq,
                            Out<T> dp) {
  check_eps("kl_divergence_backward", eps);
  check_square("kl_divergence_backward", p, q);
  const std::int64_t n = p.rows;
  for (const Out<T>& out : {dq, dp})
    FLATLAND_CHECK(out.data == nullptr || (out.rows == n && out.cols == n), "kl_divergence_backward: p is ",
                   p, " but a gradient is ", out);
  FLATLAND_ON_CUDA(exec) return cuda::kl_divergence_backward<T>(exec, eps, upstream, p, q, dq, dp);
  const std::int64_t rows = tile_rows(n);
  const T scale = mean_share(*upstream, n);
  with_isa([&](auto isa) {
    for_tiles(exec, n, rows, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t i = first; i < first + count; ++i) {
        T* dq_row = dq.data ? dq.row(i) : nullptr;
        T* dp_row = dp.data ? dp.row(i) : nullptr;
        kl_backward_range<isa, T>(eps, scale, p.row(i), q.row(i), dq_row, dp_row, n);
        if (dq_row) dq_row[i] = 0;
        if (dp_row) dp_row[i] = 0;
      }
    });
  });
}

template <class T>
void fuzzy_cross_entropy(const Exec& exec, double eps, InSpan<T> p, std::span<const T> q, T* value) {
  check_eps("fuzzy_cross_entropy", eps);
  FLATLAND_CHECK(p.size() == q.size(), "fuzzy_cross_entropy: p holds ", p.size(), " values but q ", q.size());
  FLATLAND_ON_CUDA(exec) return cuda::fuzzy_cross_entropy<T>(exec, eps, p, q, value);
  const std::int64_t n = std::ssize(p);
  const std::int64_t tiles = ceil_div(n, k_divergence_tile);
  const ScratchArray<double> part(exec, tiles);
  with_isa([&](auto isa) {
    for_tiles(exec, n, k_divergence_tile, [&](std::int64_t first, std::int64_t count) {
      part[first / k_divergence_tile] = fuzzy_range<isa, T>(eps, p.data() + first, q.data() + first, count);
    });
  });
  *value = mean<T>(part, tiles, n);
}

template <class T>
void fuzzy_cross_entropy_backward(const Exec& exec, double eps, const T* upstream, InSpan<T> p, InSpan<T> q,
                                  OutSpan<T> dq) {
  check_eps("fuzzy_cross_entropy_backward", eps);
  FLATLAND_CHECK(p.size() == q.size() && p.size() == dq.size(), "fuzzy_cross_entropy_backward: p holds ",
                 p.size(), " values but q ", q.size(), " and dq ", dq.size());
  FLATLAND_ON_CUDA(exec) return cuda::fuzzy_cross_entropy_backward<T>(exec, eps, upstream, p, q, dq);
  const std::int64_t n = std::ssize(p);
  const T scale = mean_share(*upstream, n);
  with_isa([&](auto isa) {
    for_tiles(exec, n, k_divergence_tile, [&](std::int64_t first, std::int64_t count) {
      fuzzy_backward_range<isa, T>(eps, scale, p.data() + first, q.data() + first, dq.data() + first, count);
    });
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                         \
  template void kl_divergence<T>(const Exec&, double, In<T>, MatView<const T>, T*);                     \
  template void kl_divergence_backward<T>(const Exec&, double, const T*, In<T>, In<T>, Out<T>, Out<T>); \
  template void fuzzy_cross_entropy<T>(const Exec&, double, InSpan<T>, std::span<const T>, T*);         \
  template void fuzzy_cross_entropy_backward<T>(const Exec&, double, const T*, InSpan<T>, InSpan<T>,    \
                                                OutSpan<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
