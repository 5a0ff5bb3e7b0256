#include <flatland/kernels/softmax_simd.h>
#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

namespace {

using std::int64_t;

// The largest value; the shift that keeps exp from overflowing. NaN may be passed over: exp brings it back.
template <Isa I, class T>
T row_max(const T* x, int64_t n) {
  const T lowest = -T(__builtin_inf());
  Vec<T, I> largest = broadcast<I>(lowest);
  for (int64_t j = 0; j < n; j += lanes<T, I>) largest = max(load_part<I>(x + j, n - j, lowest), largest);
  return max_lanes<I, T>(largest);
}

// y = exp(x - shift) and its sum; y may be null.
template <Isa I, class T>
T exp_sum(const T* x, int64_t n, T shift, T* y) {
  const T lowest = -T(__builtin_inf());  // lanes past the end add exp(-inf) = 0
  Vec<T, I> sum{};
  for (int64_t j = 0; j < n; j += lanes<T, I>) {
    const Vec<T, I> e = exp(load_part<I>(x + j, n - j, lowest) - shift);
    if (y != nullptr) store_part<I>(y + j, e, n - j);
    sum += e;
  }
  return sum_lanes<I, T>(sum);
}

}  // namespace

template <Isa I, class T>
void softmax_tile(SoftmaxForm form, MatView<const T> x, MatView<T> y) {
  for (int64_t i = 0; i < x.rows; ++i) {
    const T* from = x.row(i);
    T* to = y.row(i);
    const T shift = row_max<I>(from, x.cols);
    if (form == SoftmaxForm::plain) {
      const T sum = exp_sum<I>(from, x.cols, shift, to);
      for (int64_t j = 0; j < x.cols; j += lanes<T, I>)
        store_part<I>(to + j, load_part<I>(to + j, x.cols - j) / sum, x.cols - j);
    } else {
      const T log_sum = log(exp_sum<I, T>(from, x.cols, shift, nullptr));
      for (int64_t j = 0; j < x.cols; j += lanes<T, I>)
        store_part<I>(to + j, load_part<I>(from + j, x.cols - j) - shift - log_sum, x.cols - j);
    }
  }
}

namespace {

template <Isa I, SoftmaxForm form, class T>
void backward_rows(MatView<const T> y, MatView<const T> dy, MatView<T> dx) {
  for (int64_t i = 0; i < y.rows; ++i) {
    const T* out = y.row(i);
    const T* g = dy.row(i);
    T* to = dx.row(i);
    Vec<T, I> partial{};
    for (int64_t j = 0; j < y.cols; j += lanes<T, I>) {
      partial = softmax_backward_term<form>(load_part<I>(out + j, y.cols - j),
                                            load_part<I>(g + j, y.cols - j), partial);
    }
    const T sum = sum_lanes<I, T>(partial);
    for (int64_t j = 0; j < y.cols; j += lanes<T, I>) {
      store_part<I>(
          to + j,
          softmax_gradient<form>(load_part<I>(out + j, y.cols - j), load_part<I>(g + j, y.cols - j), sum),
          y.cols - j);
    }
  }
}

}  // namespace

template <Isa I, class T>
void softmax_backward_tile(SoftmaxForm form, MatView<const T> y, MatView<const T> dy, MatView<T> dx) {
  if (form == SoftmaxForm::plain) return backward_rows<I, SoftmaxForm::plain>(y, dy, dx);
  backward_rows<I, SoftmaxForm::log>(y, dy, dx);
}

template <Isa I, class T>
void cross_entropy_tile(MatView<const T> x, const int64_t* label, T scale, double* loss, MatView<T> dx) {
  for (int64_t i = 0; i < x.rows; ++i) {
    const T* from = x.row(i);
    T* to = dx.data != nullptr ? dx.row(i) : nullptr;
    const T shift = row_max<I>(from, x.cols);
    const T at_label = from[label[i]];
    const T sum = exp_sum<I>(from, x.cols, shift, to);
    loss[i] = cross_entropy_of(at_label, shift, sum);
    if (to == nullptr) continue;
    const T factor = scale / sum;
    for (int64_t j = 0; j < x.cols; j += lanes<T, I>)
      store_part<I>(to + j, load_part<I>(to + j, x.cols - j) * factor, x.cols - j);
    to[label[i]] -= scale;
  }
}

#define FLATLAND_INSTANTIATE(T)                                                                     \
  template void softmax_tile<this_isa, T>(SoftmaxForm, MatView<const T>, MatView<T>);               \
  template void softmax_backward_tile<this_isa, T>(SoftmaxForm, MatView<const T>, MatView<const T>, \
                                                   MatView<T>);                                     \
  template void cross_entropy_tile<this_isa, T>(MatView<const T>, const std::int64_t*, T, double*, MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
