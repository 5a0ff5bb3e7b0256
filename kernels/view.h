// Non-owning views of raw memory. Matrices are row-major.
#pragma once

#include <flatland/kernels/hd.h>

#include <cstdint>
#include <ostream>
#include <span>
#include <type_traits>

namespace flatland::kernels {

// A (rows, cols) matrix whose rows lie `ld` values apart (ld >= cols).
template <class T>
struct MatView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t ld = 0;

  MatView() = default;
  FLATLAND_HD MatView(T* data, std::int64_t rows, std::int64_t cols) : MatView(data, rows, cols, cols) {}
  FLATLAND_HD MatView(T* data, std::int64_t rows, std::int64_t cols, std::int64_t ld)
      : data(data), rows(rows), cols(cols), ld(ld) {}
  // A view of mutable values is also a view of constant ones.
  template <class U>
  requires(std::is_same_v<T, const U>) FLATLAND_HD MatView(const MatView<U>& m)
      : data(m.data), rows(m.rows), cols(m.cols), ld(m.ld) {}

  FLATLAND_HD T* row(std::int64_t i) const { return data + i * ld; }
  FLATLAND_HD T& operator()(std::int64_t i, std::int64_t j) const { return data[i * ld + j]; }
  FLATLAND_HD bool contiguous() const { return ld == cols || rows <= 1; }
};

template <class T>
using In = MatView<const std::type_identity_t<T>>;
template <class T>
using Out = MatView<std::type_identity_t<T>>;

template <class T>
using InSpan = std::span<const std::type_identity_t<T>>;
template <class T>
using OutSpan = std::span<std::type_identity_t<T>>;

template <class T>
std::ostream& operator<<(std::ostream& os, const MatView<T>& m) {
  return os << '(' << m.rows << ", " << m.cols << ')';
}

}  // namespace flatland::kernels
