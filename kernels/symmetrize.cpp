// Joining a neighbour graph with its transpose: a stable counting sort makes the transpose, then each row and
// its transpose are laid over a dense row and read back in ascending order. Which entry goes where has one
// possible outcome, so the number of chunks may follow the number of threads.
#include <flatland/kernels/column_set.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/sparse.h>
#include <flatland/kernels/symmetrize_cuda.h>
#include <flatland/kernels/symmetrize_formulas.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_symmetrize_rows = 64;
constexpr std::int64_t k_most_chunks = 8;  // each keeps a counter a column

template <class T>
GraphRows<T> rows_of(MatView<const std::int32_t> index, const T* value, std::int64_t value_ld) {
  GraphRows<T> m;
  m.rows = index.rows;
  m.k = index.cols;
  m.col_ld = index.ld;
  m.value_ld = value_ld;
  m.col = index.data;
  m.value = value;
  return m;
}
template <class T>
GraphRows<T> rows_of(const SparseRows<T>& m) {
  return {m.rows, m.begin, m.end, 0, 0, 0, m.col, m.value};
}

template <class T>
std::int64_t entries_of(const GraphRows<T>& m) {
  if (!m.begin) return checked_mul(m.rows, m.k);
  std::int64_t n = 0;
  for (std::int64_t i = 0; i < m.rows; ++i) n += m.size(i);
  return n;
}

// --- what can be wrong --------------------------------------------------------------------------------

void check_column(std::int64_t i, std::int32_t col, std::int64_t rows) {
  FLATLAND_CHECK(col >= 0 && col < rows, "symmetrize: row ", i, " has column ", col, " but there are ", rows,
                 " rows; the graph must be over its own items");
}
void check_distinct(bool distinct, std::int64_t i, std::int32_t col) {
  FLATLAND_CHECK(distinct, "symmetrize_count: row ", i, " has column ", col,
                 " twice; the columns of a row must be distinct");
}
void check_excess(std::int64_t excess, std::int64_t i) {
  FLATLAND_CHECK(excess == 0, "symmetrize: row ", i, " has ", excess,
                 " entries more than row_offset says; call ", "symmetrize_count on the same graph");
}

// Says what a GPU found, in the words of the CPU.
template <class T>
void check_fault(const Exec& exec, const GraphRows<T>& m, const cuda::SymmetrizeFault& fault) {
  const std::int64_t i = fault.row;
  if (i < 0) return;
  check_excess(fault.excess, i);
  const auto on_host = [&](auto* value, std::int64_t n) {
    std::vector<std::remove_cvref_t<decltype(*value)>> host(static_cast<std::size_t>(n));
    copy_to_host(exec, host.data(), value, host.size() * sizeof(*value));
    return host;
  };
  GraphRows<T> row{1, nullptr, nullptr, m.k, m.col_ld, 0, m.col + i * m.col_ld};
  if (m.begin) {
    const std::int64_t begin = on_host(m.begin + i, 1)[0];
    row.k = on_host(m.end + i, 1)[0] - begin;
    row.col = m.col + begin;
  }
  std::vector<std::int32_t> seen;
  const std::vector<std::int32_t> cols = on_host(row.col, row.k);
  for (const std::int32_t col : cols) check_column(i, col, m.rows);
  for (const std::int32_t col : cols) {
    check_distinct(std::ranges::find(seen, col) == seen.end(), i, col);
    seen.push_back(col);
  }
}

// --- transposing --------------------------------------------------------------------------------------

// Compressed rows in scratch memory; without values when only the pattern matters.
template <class T>
class ScratchCsr {
 public:
  ScratchCsr(const Exec& exec, std::int64_t rows, std::int64_t entries, bool with_values)
      : offset_(exec, rows + 1), col_(exec, entries), value_(exec, with_values ? entries : 0), rows_(rows) {
    with_values_ = with_values;
  }
  GraphRows<T> view() const {
    return {rows_,
            offset_.data(),
            offset_.data() + 1,
            0,
            0,
            0,
            col_.data(),
            with_values_ ? value_.data() : nullptr};
  }
  std::int64_t* offset() const { return offset_.data(); }
  std::int32_t* col() const { return col_.data(); }
  T* value() const { return with_values_ ? value_.data() : nullptr; }

 private:
  ScratchArray<std::int64_t> offset_;
  ScratchArray<std::int32_t> col_;
  ScratchArray<T> value_;
  std::int64_t rows_;
  bool with_values_;
};

template <class T>
void count_columns(const GraphRows<T>& m, std::int64_t first, std::int64_t last, std::int64_t* count) {
  std::fill_n(count, m.rows, std::int64_t{0});
  for (std::int64_t i = first; i < last; ++i) {
    const std::int32_t* col = m.cols(i);
    for (std::int64_t j = 0; j < m.size(i); ++j) {
      check_column(i, col[j], m.rows);
      ++count[col[j]];
    }
  }
}

template <class T>
void scatter_columns(const GraphRows<T>& m, std::int64_t first, std::int64_t last, std::int64_t* cursor,
                     const ScratchCsr<T>& out) {
  std::int32_t* out_col = out.col();
  T* out_value = out.value();
  for (std::int64_t i = first; i < last; ++i) {
    const std::int32_t* col = m.cols(i);
    const T* value = m.values(i);
    for (std::int64_t j = 0; j < m.size(i); ++j) {
      const std::int64_t at = cursor[col[j]]++;
      out_col[at] = static_cast<std::int32_t>(i);
      if (out_value) out_value[at] = value[j];
    }
  }
}

std::int64_t chunks_of(int threads) {
  return std::min<std::int64_t>(threads, k_most_chunks);
}

// out = transpose of m, columns ascending whatever the order of m's.
template <class T>
void transpose(const Exec& exec, const GraphRows<T>& m, const ScratchCsr<T>& out) {
  const std::int64_t n = m.rows;
  const std::int64_t chunks = chunks_of(exec.threads());
  const std::int64_t chunk_rows = ceil_div(n, chunks);
  const ScratchArray<std::int64_t> cursor(exec, checked_mul(n, chunks));
  const auto first = [&](std::int64_t c) { return std::min(n, c * chunk_rows); };
  parallel_for(exec, chunks,
               [&](std::int64_t c, int) { count_columns(m, first(c), first(c + 1), cursor.data() + c * n); });
  std::int64_t total = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    out.offset()[j] = total;
    for (std::int64_t c = 0; c < chunks; ++c) {
      const std::int64_t count = cursor[c * n + j];
      cursor[c * n + j] = total;
      total += count;
    }
  }
  out.offset()[n] = total;
  parallel_for(exec, chunks, [&](std::int64_t c, int) {
    scatter_columns(m, first(c), first(c + 1), cursor.data() + c * n, out);
  });
}

// Calls work(i, thread) for each row.
template <class Work>
void for_rows(const Exec& exec, std::int64_t n, const Work& work) {
  parallel_for(exec, ceil_div(n, k_symmetrize_rows), [&](std::int64_t tile, int thread) {
    for (std::int64_t i = tile * k_symmetrize_rows; i < std::min(n, (tile + 1) * k_symmetrize_rows); ++i)
      work(i, thread);
  });
}

template <class T>
std::int64_t count(const Exec& exec, const GraphRows<T>& m, std::span<std::int64_t> row_offset) {
  const std::int64_t n = m.rows;
  FLATLAND_CHECK(std::ssize(row_offset) == n + 1, "symmetrize_count: ", n, " rows but row_offset holds ",
                 row_offset.size(), "; it needs one more than there are rows");
  FLATLAND_CHECK(n <= std::numeric_limits<std::int32_t>::max(), "symmetrize_count: ", n,
                 " rows; 32-bit columns allow 2147483647");
  FLATLAND_ON_CUDA(exec) {
    std::int64_t entries = 0;
    check_fault(exec, m, cuda::symmetrize_count<T>(exec, m, row_offset, &entries));
    return entries;
  }
  const ScratchCsr<T> transposed(exec, n, entries_of(m), false);
  transpose(exec, m, transposed);
  const GraphRows<T> t = transposed.view();
  const ScratchArray<std::int32_t> stamps(exec, n * exec.threads());  // the last row that has this column
  std::fill_n(stamps.data(), n * exec.threads(), -1);
  row_offset[0] = 0;
  for_rows(exec, n, [&](std::int64_t i, int thread) {
    std::int32_t* stamp = stamps.data() + thread * n;
    const std::int32_t* col = m.cols(i);
    for (std::int64_t e = 0; e < m.size(i); ++e) {
      check_distinct(stamp[col[e]] != i, i, col[e]);
      stamp[col[e]] = static_cast<std::int32_t>(i);
    }
    std::int64_t common = 0;
    for (std::int64_t e = 0; e < t.size(i); ++e) common += stamp[t.cols(i)[e]] == i;
    row_offset[static_cast<std::size_t>(i) + 1] = m.size(i) + t.size(i) - common;
  });
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) row_offset[i + 1] += row_offset[i];
  return row_offset[static_cast<std::size_t>(n)];
}

// Row i of the matrix and of its transpose, side by side; zeros where there is no entry.
template <class T>
struct Pair {
  T own = 0;
  T transposed = 0;
};

template <class T>
void join(const Exec& exec, SymmetrizeKind kind, const GraphRows<T>& m,
          std::span<const std::int64_t> row_offset, std::span<std::int32_t> col, std::span<T> out) {
  const std::int64_t n = m.rows;
  const bool has_rows = std::ssize(row_offset) == n + 1;
  std::int64_t entries = 0;
  if (has_rows) copy_to_host(exec, &entries, row_offset.data() + n, sizeof(entries));
  FLATLAND_CHECK(has_rows && std::ssize(col) == entries && out.size() == col.size(), "symmetrize: ", n,
                 " rows but row_offset holds ", row_offset.size(), ", col ", col.size(), " and out ",
                 out.size(), " values; take the sizes from symmetrize_count");
  FLATLAND_ON_CUDA(exec)
  return check_fault(exec, m, cuda::symmetrize<T>(exec, kind, m, row_offset, col, out));
  const ScratchCsr<T> transposed(exec, n, entries_of(m), true);
  transpose(exec, m, transposed);
  const GraphRows<T> t = transposed.view();
  const std::int64_t room = ColumnSet::room(n);
  const ScratchArray<std::uint64_t> sets(exec, room * exec.threads());
  const ScratchArray<Pair<T>> dense(exec, n * exec.threads());
  std::fill_n(sets.data(), room * exec.threads(), std::uint64_t{0});
  std::fill_n(dense.data(), n * exec.threads(), Pair<T>{});
  for_rows(exec, n, [&](std::int64_t i, int thread) {
    ColumnSet set(sets.data() + thread * room, n);
    Pair<T>* pair = dense.data() + thread * n;
    for (std::int64_t e = 0; e < m.size(i); ++e) {
      pair[m.cols(i)[e]].own = m.values(i)[e];
      set.insert(m.cols(i)[e]);
    }
    for (std::int64_t e = 0; e < t.size(i); ++e) {
      pair[t.cols(i)[e]].transposed = t.values(i)[e];
      set.insert(t.cols(i)[e]);
    }
    std::int64_t at = row_offset[static_cast<std::size_t>(i)];
    const std::int64_t last = row_offset[static_cast<std::size_t>(i) + 1];
    set.drain([&](std::int32_t c) {
      if (at < last) {
        col[static_cast<std::size_t>(at)] = c;
        out[static_cast<std::size_t>(at)] = joined(kind, pair[c].own, pair[c].transposed);
      }
      pair[c] = {};
      ++at;
    });
    check_excess(at - last, i);
  });
}

template <class T>
void check_square(const char* who, const SparseRows<T>& m) {
  FLATLAND_CHECK(m.rows == m.cols, who, ": the matrix is (", m.rows, ", ", m.cols, "); it must be square");
}

}  // namespace

std::int64_t symmetrize_scratch(std::int64_t n, std::int64_t k, std::size_t value_size, int threads) {
  const auto value = static_cast<std::int64_t>(value_size);
  const std::int64_t transposed = k * (4 + value) + 8, cursors = 8 * chunks_of(threads);
  return checked_mul(n, transposed + cursors + 2 * value * threads) + 8 * ColumnSet::room(n) * threads;
}

std::int64_t symmetrize_count(const Exec& exec, MatView<const std::int32_t> index,
                              std::span<std::int64_t> row_offset) {
  return count(exec, rows_of<float>(index, nullptr, 0), row_offset);
}

template <class T>
void symmetrize(const Exec& exec, SymmetrizeKind kind, MatView<const std::int32_t> index, In<T> value,
                std::span<const std::int64_t> row_offset, std::span<std::int32_t> col, std::span<T> out) {
  FLATLAND_CHECK(index.rows == value.rows && index.cols == value.cols, "symmetrize: index is ", index,
                 " but value is ", value, "; they must have the same shape");
  join(exec, kind, rows_of<T>(index, value.data, value.ld), row_offset, col, out);
}

template <class T>
std::int64_t symmetrize_count(const Exec& exec, const SparseRows<T>& m, std::span<std::int64_t> row_offset) {
  check_square("symmetrize_count", m);
  GraphRows<T> pattern = rows_of(m);
  pattern.value = nullptr;
  return count(exec, pattern, row_offset);
}

template <class T>
void symmetrize(const Exec& exec, SymmetrizeKind kind, const SparseRows<T>& m,
                std::span<const std::int64_t> row_offset, std::span<std::int32_t> col, std::span<T> out) {
  check_square("symmetrize", m);
  join(exec, kind, rows_of(m), row_offset, col, out);
}

template void symmetrize<float>(const Exec&, SymmetrizeKind, MatView<const std::int32_t>, In<float>,
                                std::span<const std::int64_t>, std::span<std::int32_t>, std::span<float>);
template void symmetrize<double>(const Exec&, SymmetrizeKind, MatView<const std::int32_t>, In<double>,
                                 std::span<const std::int64_t>, std::span<std::int32_t>, std::span<double>);
template std::int64_t symmetrize_count<float>(const Exec&, const SparseRows<float>&, std::span<std::int64_t>);
template std::int64_t symmetrize_count<double>(const Exec&, const SparseRows<double>&,
                                               std::span<std::int64_t>);
template void symmetrize<float>(const Exec&, SymmetrizeKind, const SparseRows<float>&,
                                std::span<const std::int64_t>, std::span<std::int32_t>, std::span<float>);
template void symmetrize<double>(const Exec&, SymmetrizeKind, const SparseRows<double>&,
                                 std::span<const std::int64_t>, std::span<std::int32_t>, std::span<double>);

}  // namespace flatland::kernels
