#pragma once

#include <flatland/kernels/sparse.h>

namespace flatland::kernels::cuda {

std::int64_t longest_row(const Exec& exec, std::int64_t cols, std::span<const std::int64_t> row_offset,
                         std::span<const std::int32_t> col);
template <class T>
void normalize_rows(const Exec& exec, std::span<const std::int64_t> row_offset, std::span<T> value);
template <class T>
void off_diagonal(const Exec& exec, std::span<const std::int64_t> row_offset,
                  std::span<const std::int32_t> col, std::span<T> mask);
template <class T>
void sparse_times_dense(const Exec& exec, const SparseRows<T>& m, MatView<const T> x, MatView<T> y);

}  // namespace flatland::kernels::cuda
