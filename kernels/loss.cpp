#include <flatland/kernels/check.h>
#include <flatland/kernels/loss.h>
#include <flatland/kernels/loss_cuda.h>
#include <flatland/kernels/loss_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <initializer_list>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_loss_tile = 4096;

// *out.value = sum over the tiles of range(begin, count), in their order, divided.
template <class T, class Range>
void add_tiles(const Exec& exec, std::int64_t n, std::int64_t tile_size, const LossOut<T>& out,
               const Range& range) {
  const std::int64_t tiles = ceil_div(n, tile_size);
  const ScratchArray<double> part(exec, tiles);
  for_tiles(exec, n, tile_size,
            [&](std::int64_t begin, std::int64_t count) { part[begin / tile_size] = range(begin, count); });
  if (out.value == nullptr) return;
  double sum = 0;
  for (std::int64_t i = 0; i < tiles; ++i) sum += part[i];
  *out.value = static_cast<T>(sum / out.divisor);
}

template <class T>
T share_of(const LossOut<T>& out) {
  return static_cast<T>(1 / out.divisor);
}
template <class T>
T* at(T* p, std::int64_t i) {
  return p != nullptr ? p + i : nullptr;
}

// Inputs of n values; gradients of n or none.
void check_sizes(const char* who, std::size_t n, std::initializer_list<std::size_t> inputs,
                 std::initializer_list<std::size_t> gradients) {
  for (const std::size_t size : inputs)
    FLATLAND_CHECK(size == n, who, ": there are ", n, " predictions but an input of ", size,
                   " values; the numbers must be equal");
  for (const std::size_t size : gradients)
    FLATLAND_CHECK(size == n || size == 0, who, ": there are ", n, " predictions but a gradient of ", size,
                   " values; the numbers must be equal");
}

}  // namespace

void check_divisor(const char* who, double divisor) {
  FLATLAND_CHECK(divisor > 0, who, ": the divisor is ", divisor, "; give the number of terms, or 1");
}

template <class T>
void pointwise_loss(const Exec& exec, const LossRule& rule, InSpan<T> x, InSpan<T> target,
                    const LossOut<T>& out, std::span<T> dx) {
  check_sizes("pointwise_loss", x.size(), {target.size()}, {dx.size()});
  check_divisor("pointwise_loss", out.divisor);
  FLATLAND_CHECK(rule.kind != LossKind::smooth_absolute || rule.beta > 0, "pointwise_loss: beta is ",
                 rule.beta, "; it must be above 0, and a beta of 0 is the absolute error");
  FLATLAND_ON_CUDA(exec) return cuda::pointwise_loss<T>(exec, rule, x, target, out, dx);
  const auto range = with_isa([](auto isa) { return &point_loss_range<isa, T>; });
  add_tiles(exec, std::ssize(x), k_loss_tile, out, [&](std::int64_t i, std::int64_t count) {
    return range(rule, share_of(out), x.data() + i, target.data() + i, at(out.loss, i), at(dx.data(), i),
                 count);
  });
}

template <class T>
void gaussian_loss(const Exec& exec, const GaussianRule& rule, InSpan<T> mean, InSpan<T> variance,
                   InSpan<T> target, const LossOut<T>& out, std::span<T> d_mean, std::span<T> d_variance) {
  check_sizes("gaussian_loss", mean.size(), {variance.size(), target.size()},
              {d_mean.size(), d_variance.size()});
  check_divisor("gaussian_loss", out.divisor);
  FLATLAND_CHECK(rule.eps > 0, "gaussian_loss: eps is ", rule.eps, "; variances need a limit above 0");
  FLATLAND_ON_CUDA(exec)
  return cuda::gaussian_loss<T>(exec, rule, mean, variance, target, out, d_mean, d_variance);
  const auto range = with_isa([](auto isa) { return &gaussian_loss_range<isa, T>; });
  add_tiles(exec, std::ssize(mean), k_loss_tile, out, [&](std::int64_t i, std::int64_t count) {
    return range(rule, share_of(out), mean.data() + i, variance.data() + i, target.data() + i,
                 at(out.loss, i), at(d_mean.data(), i), at(d_variance.data(), i), count);
  });
}

template <class T>
void triplet_loss(const Exec& exec, const TripletRule& rule, In<T> anchor, In<T> positive, In<T> negative,
                  const LossOut<T>& out, const TripletGradients<T>& gradients) {
  const std::int64_t n = anchor.rows, d = anchor.cols;
  for (const In<T>& other : {positive, negative})
    FLATLAND_CHECK(other.rows == n && other.cols == d, "triplet_loss: the anchors are ", anchor,
                   " but their partners ", other, "; the shapes must be equal");
  for (const MatView<T>& g : {gradients.anchor, gradients.positive, gradients.negative})
    FLATLAND_CHECK(g.data == nullptr || (g.rows == n && g.cols == d), "triplet_loss: the anchors are ",
                   anchor, " but a gradient is ", g, "; the shapes must be equal");
  check_divisor("triplet_loss", out.divisor);
  FLATLAND_ON_CUDA(exec)
  return cuda::triplet_loss<T>(exec, rule, anchor, positive, negative, out, gradients);
  const auto row = with_isa([](auto isa) { return &triplet_loss_row<isa, T>; });
  const auto row_at = [](const MatView<T>& m, std::int64_t i) { return m.data ? m.row(i) : nullptr; };
  const std::int64_t tile = std::max<std::int64_t>(1, k_loss_tile / std::max<std::int64_t>(1, d));
  add_tiles(exec, n, tile, out, [&](std::int64_t begin, std::int64_t count) {
    double sum = 0;
    for (std::int64_t i = begin; i < begin + count; ++i)
      sum +=
          row(rule, share_of(out), anchor.row(i), positive.row(i), negative.row(i), at(out.loss, i),
              row_at(gradients.anchor, i), row_at(gradients.positive, i), row_at(gradients.negative, i), d);
    return sum;
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                       \
  template void pointwise_loss(const Exec&, const LossRule&, InSpan<T>, InSpan<T>, const LossOut<T>&, \
                               std::span<T>);                                                         \
  template void gaussian_loss(const Exec&, const GaussianRule&, InSpan<T>, InSpan<T>, InSpan<T>,      \
                              const LossOut<T>&, std::span<T>, std::span<T>);                         \
  template void triplet_loss(const Exec&, const TripletRule&, In<T>, In<T>, In<T>, const LossOut<T>&, \
                             const TripletGradients<T>&)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
