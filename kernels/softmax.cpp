#include <flatland/kernels/check.h>
#include <flatland/kernels/elementwise.h>
#include <flatland/kernels/row_tiles.h>
#include <flatland/kernels/softmax.h>
#include <flatland/kernels/softmax_cuda.h>
#include <flatland/kernels/softmax_simd.h>
#include <flatland/kernels/with_cuda.h>

namespace flatland::kernels {

namespace {

template <class T>
void forward(const char* who, SoftmaxForm form, const Exec& exec, In<T> x, MatView<T> y) {
  FLATLAND_CHECK(x.rows == y.rows && x.cols == y.cols, who, ": x is ", x, " but y is ", y,
                 "; they must have the same shape");
  FLATLAND_ON_CUDA(exec) return cuda::softmax<T>(exec, form, x, y);
  row_tiles(exec, x.rows, x.cols, [&](std::int64_t first, std::int64_t last) {
    with_isa([&](auto isa) { softmax_tile<isa, T>(form, rows_of(x, first, last), rows_of(y, first, last)); });
  });
}

template <class T>
void backward(const char* who, SoftmaxForm form, const Exec& exec, In<T> y, In<T> dy, MatView<T> dx) {
  FLATLAND_CHECK(y.rows == dy.rows && y.cols == dy.cols && y.rows == dx.rows && y.cols == dx.cols, who,
                 ": y is ", y, ", dy is ", dy, " and dx is ", dx, "; they must have the same shape");
  FLATLAND_ON_CUDA(exec) return cuda::softmax_backward<T>(exec, form, y, dy, dx);
  row_tiles(exec, y.rows, y.cols, [&](std::int64_t first, std::int64_t last) {
    with_isa([&](auto isa) {
      softmax_backward_tile<isa, T>(form, rows_of(y, first, last), rows_of(dy, first, last),
                                    rows_of(dx, first, last));
    });
  });
}

}  // namespace

template <class T>
void softmax_rows(const Exec& exec, In<T> x, MatView<T> y) {
  forward<T>("softmax_rows", SoftmaxForm::plain, exec, x, y);
}
template <class T>
void log_softmax_rows(const Exec& exec, In<T> x, MatView<T> y) {
  forward<T>("log_softmax_rows", SoftmaxForm::log, exec, x, y);
}
template <class T>
void softmax_rows_backward(const Exec& exec, In<T> y, In<T> dy, MatView<T> dx) {
  backward<T>("softmax_rows_backward", SoftmaxForm::plain, exec, y, dy, dx);
}
template <class T>
void log_softmax_rows_backward(const Exec& exec, In<T> y, In<T> dy, MatView<T> dx) {
  backward<T>("log_softmax_rows_backward", SoftmaxForm::log, exec, y, dy, dx);
}

template <class T>
void softmax_cross_entropy(const Exec& exec, In<T> x, std::span<const std::int64_t> label,
                           const LossOut<T>& out, Out<T> dx) {
  const char* const who = "softmax_cross_entropy";
  FLATLAND_CHECK(std::ssize(label) == x.rows, who, ": x is ", x, " but there are ", label.size(),
                 " labels; give one a row");
  FLATLAND_CHECK(dx.data == nullptr || (dx.rows == x.rows && dx.cols == x.cols), who, ": x is ", x,
                 " but dx is ", dx, "; they must have the same shape");
  check_divisor(who, out.divisor);
  FLATLAND_ON_CUDA(exec) return cuda::softmax_cross_entropy<T>(exec, x, label.data(), out, dx);
  for (std::int64_t i = 0; i < x.rows; ++i) {
    const std::int64_t l = label[static_cast<std::size_t>(i)];
    FLATLAND_CHECK(l >= 0 && l < x.cols, who, ": label ", l, " of row ", i, " is not in [0, ", x.cols,
                   "); number the classes from 0");
  }
  const ScratchArray<double> loss(exec, x.rows);
  row_tiles(exec, x.rows, x.cols, [&](std::int64_t first, std::int64_t last) {
    const MatView<T> gradient = dx.data != nullptr ? rows_of(dx, first, last) : MatView<T>{};
    with_isa([&](auto isa) {
      cross_entropy_tile<isa, T>(rows_of(x, first, last), label.data() + first,
                                 static_cast<T>(1 / out.divisor), loss.data() + first, gradient);
    });
  });
  if (out.loss != nullptr)
    convert(exec, std::span<const double>(loss.span()), std::span<T>(out.loss, label.size()));
  if (out.value == nullptr) return;
  double sum = 0;
  for (const double l : loss.span()) sum += l;
  *out.value = static_cast<T>(sum / out.divisor);
}

#define FLATLAND_INSTANTIATE(T)                                                                             \
  template void softmax_rows(const Exec&, In<T>, MatView<T>);                                               \
  template void log_softmax_rows(const Exec&, In<T>, MatView<T>);                                           \
  template void softmax_rows_backward(const Exec&, In<T>, In<T>, MatView<T>);                               \
  template void log_softmax_rows_backward(const Exec&, In<T>, In<T>, MatView<T>);                           \
  template void softmax_cross_entropy(const Exec&, In<T>, std::span<const std::int64_t>, const LossOut<T>&, \
                                      Out<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
