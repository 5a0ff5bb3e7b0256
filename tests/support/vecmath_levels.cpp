#include <flatland/kernels/vecmath.h>
#include <tests/support/vecmath_levels.h>

namespace flatland::test {

using namespace kernels;

namespace {
template <class V>
FLATLAND_HD V value(Function function, V x) {
  switch (function) {
    case Function::exp:
      return kernels::exp(x);
    case Function::expm1:
      return kernels::expm1(x);
    case Function::log:
      return kernels::log(x);
    case Function::log1p:
      return kernels::log1p(x);
    case Function::softplus:
      return kernels::softplus(x);
    case Function::sigmoid:
      return kernels::sigmoid(x);
    case Function::tanh:
      return kernels::tanh(x);
    case Function::sqrt:
      break;
  }
  return kernels::sqrt(x);
}
}  // namespace

template <Isa I, class T>
void apply_function(Function function, const T* x, T* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += lanes<T, I>) {
    const std::int64_t count = n - i < lanes<T, I> ? n - i : lanes<T, I>;
    store_first<I>(y + i, value(function, load_first<I>(x + i, count)), count);
  }
}

template void apply_function<this_isa, float>(Function, const float*, float*, std::int64_t);
template void apply_function<this_isa, double>(Function, const double*, double*, std::int64_t);

}  // namespace flatland::test
