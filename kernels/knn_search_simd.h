// What an exact and an approximate search share. Private.
#pragma once

#include <flatland/kernels/check.h>
#include <flatland/kernels/knn_select_simd.h>
#include <flatland/kernels/knn_simd.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <cstdint>
#include <limits>

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
  const std::int64_t ranked = n > 4 * search.k ? search.k : n;
  if (ranked < n) std::nth_element(room, room + ranked, room + n);
  sort_neighbors(room, room + n, ranked);
  write_row(search, row, room);
}

// Room for candidates of a row.
inline std::int64_t candidate_capacity(std::int64_t k) {
  return ceil_div(3 * k + 64, k_candidate_pad) * k_candidate_pad;
}

inline constexpr float k_no_limit = std::numeric_limits<float>::infinity();

// Memory for the candidates of `rows` rows.
class CandidateStore {
 public:
  CandidateStore(const Exec& exec, std::int64_t rows, std::int64_t k)
      : capacity_(candidate_capacity(k)),
        lower_(exec, checked_mul(rows, capacity_)),
        index_(exec, checked_mul(rows, capacity_)),
        count_(exec, rows),
        threshold_(exec, rows + k_candidate_pad),
        k_(k) {}
  // Of rows first, ..., first + rows - 1: none yet.
  Candidates candidates(std::int64_t first, std::int64_t rows) const {
    std::fill_n(count_.data() + first, rows, 0);
    std::fill_n(threshold_.data() + first, rows, k_no_limit);
    return {.lower = lower_.data() + first * capacity_,
            .index = index_.data() + first * capacity_,
            .count = count_.data() + first,
            .threshold = threshold_.data() + first,
            .capacity = capacity_,
            .k = k_};
  }

 private:
  std::int64_t capacity_;
  ScratchArray<float> lower_;
  ScratchArray<std::int32_t> index_;
  ScratchArray<std::int32_t> count_;
  ScratchArray<float> threshold_;
  std::int64_t k_;
};

// Tightens a row of more candidates than that would leave of different ones.
template <Isa I>
void tighten_loose(const Candidates& c, std::int64_t row) {
  if (c.count[row] > c.k + candidate_spare(c)) tighten<I>(c, row, false);
}

// Orders the candidates of n rows by their exact keys and writes them, but for rows that gave up. Row and
// item i of the candidates are row_at(i) and item_at(i) of the search.
template <Isa I, class T, class RowAt, class ItemAt>
void rank_candidates(const Exec& exec, const KnnSearch<T>& search, const Candidates& candidates,
                     std::int64_t n, RowAt row_at, ItemAt item_at) {
  constexpr std::int64_t block = 16;
  const std::int64_t size = key_row_size(search.base.x.cols);
  const std::int64_t capacity = candidates.capacity;
  const ScratchArray<double> values(exec, checked_mul(exec.threads(), size + capacity));
  const ScratchArray<Neighbor> rooms(exec, checked_mul(exec.threads(), 2 * capacity));
  parallel_for(exec, ceil_div(n, block), [&](std::int64_t task, int thread) {
    double* value = values.data() + thread * (size + capacity);
    Neighbor* found = rooms.data() + thread * 2 * capacity;
    for (std::int64_t i = task * block; i < std::min(n, (task + 1) * block); ++i) {
      if (candidates.threshold[i] == -k_no_limit) continue;
      tighten_loose<I>(candidates, i);
      const std::int64_t count = candidates.count[i];
      std::int32_t* items = candidates.index + i * capacity;
      for (std::int64_t j = 0; j < count; ++j) items[j] = item_at(items[j]);
      rank_items<I, T>(search, row_at(i), items, count, value, found);
    }
  });
}

}  // namespace flatland::kernels
