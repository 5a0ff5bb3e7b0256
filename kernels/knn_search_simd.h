// What an exact and an approximate search share. Private.
#pragma once

#include <flatland/kernels/check.h>
#include <flatland/kernels/knn_select_simd.h>
#include <flatland/kernels/knn_simd.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <cstdint>

namespace flatland::kernels {

inline void check_knn_count(const char* who, std::int64_t n) {
  FLATLAND_CHECK(n < std::int64_t{1} << 31, who, ": ", n, " rows; indices of 32 bits reach 2^31 - 1");
}
template <class T>
void check_knn_results(const char* who, std::int64_t n, std::int64_t k, MatView<std::int32_t> index,
                       MatView<T> dist) {
  FLATLAND_CHECK(index.rows == n && index.cols == k, who, ": index is ", index, " but must be (", n, ", ", k,
                 ")");
  FLATLAND_CHECK(dist.rows == n && dist.cols == k, who, ": dist is ", dist, " but must be (", n, ", ", k,
                 ")");
}
// Of a search for the neighbours of each row among the others.
template <class T>
void check_knn(const char* who, In<T> x, std::int64_t k, MatView<std::int32_t> index, MatView<T> dist) {
  check_knn_count(who, x.rows);
  FLATLAND_CHECK(k >= 0 && (k < x.rows || k == 0), who, ": ", k, " neighbours among ", x.rows,
                 " rows; a row has at most ", std::max<std::int64_t>(x.rows - 1, 0));
  check_knn_results<T>(who, x.rows, k, index, dist);
}

// The unit rows of rows.x, in `out` from now on.
template <class T>
void fill_units(const Exec& exec, const DistanceForm& form, KeyRows<T>& rows, UnitRow* out) {
  rows.units = out;
  parallel_for(exec, ceil_div(rows.x.rows, 64), [&](std::int64_t block, int) {
    for (std::int64_t i = block * 64; i < std::min(rows.x.rows, (block + 1) * 64); ++i)
      out[i] = unit_row(form, rows.x.row(i), rows.x.cols);
  });
}

template <class T>
void write_row(const KnnSearch<T>& search, std::int64_t row, const Neighbor* sorted) {
  for (std::int64_t j = 0; j < search.k; ++j) {
    const double key = sorted[j].key;
    search.index(row, j) = sorted[j].index;
    search.dist(row, j) = static_cast<T>(distance_of_key(search.form.finish, key));
  }
}

// Writes the nearest of n >= k items of base.   values (key_row_size(D) + n)   room (2 n)
template <Isa I, class T>
void rank_items(const KnnSearch<T>& search, std::int64_t row, const std::int32_t* items, std::int64_t n,
                double* values, Neighbor* room) {
  double* keys = values + key_row_size(search.base.x.cols);
  keys_of_list<I, T>(search.form, key_row<T>(search.query, row, values), search.base, items, n, keys);
  for (std::int64_t j = 0; j < n; ++j) room[j] = {keys[j], items[j]};
  sort_neighbors(room, room + n, n);
  write_row(search, row, room);
}

}  // namespace flatland::kernels
