// Elementwise arithmetic over up to four broadcast dimensions.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <array>
#include <cstdint>

namespace flatland::kernels {

enum class UnaryOp { neg, exp, log, sqrt, abs, square, reciprocal };
enum class BinaryOp { add, sub, mul, div, maximum, minimum, pow, less, less_equal, equal };

// y[i] = op(x[i]).   x, y (n)   y may be x. Domain errors give what IEEE arithmetic gives.
template <class T>
void unary(const Exec& exec, UnaryOp op, InSpan<T> x, std::span<T> y);

// A dense array seen through a broadcast: stride 0 along a repeated dimension. Without data it is the number
// `value` everywhere.
template <class T>
struct Strided {
  T* data = nullptr;
  std::array<std::int64_t, 4> strides{};
  std::remove_const_t<T> value{};
};

// y = op(a, b) over `shape` (up to four dimensions, leading ones are 1); y is dense and row-major.
// Comparisons give 1 or 0. y may be a or b where that one is dense too.
template <class T>
void binary(const Exec& exec, BinaryOp op, const std::array<std::int64_t, 4>& shape,
            Strided<const std::type_identity_t<T>> a, Strided<const std::type_identity_t<T>> b, T* y);

// y = alpha x + beta y.   x, y (n). beta = 0 does not read y.
template <class T>
void axpby(const Exec& exec, std::type_identity_t<T> alpha, InSpan<T> x, std::type_identity_t<T> beta,
           std::span<T> y);

// y[i] = value.   float, double, int32, int64
template <class T>
void fill(const Exec& exec, std::type_identity_t<T> value, std::span<T> y);

// y = min(max(x, low), high); NaN stays NaN.   x, y (n)   y may be x.
template <class T>
void clamp(const Exec& exec, InSpan<T> x, std::type_identity_t<T> low, std::type_identity_t<T> high,
           std::span<T> y);

// y[i] = x[i] in another type, as C++ converts numbers.   x, y (n) of float, double, int32, int64
template <class To, class From>
void convert(const Exec& exec, std::span<const From> x, std::span<To> y);

}  // namespace flatland::kernels
