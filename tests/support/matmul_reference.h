// Matrix products as plain loops, and matrices with guards around them.
#pragma once

#include <doctest/doctest.h>
#include <flatland/kernels/activation.h>
#include <flatland/kernels/isa.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/view.h>
#include <tests/support/devices.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace flatland::test {

// c (m, n) from an inner size of k.
struct Product {
  std::int64_t m, n, k;
};

inline constexpr std::array k_activations = {
    activation::identity, activation::relu,     activation::leaky_relu(0.1),
    activation::elu(),    activation::softplus, activation::sigmoid,
    activation::tanh};

// A matrix inside a larger block: what surrounds it is NaN and must neither be read into results nor changed.
template <class T>
struct Guarded {
  std::int64_t rows, cols, ld;
  std::vector<T> block;

  Guarded(std::int64_t rows, std::int64_t cols, std::int64_t extra = 3)
      : rows(rows), cols(cols), ld(cols + extra), block(static_cast<std::size_t>((rows + 2) * ld), nan()) {}
  static T nan() { return std::numeric_limits<T>::quiet_NaN(); }
  T* data() { return block.data() + ld; }
  kernels::MatView<T> view() { return {data(), rows, cols, ld}; }
  T& operator()(std::int64_t i, std::int64_t j) { return data()[i * ld + j]; }

  bool guards_intact() {
    for (std::int64_t i = -1; i <= rows; ++i)
      for (std::int64_t j = 0; j < ld; ++j)
        if ((i < 0 || i == rows || j >= cols) && !std::isnan(data()[i * ld + j])) return false;
    return true;
  }
  template <class F>
  void fill(F&& f) {
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < cols; ++j) (*this)(i, j) = static_cast<T>(f());
  }
  void fill_normal(unsigned seed) {
    std::mt19937 random(seed);
    fill([&] { return (random() / 4294967296.0 - 0.5) * 3 + (random() / 4294967296.0 - 0.5); });
  }
  void fill_integers(unsigned seed) {
    std::mt19937 random(seed);
    fill([&] { return static_cast<double>(random() % 9) - 4; });
  }
  Guarded transposed() {
    Guarded t(cols, rows, ld - cols);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < cols; ++j) t(j, i) = (*this)(i, j);
    return t;
  }
};

// The contract to the bit: start + one multiply-add after another over ascending k, fused from level v3 on.
template <class T>
T chain(Guarded<T>& a, Guarded<T>& b, std::int64_t i, std::int64_t j, T start = 0) {
  const bool fused = kernels::active_isa() != kernels::Isa::v1;
  T sum = start;
  for (std::int64_t k = 0; k < a.cols; ++k)
    sum = fused ? std::fma(a(i, k), b(k, j), sum) : static_cast<T>(a(i, k) * b(k, j)) + sum;
  return sum;
}

// The value in float64 and the sum of the absolute products, to which rounding errors are proportional.
template <class T>
struct Dot {
  double value = 0, size = 0;
  Dot(Guarded<T>& a, Guarded<T>& b, std::int64_t i, std::int64_t j) {
    for (std::int64_t k = 0; k < a.cols; ++k) {
      const double product = static_cast<double>(a(i, k)) * static_cast<double>(b(k, j));
      value += product;
      size += std::abs(product);
    }
  }
};

inline constexpr std::array k_transposes = {kernels::Transpose::none, kernels::Transpose::a,
                                            kernels::Transpose::b};

template <class T>
std::int64_t differences(Guarded<T>& a, Guarded<T>& b) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < a.rows; ++i)
    for (std::int64_t j = 0; j < a.cols; ++j) count += a(i, j) == b(i, j) ? 0 : 1;
  return count;
}

// c = a b, or c += a b, by each of the three transpositions; the operands come as (M, K) and (K, N).
template <class T>
void multiply(const kernels::Exec& exec, kernels::Transpose transpose, Guarded<T>& a, Guarded<T>& b,
              Guarded<T>& c, bool accumulate = false) {
  Guarded<T> left = transpose == kernels::Transpose::a ? a.transposed() : a;
  Guarded<T> right = transpose == kernels::Transpose::b ? b.transposed() : b;
  {
    const Mirror l(exec, left.block), r(exec, right.block), to(exec, c.block);
    kernels::matmul<T>(exec, transpose, l.view(left.view()), r.view(right.view()), to.view(c.view()),
                       accumulate);
  }
  CHECK(c.guards_intact());
}
template <class T>
Guarded<T> product(const kernels::Exec& exec, kernels::Transpose transpose, Guarded<T>& a, Guarded<T>& b) {
  Guarded<T> c(a.rows, b.cols);
  multiply(exec, transpose, a, b, c);
  return c;
}

}  // namespace flatland::test
