#include <flatland/kernels/activation.h>
#include <flatland/kernels/activation_simd.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/size.h>

#include <algorithm>

namespace flatland {

std::string_view name(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::identity:
      return "identity";
    case ActivationKind::relu:
      return "relu";
    case ActivationKind::leaky_relu:
      return "leaky_relu";
    case ActivationKind::elu:
      return "elu";
    case ActivationKind::softplus:
      return "softplus";
    case ActivationKind::sigmoid:
      return "sigmoid";
    case ActivationKind::tanh:
      return "tanh";
  }
  return "unknown";
}

namespace kernels {

namespace {

constexpr std::int64_t k_tile = 16384;  // values a task

template <class T>
MatView<T> rows_of(MatView<T> m, std::int64_t first, std::int64_t last) {
  return {m.row(first), last - first, m.cols, m.ld};
}

// Calls f(first row, past the last) for tiles of rows. A matrix without gaps is one row to the caller, so
// that narrow matrices still fill vectors.
template <class F>
void row_tiles(const Exec& exec, std::int64_t rows, std::int64_t cols, F&& f) {
  const std::int64_t step = std::max<std::int64_t>(1, k_tile / std::max<std::int64_t>(1, cols));
  parallel_for(exec, ceil_div(rows, step),
               [&](std::int64_t tile, int) { f(tile * step, std::min(rows, (tile + 1) * step)); });
}

// A tile without gaps as one row.
template <class T>
MatView<T> flat(MatView<T> m) {
  return {m.data, 1, m.rows * m.cols};
}

}  // namespace

template <class T>
void activate(const Exec& exec, const Activation& activation, In<T> x, MatView<T> y) {
  FLATLAND_CHECK(x.rows == y.rows && x.cols == y.cols, "activate: x is ", x, " but y is ", y,
                 "; they must have the same shape");
  const bool dense = x.contiguous() && y.contiguous();
  row_tiles(exec, x.rows, x.cols, [&](std::int64_t first, std::int64_t last) {
    const MatView<const T> from = rows_of(x, first, last);
    const MatView<T> to = rows_of(y, first, last);
    with_isa([&](auto isa) {
      activate_tile<isa, T>(activation, dense ? flat(from) : from, dense ? flat(to) : to);
    });
  });
}

template <class T>
void activate_backward(const Exec& exec, const Activation& activation, In<T> y, In<T> dy, MatView<T> dx) {
  FLATLAND_CHECK(y.rows == dy.rows && y.cols == dy.cols && y.rows == dx.rows && y.cols == dx.cols,
                 "activate_backward: y is ", y, ", dy is ", dy, " and dx is ", dx,
                 "; they must have the same shape");
  const bool dense = y.contiguous() && dy.contiguous() && dx.contiguous();
  row_tiles(exec, y.rows, y.cols, [&](std::int64_t first, std::int64_t last) {
    const MatView<const T> out = rows_of(y, first, last), g = rows_of(dy, first, last);
    const MatView<T> to = rows_of(dx, first, last);
    with_isa([&](auto isa) {
      activate_backward_tile<isa, T>(activation, dense ? flat(out) : out, dense ? flat(g) : g,
                                     dense ? flat(to) : to);
    });
  });
}

#define FLATLAND_INSTANTIATE(T)                                              \
  template void activate(const Exec&, const Activation&, In<T>, MatView<T>); \
  template void activate_backward(const Exec&, const Activation&, In<T>, In<T>, MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace kernels
}  // namespace flatland
