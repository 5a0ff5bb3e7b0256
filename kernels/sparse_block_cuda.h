#pragma once

#include <flatland/kernels/sparse.h>

namespace flatland::kernels::cuda {

template <class T>
void dense_block(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
                 std::span<std::int32_t> position, bool normalize, MatView<T> block, T* sum);
template <class T>
void sparse_block(const Exec& exec, const SparseRows<T>& m, std::span<const std::int64_t> index,
                  std::span<std::int32_t> position, bool normalize, std::int64_t capacity,
                  std::span<std::int64_t> begin, std::span<std::int64_t> end, std::span<std::int32_t> col,
                  std::span<T> value, T* sum);

}  // namespace flatland::kernels::cuda
