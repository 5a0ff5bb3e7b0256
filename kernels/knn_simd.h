// Serial building blocks of knn.cpp, one instantiation a level.
#pragma once

#include <flatland/kernels/knn_formulas.h>
#include <flatland/kernels/simd.h>

#include <cstdint>

namespace flatland::kernels {

// Values that a row takes as float64, zeros past its end: all partial sums have the same length.
constexpr std::int64_t key_row_size(std::int64_t d) {
  return (d + k_key_lanes - 1) / k_key_lanes * k_key_lanes;
}

// One row against many.
struct KeyRow {
  const double* values;  // (key_row_size(D))
  double zero;           // the unit row's last column
};
constexpr int k_key_group = 4;
// Row i as float64.   values (key_row_size(D))
template <class T>
[[gnu::always_inline]] inline KeyRow key_row(const KeyRows<T>& rows, std::int64_t i, double* values) {
  const std::int64_t d = rows.x.cols, size = key_row_size(d);
  for (std::int64_t k = 0; k < size; ++k) values[k] = k < d ? rows.value(i, k) : 0;
  return {values, rows.units != nullptr ? rows.units[i].zero() : 0};
}

// keys[j] = key of row and y[index[j],:]
template <Isa I, class T>
void keys_of_list(const DistanceForm& form, KeyRow row, const KeyRows<T>& y, const std::int32_t* index,
                  std::int64_t n, double* keys);
// keys[r * n + j] = key of rows[r] and y[first + j,:], r < k_key_group
template <Isa I, class T>
void keys_of_range(const DistanceForm& form, const KeyRow* rows, const KeyRows<T>& y, std::int64_t first,
                   std::int64_t n, double* keys);

// Candidates for the neighbours of each row: every item whose approximate squared distance, less the bound of
// its error, is at most the row's threshold. The approximation is norm_i + norm_j - 2 product_ij; with norms
// that are (1 - c) |z|^2 already, it is that lower bound up to a constant.
struct Candidates {
  float* lower = nullptr;         // (rows, capacity)
  std::int32_t* index = nullptr;  // (rows, capacity)
  std::int32_t* count = nullptr;  // (rows)
  // (rows, and k_candidate_pad values past them that can be read). -infinity: the row has too many candidates
  // within the error bound and gives up; it needs all distances.
  float* threshold = nullptr;
  // Without norms the approximations pass for the distances themselves: a row keeps the k nearest and what
  // else there is room for, and never gives up.
  const float* own_norm = nullptr;    // (rows)
  const float* other_norm = nullptr;  // (items)
  float largest_norm = 0;             // of other_norm
  float slack = 0;                    // upper less lower bound, relative to norm_i + norm_j
  float slack_absolute = 0;
  std::int64_t capacity = 0;  // a multiple of k_candidate_pad
  std::int64_t k = 0;
};
inline constexpr std::int64_t k_candidate_pad = 64;

// More than k that a row keeps when it is tightened, where they differ.
constexpr std::int64_t candidate_spare(const Candidates& c) {
  return (c.capacity - c.k) / 16;
}

// Lowers the threshold of a row with at least k candidates and drops those past it: at least k remain.
template <Isa I>
void tighten(const Candidates& candidates, std::int64_t row, bool may_give_up);

// A tile of products: of rows row0, ... of the candidates, or of those listed, with items col0, ....
struct ProductTile {
  const float* product;  // (rows, cols), rows `ld` apart
  std::int64_t ld;
  const float* row_norm;  // (rows)
  const float* col_norm;  // (cols + k_candidate_pad)
  std::int64_t row0 = 0;
  std::int64_t rows = 0;
  std::int64_t col0 = 0;
  std::int64_t cols = 0;
  const std::int64_t* row_list = nullptr;  // (rows)
  std::int64_t self = INT32_MIN;           // row r of the candidates is item self + r, and skips it
  bool symmetric = false;  // rows and columns are different items of one set: feeds the columns too
};
template <Isa I>
void scan_tile(const Candidates& candidates, const ProductTile& tile);

}  // namespace flatland::kernels
