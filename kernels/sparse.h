// Sparse square matrices in compressed rows, as graphs of items.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/view.h>

#include <cstdint>
#include <span>

namespace flatland::kernels {

// Rows of (column, value) entries. Row i holds entries begin[i] .. end[i] - 1. For CSR with row offsets r,
// begin = r and end = r + 1; rows with gaps between them are as good. Columns ascend within a row.
template <class T>
struct SparseRows {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  const std::int64_t* begin = nullptr;
  const std::int64_t* end = nullptr;
  const std::int32_t* col = nullptr;
  const T* value = nullptr;
};

// The number of entries of the longest row; -1 when these are no compressed rows of `cols` columns: offsets
// that do not run from 0 to the number of entries or descend, columns out of range or not ascending in a row.
//   row_offset (N + 1)   col (entries)
std::int64_t longest_row(const Exec& exec, std::int64_t cols, std::span<const std::int64_t> row_offset,
                         std::span<const std::int32_t> col);

// Divides each row by its sum, formed in double, in place; a row whose sum is 0 stays.
//   row_offset (N + 1)   value (entries)
template <class T>
void normalize_rows(const Exec& exec, std::span<const std::int64_t> row_offset, OutSpan<T> value);

// mask[e] = 0 for the entries of the diagonal, 1 for all others.
//   row_offset (N + 1)   mask (entries)   col (entries), or empty: entry j of a row is in column j
template <class T>
void off_diagonal(const Exec& exec, std::span<const std::int64_t> row_offset,
                  std::span<const std::int32_t> col, OutSpan<T> mask);

// How M and its transpose are joined: (M + M^T) / 2, or M + M^T - M o M^T (the probabilistic t-conorm of
// UMAP).
enum class SymmetrizeKind { mean, fuzzy_union };

// The symmetrised matrix of a neighbour graph (or of any sparse matrix, see below), in two calls, because its
// size is not known before: the first counts, the second writes. Columns ascend; no diagonal is added.
//   index, value (N, k): row i has entries (index[i,j], value[i,j]); indices of a row are distinct
//   row_offset (N + 1)
// Returns the number of entries (row_offset[N]), on the host; all else lies in memory of exec's device.
// Scratch memory on a GPU: 25 bytes an entry of M, which has at most 2^32 - 1; the second call waits, too, to
// report what is wrong.
std::int64_t symmetrize_count(const Exec& exec, MatView<const std::int32_t> index,
                              std::span<std::int64_t> row_offset);
//   col, out (row_offset[N])
template <class T>
void symmetrize(const Exec& exec, SymmetrizeKind kind, MatView<const std::int32_t> index, In<T> value,
                std::span<const std::int64_t> row_offset, std::span<std::int32_t> col, std::span<T> out);
// Bytes of scratch memory that the second call takes on the CPU, more than the first; value_size: sizeof(T).
std::int64_t symmetrize_scratch(std::int64_t n, std::int64_t k, std::size_t value_size, int threads);
// The same for a square matrix in sparse rows.
template <class T>
std::int64_t symmetrize_count(const Exec& exec, const SparseRows<T>& m, std::span<std::int64_t> row_offset);
template <class T>
void symmetrize(const Exec& exec, SymmetrizeKind kind, const SparseRows<T>& m,
                std::span<const std::int64_t> row_offset, std::span<std::int32_t> col, std::span<T> out);

// y = sum_j m[i,j] x[j,:], the product with a dense matrix.   m (N, M)   x (M, D)   y (N, D)
template <class T>
void sparse_times_dense(const Exec& exec, const SparseRows<T>& m, In<T> x, Out<T> y);

// The dense block m[index][:, index], in the order of `index`; distinct items. Divided by its sum when
// `normalize` (a sum of 0 leaves zeros). *sum, in memory of exec's device, is the sum before division; it may
// be null.
//   index (B)   block (B, B)   position (N): scratch that holds -1 everywhere before and after the call
// On a GPU items that are not there are left out, unnoticed; two launches up to B = 1,024, then three.
template <class T>
void dense_block(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
                 std::span<std::int32_t> position, bool normalize, Out<T> block, T* sum);
template <class T>
T dense_block(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
              std::span<std::int32_t> position, bool normalize, Out<T> block) {
  return on_host<T>(exec, [&](T* sum) { dense_block<T>(exec, m, index, position, normalize, block, sum); });
}

// The same block in sparse rows: row i begins at i * capacity, its columns ascend.
//   capacity >= min(B, longest row)   begin, end (B)   col, value (B * capacity)
template <class T>
void sparse_block(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
                  std::span<std::int32_t> position, bool normalize, std::int64_t capacity,
                  std::span<std::int64_t> begin, std::span<std::int64_t> end, std::span<std::int32_t> col,
                  OutSpan<T> value, T* sum);
template <class T>
T sparse_block(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
               std::span<std::int32_t> position, bool normalize, std::int64_t capacity,
               std::span<std::int64_t> begin, std::span<std::int64_t> end, std::span<std::int32_t> col,
               OutSpan<T> value) {
  return on_host<T>(exec, [&](T* sum) {
    sparse_block<T>(exec, m, index, position, normalize, capacity, begin, end, col, value, sum);
  });
}

}  // namespace flatland::kernels
