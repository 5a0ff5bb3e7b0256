#include <flatland/kernels/check.h>
#include <flatland/kernels/elementwise.h>
#include <flatland/kernels/elementwise_cuda.h>
#include <flatland/kernels/elementwise_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_elementwise_tile = 16384;
constexpr std::int64_t k_chunk = 1024;  // values of an operand that is spread out before use

void check_same_size(const char* who, std::size_t x, std::size_t y) {
  FLATLAND_CHECK(x == y, who, ": x has ", x, " values but y has ", y, "; the sizes must match");
}

// An operand with its dimensions merged where one continues the other, innermost last.
template <class T>
struct Operand {
  const T* data;
  std::int64_t size[4] = {1, 1, 1, 1};
  std::int64_t stride[4] = {0, 0, 0, 0};

  Operand(const std::array<std::int64_t, 4>& shape, const Strided<const T>& a)
      : data(a.data != nullptr ? a.data : &a.value) {
    int k = 4;  // dimensions k .. 3 are in use
    for (int d = 3; d >= 0; --d) {
      const std::int64_t n = shape[static_cast<std::size_t>(d)], s = a.strides[static_cast<std::size_t>(d)];
      if (n == 1) continue;
      if (k < 4 && s == stride[k] * size[k]) {
        size[k] *= n;
      } else {
        --k;
        size[k] = n;
        stride[k] = s;
      }
    }
  }

  bool dense() const { return size[2] == 1 && (stride[3] == 1 || size[3] == 1); }

  // The values at positions begin .. begin + count - 1 of the output: where they lie, or spread into
  // `buffer`.
  const T* values(std::int64_t begin, std::int64_t count, T* buffer) const {
    if (dense()) return data + begin;
    std::int64_t at[4], rest = begin;
    for (int d = 3; d >= 0; --d) {
      at[d] = rest % size[d];
      rest /= size[d];
    }
    for (std::int64_t done = 0; done < count;) {
      const std::int64_t run = std::min(count - done, size[3] - at[3]);
      const T* const from =
          data + at[0] * stride[0] + at[1] * stride[1] + at[2] * stride[2] + at[3] * stride[3];
      spread(from, stride[3], run, buffer + done);
      done += run;
      at[3] = 0;
      for (int d = 2; d >= 0 && ++at[d] == size[d]; --d) at[d] = 0;
    }
    return buffer;
  }

 private:
  static void spread(const T* from, std::int64_t stride, std::int64_t n, T* to) {
    if (stride == 0) {
      const T value = *from;
      for (std::int64_t i = 0; i < n; ++i) to[i] = value;
    } else if (stride == 1) {
      for (std::int64_t i = 0; i < n; ++i) to[i] = from[i];
    } else {
      for (std::int64_t i = 0; i < n; ++i) to[i] = from[i * stride];
    }
  }
};

}  // namespace

template <class T>
void unary(const Exec& exec, UnaryOp op, InSpan<T> x, std::span<T> y) {
  check_same_size("unary", x.size(), y.size());
  FLATLAND_ON_CUDA(exec) return cuda::unary<T>(exec, op, x, y);
  const auto run = with_isa([](auto isa) { return &unary_dense<isa, T>; });
  for_tiles(exec, std::ssize(y), k_elementwise_tile, [&](std::int64_t begin, std::int64_t count) {
    run(op, x.data() + begin, y.data() + begin, count);
  });
}

template <class T>
void binary(const Exec& exec, BinaryOp op, const std::array<std::int64_t, 4>& shape,
            Strided<const std::type_identity_t<T>> a, Strided<const std::type_identity_t<T>> b, T* y) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n = checked_mul(n, size);
  if (n == 0) return;
  FLATLAND_ON_CUDA(exec) return cuda::binary<T>(exec, op, shape, a, b, y);
  const Operand<T> left(shape, a), right(shape, b);
  const auto run = with_isa([](auto isa) { return &binary_dense<isa, T>; });
  const bool dense = left.dense() && right.dense();
  for_tiles(exec, n, k_elementwise_tile, [&](std::int64_t begin, std::int64_t count) {
    if (dense) return run(op, left.data + begin, right.data + begin, y + begin, count);
    T buffer_left[k_chunk], buffer_right[k_chunk];
    for (std::int64_t at = begin; at < begin + count; at += k_chunk) {
      const std::int64_t size = std::min(k_chunk, begin + count - at);
      run(op, left.values(at, size, buffer_left), right.values(at, size, buffer_right), y + at, size);
    }
  });
}

template <class T>
void axpby(const Exec& exec, std::type_identity_t<T> alpha, InSpan<T> x, std::type_identity_t<T> beta,
           std::span<T> y) {
  check_same_size("axpby", x.size(), y.size());
  FLATLAND_ON_CUDA(exec) return cuda::axpby<T>(exec, alpha, x, beta, y);
  const auto run = with_isa([](auto isa) { return &axpby_dense<isa, T>; });
  for_tiles(exec, std::ssize(y), k_elementwise_tile, [&](std::int64_t begin, std::int64_t count) {
    run(alpha, x.data() + begin, beta, y.data() + begin, count);
  });
}

template <class T>
void fill(const Exec& exec, std::type_identity_t<T> value, std::span<T> y) {
  FLATLAND_ON_CUDA(exec) return cuda::fill<T>(exec, value, y);
  for_tiles(exec, std::ssize(y), k_elementwise_tile,
            [&](std::int64_t begin, std::int64_t count) { std::fill_n(y.data() + begin, count, value); });
}

template <class T>
void clamp(const Exec& exec, InSpan<T> x, std::type_identity_t<T> low, std::type_identity_t<T> high,
           std::span<T> y) {
  check_same_size("clamp", x.size(), y.size());
  FLATLAND_CHECK(low <= high, "clamp: the range is ", low, " to ", high, "; low must not be above high");
  FLATLAND_ON_CUDA(exec) return cuda::clamp<T>(exec, x, low, high, y);
  const auto run = with_isa([](auto isa) { return &clamp_dense<isa, T>; });
  for_tiles(exec, std::ssize(y), k_elementwise_tile, [&](std::int64_t begin, std::int64_t count) {
    run(x.data() + begin, low, high, y.data() + begin, count);
  });
}

template <class To, class From>
void convert(const Exec& exec, std::span<const From> x, std::span<To> y) {
  check_same_size("convert", x.size(), y.size());
  FLATLAND_ON_CUDA(exec) return cuda::convert(exec, x, y);
  for_tiles(exec, std::ssize(y), k_elementwise_tile, [&](std::int64_t begin, std::int64_t count) {
    const From* const from = x.data() + begin;
    std::transform(from, from + count, y.data() + begin, [](From v) { return static_cast<To>(v); });
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                        \
  template void unary<T>(const Exec&, UnaryOp, InSpan<T>, std::span<T>);                               \
  template void binary<T>(const Exec&, BinaryOp, const std::array<std::int64_t, 4>&, Strided<const T>, \
                          Strided<const T>, T*);                                                       \
  template void axpby<T>(const Exec&, T, InSpan<T>, T, std::span<T>);                                  \
  template void clamp<T>(const Exec&, InSpan<T>, T, T, std::span<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

#define FLATLAND_INSTANTIATE(T)                                                    \
  template void fill<T>(const Exec&, T, std::span<T>);                             \
  template void convert(const Exec&, std::span<const float>, std::span<T>);        \
  template void convert(const Exec&, std::span<const double>, std::span<T>);       \
  template void convert(const Exec&, std::span<const std::int32_t>, std::span<T>); \
  template void convert(const Exec&, std::span<const std::int64_t>, std::span<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
FLATLAND_INSTANTIATE(std::int32_t);
FLATLAND_INSTANTIATE(std::int64_t);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
