// Rows of a matrix, in any order and number, read where they stand.
#pragma once

#include <flatland/kernels/check.h>
#include <flatland/kernels/view.h>

#include <cstdint>
#include <ostream>
#include <span>
#include <type_traits>

namespace flatland::kernels {

// Row i is row index[i] of `all`; without an index, row i of it.
template <class T>
struct RowsView {
  MatView<const T> all;
  const std::int64_t* index = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;

  RowsView() = default;
  FLATLAND_HD RowsView(const MatView<const T>& all, const std::int64_t* index, std::int64_t rows)
      : all(all), index(index), rows(rows), cols(all.cols) {}
  template <class U>
  requires(std::is_same_v<const T, const U>) FLATLAND_HD RowsView(const MatView<U>& all)
      : RowsView(MatView<const T>(all), nullptr, all.rows) {}

  // Empty without an index.
  std::span<const std::int64_t> indices() const {
    return {index, index == nullptr ? 0 : static_cast<std::size_t>(rows)};
  }
  FLATLAND_HD const T* row(std::int64_t i) const { return all.row(index == nullptr ? i : index[i]); }
};
template <class T>
using InRows = RowsView<std::type_identity_t<T>>;

template <class T>
std::ostream& operator<<(std::ostream& os, const RowsView<T>& m) {
  return os << '(' << m.rows << ", " << m.cols << ')';
}

// Error: an index that is no row, named with its place.
inline void check_rows(const char* who, std::span<const std::int64_t> index, std::int64_t rows) {
  for (std::size_t i = 0; i < index.size(); ++i) {
    FLATLAND_CHECK(index[i] >= 0 && index[i] < rows, who, ": index[", i, "] is ", index[i], " but there are ",
                   rows, " rows; give 0 to ", rows - 1);
  }
}

}  // namespace flatland::kernels
