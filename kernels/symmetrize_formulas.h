// What the CPU and CUDA say alike about a matrix and its transpose (private).
#pragma once

#include <flatland/kernels/hd.h>
#include <flatland/kernels/sparse.h>

namespace flatland::kernels {

// An entry and its mirror image, 0 where there is none.
template <class T>
FLATLAND_HD T joined(SymmetrizeKind kind, T a, T t) {
  return kind == SymmetrizeKind::mean ? (a + t) / 2 : a + t - a * t;
}

// A neighbour graph or a sparse matrix: row i has size(i) entries.
template <class T>
struct GraphRows {
  std::int64_t rows = 0;
  const std::int64_t* begin = nullptr;  // without: fixed rows of k entries
  const std::int64_t* end = nullptr;
  std::int64_t k = 0;
  std::int64_t col_ld = 0;
  std::int64_t value_ld = 0;
  const std::int32_t* col = nullptr;
  const T* value = nullptr;  // null when only the pattern matters

  FLATLAND_HD std::int64_t size(std::int64_t i) const { return begin ? end[i] - begin[i] : k; }
  FLATLAND_HD const std::int32_t* cols(std::int64_t i) const { return col + (begin ? begin[i] : i * col_ld); }
  FLATLAND_HD const T* values(std::int64_t i) const {
    return value ? value + (begin ? begin[i] : i * value_ld) : nullptr;
  }
};

}  // namespace flatland::kernels
