#include <tests/support/vecmath_levels.h>

namespace flatland::test {

using namespace kernels;

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
