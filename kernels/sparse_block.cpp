#include <flatland/kernels/column_set.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/sparse_block_cuda.h>
#include <flatland/kernels/sparse_simd.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_sparse_block_rows = 16;

// Marks the items of a block: position[index[i]] = i while it lives, -1 before and after.
class BlockPositions {
 public:
  BlockPositions(const char* who, std::span<const std::int64_t> index, std::span<std::int32_t> position)
      : index_(index), position_(position) {
    const std::int64_t n = std::ssize(position);
    for (std::size_t i = 0; i < index.size(); ++i) {
      const std::int64_t item = index[i];
      const bool inside = item >= 0 && item < n;
      if (inside && at(item) == -1) {
        at(item) = static_cast<std::int32_t>(i);
        continue;
      }
      index_ = index.first(i);
      restore();
      FLATLAND_CHECK(inside, who, ": item ", item, " at ", i, " of the index, but there are ", n, " items");
      flatland::detail::fail(
          who, ": item ", item, " at ", i,
          " of the index comes twice, or position does not hold -1 everywhere; the items must be distinct");
    }
  }
  ~BlockPositions() { restore(); }
  BlockPositions(const BlockPositions&) = delete;
  BlockPositions& operator=(const BlockPositions&) = delete;

 private:
  std::int32_t& at(std::int64_t item) { return position_[static_cast<std::size_t>(item)]; }
  void restore() {
    for (const std::int64_t item : index_) at(item) = -1;
  }

  std::span<const std::int64_t> index_;
  std::span<std::int32_t> position_;
};

// The entries of one row of a block: block columns in the order of the items' own columns, and values.
template <class T>
struct BlockRow {
  std::int32_t* col;
  T* value;
  std::int64_t size;
};

// The rows of a batch lie anywhere in memory: the first lines of the next one come while this one is scanned,
// the others by themselves.
template <class T>
void fetch_ahead(const SparseRows<T>& m, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t k_lines = 4;
  constexpr std::int64_t k_line = 64;
  for (std::int64_t line = 0; line < k_lines; ++line) {
    const std::int64_t e = begin + line * (k_line / static_cast<std::int64_t>(sizeof(T)));
    if (e >= end) break;
    __builtin_prefetch(m.col + e);
    __builtin_prefetch(m.value + e);
  }
}

// Finds the entries of every row of the block, then calls emit(i, row, thread) for each; the values are
// divided by their sum before when `normalize`. Returns the sum: rows in their order, then rows in index
// order.
template <class T, class Emit>
T for_block_rows(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
                 const std::int32_t* position, bool normalize, const Emit& emit) {
  const std::int64_t b = std::ssize(index);
  const std::int64_t tiles = ceil_div(b, k_sparse_block_rows);
  const auto item = [&](std::int64_t i) { return index[static_cast<std::size_t>(i)]; };
  const ScratchArray<std::int64_t> offset(exec, b + 1);
  offset[0] = 0;
  for (std::int64_t i = 0; i < b; ++i)
    offset[i + 1] = offset[i] + std::min(b, m.end[item(i)] - m.begin[item(i)]) + k_scan_overrun;
  const ScratchArray<std::int32_t> col(exec, offset[b]);
  const ScratchArray<T> value(exec, offset[b]);
  const ScratchArray<std::int64_t> size(exec, b);
  const ScratchArray<double> row_sum(exec, b);
  with_isa([&](auto isa) {
    parallel_for(exec, tiles, [&](std::int64_t tile, int) {
      for (std::int64_t i = tile * k_sparse_block_rows; i < std::min(b, (tile + 1) * k_sparse_block_rows);
           ++i) {
        const std::int64_t first = m.begin[item(i)];
        if (i + 1 < b) fetch_ahead(m, m.begin[item(i + 1)], m.end[item(i + 1)]);
        const ScanResult result =
            scan_row<isa, T>(m.col + first, m.value + first, m.end[item(i)] - first, position,
                             col.data() + offset[i], value.data() + offset[i]);
        size[i] = result.size;
        row_sum[i] = result.sum;
      }
    });
  });
  double total = 0;
  for (std::int64_t i = 0; i < b; ++i) total += row_sum[i];
  const T divisor = normalize && total != 0 ? static_cast<T>(total) : T{1};
  parallel_for(exec, tiles, [&](std::int64_t tile, int thread) {
    for (std::int64_t i = tile * k_sparse_block_rows; i < std::min(b, (tile + 1) * k_sparse_block_rows);
         ++i) {
      const BlockRow<T> row{col.data() + offset[i], value.data() + offset[i], size[i]};
      for (std::int64_t e = 0; e < row.size; ++e) row.value[e] /= divisor;
      emit(i, row, thread);
    }
  });
  return static_cast<T>(total);
}

template <class T>
void check_block(const char* who, const SparseRows<T>& m, std::span<std::int32_t> position) {
  FLATLAND_CHECK(m.rows == m.cols, who, ": the matrix is (", m.rows, ", ", m.cols, "); it must be square");
  FLATLAND_CHECK(std::ssize(position) == m.rows, who, ": position holds ", position.size(),
                 " values but there are ", m.rows, " items");
}

// Writes a row of a block with ascending columns; values wait in a dense row.
template <class T>
void write_ascending(const BlockRow<T>& row, ColumnSet set, T* dense, std::int32_t* col, T* value) {
  for (std::int64_t e = 0; e < row.size; ++e) {
    dense[row.col[e]] = row.value[e];
    set.insert(row.col[e]);
  }
  set.drain([&](std::int32_t c) {
    *col++ = c;
    *value++ = dense[c];
  });
}

}  // namespace

template <class T>
void dense_block(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
                 std::span<std::int32_t> position, bool normalize, Out<T> block, T* sum) {
  check_block("dense_block", m, position);
  const std::int64_t b = std::ssize(index);
  FLATLAND_CHECK(block.rows == b && block.cols == b, "dense_block: ", b, " items but the block is ", block);
  FLATLAND_ON_CUDA(exec) return cuda::dense_block<T>(exec, m, index, position, normalize, block, sum);
  const BlockPositions positions("dense_block", index, position);
  const T total = for_block_rows(exec, m, index, position.data(), normalize,
                                 [&](std::int64_t i, const BlockRow<T>& row, int) {
                                   std::fill_n(block.row(i), b, T{0});
                                   for (std::int64_t e = 0; e < row.size; ++e)
                                     block(i, row.col[e]) = row.value[e];
                                 });
  if (sum != nullptr) *sum = total;
}

template <class T>
void sparse_block(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
                  std::span<std::int32_t> position, bool normalize, std::int64_t capacity,
                  std::span<std::int64_t> begin, std::span<std::int64_t> end, std::span<std::int32_t> col,
                  OutSpan<T> value, T* sum) {
  check_block("sparse_block", m, position);
  const std::int64_t b = std::ssize(index);
  FLATLAND_CHECK(std::ssize(begin) == b && std::ssize(end) == b, "sparse_block: ", b,
                 " items but begin holds ", begin.size(), " and end ", end.size());
  FLATLAND_CHECK(std::ssize(col) >= checked_mul(b, capacity) && std::ssize(value) >= b * capacity,
                 "sparse_block: ", b, " rows of capacity ", capacity, " but col holds ", col.size(),
                 " and value ", value.size());
  FLATLAND_ON_CUDA(exec)
  return cuda::sparse_block<T>(exec, m, index, position, normalize, capacity, begin, end, col, value, sum);
  const BlockPositions positions("sparse_block", index, position);
  for (const std::int64_t item : index) {
    const std::int64_t most = std::min(b, m.end[item] - m.begin[item]);
    FLATLAND_CHECK(most <= capacity, "sparse_block: item ", item, " may have ", most,
                   " entries in the block but the capacity is ", capacity, "; give min(B, longest row)");
  }
  const std::int64_t room = ColumnSet::room(b);
  const ScratchArray<std::uint64_t> bits(exec, room * exec.threads());
  const ScratchArray<T> dense(exec, b * exec.threads());
  std::fill_n(bits.data(), room * exec.threads(), std::uint64_t{0});
  const T total = for_block_rows(
      exec, m, index, position.data(), normalize, [&](std::int64_t i, const BlockRow<T>& row, int thread) {
        const std::int64_t first = i * capacity;
        begin[static_cast<std::size_t>(i)] = first;
        end[static_cast<std::size_t>(i)] = first + row.size;
        write_ascending(row, ColumnSet(bits.data() + thread * room, b), dense.data() + thread * b,
                        col.data() + first, value.data() + first);
      });
  if (sum != nullptr) *sum = total;
}

#define FLATLAND_INSTANTIATE(T)                                                                       \
  template void dense_block<T>(const Exec&, const SparseRows<T>&, std::span<const std::int64_t>,      \
                               std::span<std::int32_t>, bool, Out<T>, T*);                            \
  template void sparse_block<T>(const Exec&, const SparseRows<T>&, std::span<const std::int64_t>,     \
                                std::span<std::int32_t>, bool, std::int64_t, std::span<std::int64_t>, \
                                std::span<std::int64_t>, std::span<std::int32_t>, OutSpan<T>, T*)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
