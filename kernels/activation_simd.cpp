#include <flatland/kernels/activation_formulas.h>
#include <flatland/kernels/activation_simd.h>

namespace flatland::kernels {

template <Isa I, class T>
void activate_tile(const Activation& activation, MatView<const T> x, MatView<T> y) {
  const T slope = static_cast<T>(activation.slope);
  with_activation(activation.kind, [&](auto kind) {
    for (std::int64_t i = 0; i < x.rows; ++i) {
      const T* from = x.row(i);
      T* to = y.row(i);
      for (std::int64_t j = 0; j < x.cols; j += lanes<T, I>)
        store_part<I>(to + j, activation_value<kind>(load_part<I>(from + j, x.cols - j), slope), x.cols - j);
    }
  });
}

template <Isa I, class T>
void activate_backward_tile(const Activation& activation, MatView<const T> y, MatView<const T> dy,
                            MatView<T> dx) {
  const T slope = static_cast<T>(activation.slope);
  with_activation(activation.kind, [&](auto kind) {
    for (std::int64_t i = 0; i < y.rows; ++i) {
      const T* out = y.row(i);
      const T* g = dy.row(i);
      T* to = dx.row(i);
      for (std::int64_t j = 0; j < y.cols; j += lanes<T, I>) {
        const std::int64_t n = y.cols - j;
        const Vec<T, I> derivative = activation_derivative<kind>(load_part<I>(out + j, n), slope);
        store_part<I>(to + j, load_part<I>(g + j, n) * derivative, n);
      }
    }
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                            \
  template void activate_tile<this_isa, T>(const Activation&, MatView<const T>, MatView<T>);               \
  template void activate_backward_tile<this_isa, T>(const Activation&, MatView<const T>, MatView<const T>, \
                                                    MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
