// The steps of a search for neighbours on the GPU (private to knn*.cu).
//
// Query rows are searched a block of them at a time, each against blocks of base rows. A row keeps a pool of
// candidates; a threshold says what may still enter. When a pool is full, it keeps the best of it and the
// threshold falls.
#pragma once

#include <flatland/kernels/knn_formulas.h>
#include <flatland/kernels/cuda.cuh>

#include <limits>

namespace flatland::kernels::cuda {

inline constexpr int k_knn_threads = 256;

// Which rows: `rows`, or first, first + 1, ...
struct RowList {
  const std::int32_t* rows = nullptr;
  std::int64_t first = 0;
  std::int64_t count = 0;

  FLATLAND_HD std::int64_t operator[](std::int64_t i) const {
    return rows != nullptr ? rows[first + i] : first + i;
  }
  RowList part(std::int64_t from, std::int64_t n) const { return {rows, first + from, n}; }
};

// An item by its exact key (double) or the lower bound of its approximate squared distance (float).
template <class Key>
struct alignas(2 * sizeof(Key)) Candidate {
  Key key;
  std::int32_t index;
};

// The candidates of a block of rows.
template <class Key>
struct Pools {
  Candidate<Key>* items = nullptr;  // (rows, capacity)
  std::int32_t* count = nullptr;    // (rows)
  Key* threshold = nullptr;         // (rows)
  std::int64_t capacity = 0;
  std::int64_t k = 0;

  FLATLAND_HD Candidate<Key>* row(std::int64_t i) const { return items + i * capacity; }
};

// --- knn_rows.cu: what the approximate distances are made of

template <class T>
void make_unit_rows(const Exec& exec, const DistanceForm& form, MatView<const T> x, UnitRow* units);
// The mean of up to 1,024 rows. shift (rows.columns())
template <class T>
void mean_of_rows(const Exec& exec, const KeyRows<T>& rows, double* shift);
// The largest difference from `shift`; infinity where a value is not finite.
template <class T>
double largest_difference(const Exec& exec, const KeyRows<T>& rows, const double* shift);
// z (list.count, at least rows.columns(); zeros past them) and (1 - c) |z|^2. `for_tensor_cores`: z has the
// 11 significant bits that they multiply.
template <class T>
void make_tile_rows(const Exec& exec, const KeyRows<T>& rows, const RowList& list, const TileScale& scale,
                    bool for_tensor_cores, MatView<float> z, float* norm);

// --- knn_keys.cu: exact keys

// keys[r, j] = key of row list[r] of query and base row first + j.   keys (list.count, n)
template <class T>
void keys_of_block(const Exec& exec, const KnnSearch<T>& search, const RowList& list, std::int64_t first,
                   MatView<double> keys);
// The candidates of `from` with their exact keys; same capacity.
template <class T>
void keys_of_candidates(const Exec& exec, const KnnSearch<T>& search, const RowList& list,
                        const Pools<float>& from, Candidate<double>* to);

// The key of squares of row i of query and row j of base, of whole warps: a pair for each eight lanes, a
// partial sum a lane.
template <class T>
__device__ double key_of_pair(const KeyRows<T>& query, std::int64_t i, const KeyRows<T>& base,
                              std::int64_t j) {
  constexpr int lanes = static_cast<int>(k_key_lanes);
  double sum = 0;
#pragma unroll 4
  for (std::int64_t k = threadIdx.x % lanes; k < query.x.cols; k += lanes)
    sum = add_key_term<Term::squares>(sum, query.value(i, k) - base.value(j, k));
#pragma unroll
  for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(k_all_lanes, sum, offset);
  if (query.units != nullptr)
    sum = add_key_term<Term::squares>(sum, query.units[i].zero() - base.units[j].zero());
  return ordered_key(sum);
}

// --- knn_select.cu

void clear(const Exec& exec, const Pools<float>& pools, std::int64_t rows);
void clear(const Exec& exec, const Pools<double>& pools, std::int64_t rows);

// Lower bounds of approximate distances: norm_i + norm_j - 2 product_ij, with norms that are (1 - c) |z|^2.
// A row whose pool is full of candidates within the error bound gives up: its threshold becomes -infinity and
// its pool empty.
struct TileNorms {
  const float* own;    // (list.count)
  const float* other;  // of all base rows
  float slack, slack_absolute;
};
// products (list.count, n): of the list's rows by base rows first, first + 1, ...; none is its own candidate
// when `self`.
void scan(const Exec& exec, const Pools<float>& pools, const TileNorms& norms, const RowList& list, bool self,
          std::int64_t first, MatView<const float> products);
// Drops what surely is not among the k nearest. gave_up[r] = 1 or 0
void finish_scan(const Exec& exec, const Pools<float>& pools, const TileNorms& norms, std::int64_t rows,
                 std::int32_t* gave_up);
// Takes exact keys of base rows first, first + 1, ... into the pools. Blocks come by ascending `first`.
void take(const Exec& exec, const Pools<double>& pools, const RowList& list, bool self, std::int64_t first,
          MatView<const double> keys);

// Writes the k best of each row that has candidates, in order.   items (list.count, capacity)
template <class T>
void write_neighbors(const Exec& exec, const KnnSearch<T>& search, const RowList& list,
                     const Candidate<double>* items, std::int64_t capacity, const std::int32_t* count);

}  // namespace flatland::kernels::cuda
