#include <flatland/kernels/parallel.h>
#include <flatland/kernels/sparse_cuda.h>
#include <flatland/kernels/sparse_simd.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>

namespace flatland::kernels {

std::int64_t longest_row(const Exec& exec, std::int64_t cols, std::span<const std::int64_t> row_offset,
                         std::span<const std::int32_t> col) {
  FLATLAND_CHECK(!row_offset.empty(),
                 "longest_row: row_offset is empty; it needs one more than there are rows");
  FLATLAND_ON_CUDA(exec) return cuda::longest_row(exec, cols, row_offset, col);
  if (row_offset.front() != 0 || row_offset.back() != std::ssize(col)) return -1;
  std::int64_t longest = 0;
  for (std::size_t i = 0; i + 1 < row_offset.size(); ++i) {
    const std::int64_t begin = row_offset[i], end = row_offset[i + 1];
    if (begin > end || end > std::ssize(col)) return -1;
    std::int64_t before = -1;
    for (const std::int32_t c :
         col.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))) {
      if (c <= before || c >= cols) return -1;
      before = c;
    }
    longest = std::max(longest, end - begin);
  }
  return longest;
}

namespace {

constexpr std::int64_t k_sparse_rows = 16;

// Calls work(i, first, end) for the entries of each row.
template <class Work>
void for_rows(const Exec& exec, std::span<const std::int64_t> row_offset, const Work& work) {
  const std::int64_t rows = std::ssize(row_offset) - 1;
  parallel_for(exec, ceil_div(rows, k_sparse_rows), [&](std::int64_t tile, int) {
    for (std::int64_t i = tile * k_sparse_rows; i < std::min(rows, (tile + 1) * k_sparse_rows); ++i)
      work(i, row_offset[static_cast<std::size_t>(i)], row_offset[static_cast<std::size_t>(i) + 1]);
  });
}

}  // namespace

template <class T>
void normalize_rows(const Exec& exec, std::span<const std::int64_t> row_offset, OutSpan<T> value) {
  FLATLAND_CHECK(!row_offset.empty(),
                 "normalize_rows: row_offset is empty; it needs one more than there are rows");
  FLATLAND_ON_CUDA(exec) return cuda::normalize_rows<T>(exec, row_offset, value);
  for_rows(exec, row_offset, [&](std::int64_t, std::int64_t first, std::int64_t end) {
    double sum = 0;
    for (std::int64_t e = first; e < end; ++e) sum += static_cast<double>(value[static_cast<std::size_t>(e)]);
    for (std::int64_t e = first; e < end && sum != 0; ++e) {
      T& v = value[static_cast<std::size_t>(e)];
      v = static_cast<T>(static_cast<double>(v) / sum);
    }
  });
}

template <class T>
void off_diagonal(const Exec& exec, std::span<const std::int64_t> row_offset,
                  std::span<const std::int32_t> col, OutSpan<T> mask) {
  FLATLAND_CHECK(!row_offset.empty(),
                 "off_diagonal: row_offset is empty; it needs one more than there are rows");
  FLATLAND_CHECK(col.empty() || col.size() == mask.size(), "off_diagonal: ", col.size(), " columns but ",
                 mask.size(), " values");
  FLATLAND_ON_CUDA(exec) return cuda::off_diagonal<T>(exec, row_offset, col, mask);
  for_rows(exec, row_offset, [&](std::int64_t i, std::int64_t first, std::int64_t end) {
    for (std::int64_t e = first; e < end; ++e) {
      const auto at = static_cast<std::size_t>(e);
      mask[at] = static_cast<T>((col.empty() ? e - first : col[at]) != i);
    }
  });
}

template <class T>
void sparse_times_dense(const Exec& exec, const SparseRows<T>& m, In<T> x, Out<T> y) {
  FLATLAND_CHECK(m.cols == x.rows && m.rows == y.rows && x.cols == y.cols, "sparse_times_dense: m is (",
                 m.rows, ", ", m.cols, "), x is ", x, " and y is ", y, "; want (N, M), (M, D) and (N, D)");
  FLATLAND_ON_CUDA(exec) return cuda::sparse_times_dense<T>(exec, m, x, y);
  with_isa([&](auto isa) {
    parallel_for(exec, ceil_div(m.rows, k_sparse_rows), [&](std::int64_t tile, int) {
      sparse_times_dense_rows<isa, T>(m, x, y, tile * k_sparse_rows,
                                      std::min(m.rows, (tile + 1) * k_sparse_rows));
    });
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                            \
  template void normalize_rows<T>(const Exec&, std::span<const std::int64_t>, OutSpan<T>);                 \
  template void off_diagonal<T>(const Exec&, std::span<const std::int64_t>, std::span<const std::int32_t>, \
                                OutSpan<T>);                                                               \
  template void sparse_times_dense<T>(const Exec&, const SparseRows<T>&, In<T>, Out<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
