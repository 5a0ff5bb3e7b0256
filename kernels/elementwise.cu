#include <flatland/kernels/elementwise_cuda.h>
#include <flatland/kernels/elementwise_formulas.h>
#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

namespace {

// --- dense arrays and single numbers ------------------------------------------------------------------

// An input: a dense array, or one number, lying in memory or given, for all places.
template <class T>
struct Line {
  const T* data;
  T number;
  bool repeated;

  template <int width>
  __device__ Pack<T, width> load(std::int64_t i) const {
    if (!repeated) return *reinterpret_cast<const Pack<T, width>*>(data + i);
    Pack<T, width> pack;
    const T value = data != nullptr ? *data : number;
    for (int k = 0; k < width; ++k) pack.value[k] = value;
    return pack;
  }
};

// y[i] = f(x[i]...) for the `width` values from i on.
template <int width, class F, class T, class... X>
__device__ void map_pack(const F& f, std::int64_t i, T* y, const Pack<X, width>&... x) {
  Pack<T, width> out;
  for (int k = 0; k < width; ++k) out.value[k] = f(x.value[k]...);
  *reinterpret_cast<Pack<T, width>*>(y + i) = out;
}

// y[i] = f(x[i]...), `width` values at a time, the last ones singly. y may be an input.
template <int width, class F, class T, class... X>
__global__ void map_kernel(F f, std::int64_t n, T* y, Line<X>... x) {
  const std::int64_t packs = n / width;
  for (std::int64_t i = thread_index(); i < packs; i += thread_count())
    map_pack<width>(f, i * width, y, x.template load<width>(i * width)...);
  for (std::int64_t i = packs * width + thread_index(); i < n; i += thread_count())
    map_pack<1>(f, i, y, x.template load<1>(i)...);
}

// Loads of 16 bytes where all arrays allow them.
template <class F, class T, class... X>
void map(const Exec& exec, F f, std::int64_t n, T* y, Line<X>... x) {
  constexpr int width = (std::is_same_v<T, X> && ...) ? k_pack_width<T> : 1;
  const bool wide = aligned_for_packs(y) && ((x.repeated || aligned_for_packs(x.data)) && ...);
  if (wide) {
    launch(exec, map_kernel<width, F, T, X...>, blocks_for(ceil_div(n, width), k_threads), k_threads, 0, f, n,
           y, x...);
  } else {
    launch(exec, map_kernel<1, F, T, X...>, blocks_for(n, k_threads), k_threads, 0, f, n, y, x...);
  }
}

template <class T>
Line<T> dense(const T* data) {
  return {data, T{}, false};
}

template <class T>
struct Constant {
  T value;
  FLATLAND_HD T operator()() const { return value; }
};

template <class To>
struct Convert {
  template <class From>
  FLATLAND_HD To operator()(From x) const {
    return static_cast<To>(x);
  }
};

// --- broadcasting -------------------------------------------------------------------------------------

// The dimensions of a broadcast, merged where both operands go on from one to the next; innermost first.
struct Layout {
  int rank = 0;
  std::int64_t size[4] = {1, 1, 1, 1};
  std::int64_t a[4] = {}, b[4] = {};  // strides

  Layout(const std::array<std::int64_t, 4>& shape, const std::array<std::int64_t, 4>& a_strides,
         const std::array<std::int64_t, 4>& b_strides) {
    for (std::size_t d = 4; d-- > 0;) {
      if (shape[d] == 1) continue;
      const int last = rank - 1;
      if (rank > 0 && a_strides[d] == a[last] * size[last] && b_strides[d] == b[last] * size[last]) {
        size[last] *= shape[d];
      } else {
        size[rank] = shape[d];
        a[rank] = a_strides[d];
        b[rank] = b_strides[d];
        ++rank;
      }
    }
  }
  // Whether each operand is a dense array or a single number.
  bool is_line() const { return rank == 0 || (rank == 1 && a[0] <= 1 && b[0] <= 1); }
};

template <class F, class T>
__global__ void broadcast_kernel(F f, Layout layout, std::int64_t n, const T* a, T a_number, const T* b,
                                 T b_number, T* y) {
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) {
    std::uint64_t rest = static_cast<std::uint64_t>(i);  // a division of small unsigned numbers is fast
    std::int64_t at_a = 0, at_b = 0;
    for (int d = 0; d < 4; ++d) {
      if (d >= layout.rank) break;
      const auto size = static_cast<std::uint64_t>(layout.size[d]);
      const auto at = static_cast<std::int64_t>(rest % size);
      rest /= size;
      at_a += at * layout.a[d];
      at_b += at * layout.b[d];
    }
    y[i] = f(a != nullptr ? a[at_a] : a_number, b != nullptr ? b[at_b] : b_number);
  }
}

template <class T>
Line<T> line(const Strided<const T>& x, const Layout& layout, std::int64_t stride) {
  return {x.data, x.value, x.data == nullptr || layout.rank == 0 || stride == 0};
}

}  // namespace

template <class T>
void unary(const Exec& exec, UnaryOp op, std::span<const T> x, std::span<T> y) {
  with_op(op, [&](auto formula) { map(exec, formula, std::ssize(y), y.data(), dense(x.data())); });
}

template <class T>
void binary(const Exec& exec, BinaryOp op, const std::array<std::int64_t, 4>& shape, Strided<const T> a,
            Strided<const T> b, T* y) {
  const std::int64_t n = shape[0] * shape[1] * shape[2] * shape[3];
  const Layout layout(shape, a.strides, b.strides);
  with_op(op, [&](auto formula) {
    using F = decltype(formula);
    if (layout.is_line())
      return map(exec, formula, n, y, line(a, layout, layout.a[0]), line(b, layout, layout.b[0]));
    launch(exec, broadcast_kernel<F, T>, blocks_for(n, k_threads), k_threads, 0, formula, layout, n, a.data,
           a.value, b.data, b.value, y);
  });
}

template <class T>
void axpby(const Exec& exec, T alpha, std::span<const T> x, T beta, std::span<T> y) {
  const Axpby<T> formula{alpha, beta};
  if (beta == 0) return map(exec, formula, std::ssize(y), y.data(), dense(x.data()));
  map(exec, formula, std::ssize(y), y.data(), dense(x.data()), dense<T>(y.data()));
}

template <class T>
void fill(const Exec& exec, T value, std::span<T> y) {
  map(exec, Constant<T>{value}, std::ssize(y), y.data());
}

template <class T>
void clamp(const Exec& exec, std::span<const T> x, T low, T high, std::span<T> y) {
  map(exec, Clamp<T>{low, high}, std::ssize(y), y.data(), dense(x.data()));
}

template <class To, class From>
void convert(const Exec& exec, std::span<const From> x, std::span<To> y) {
  map(exec, Convert<To>{}, std::ssize(y), y.data(), dense(x.data()));
}

#define FLATLAND_INSTANTIATE(T)                                                                     \
  template void unary(const Exec&, UnaryOp, std::span<const T>, std::span<T>);                      \
  template void binary(const Exec&, BinaryOp, const std::array<std::int64_t, 4>&, Strided<const T>, \
                       Strided<const T>, T*);                                                       \
  template void axpby(const Exec&, T, std::span<const T>, T, std::span<T>);                         \
  template void clamp(const Exec&, std::span<const T>, T, T, std::span<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

#define FLATLAND_INSTANTIATE(T)                                                    \
  template void fill(const Exec&, T, std::span<T>);                                \
  template void convert(const Exec&, std::span<const float>, std::span<T>);        \
  template void convert(const Exec&, std::span<const double>, std::span<T>);       \
  template void convert(const Exec&, std::span<const std::int32_t>, std::span<T>); \
  template void convert(const Exec&, std::span<const std::int64_t>, std::span<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
FLATLAND_INSTANTIATE(std::int32_t);
FLATLAND_INSTANTIATE(std::int64_t);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
