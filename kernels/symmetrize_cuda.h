#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/symmetrize_formulas.h>

#include <cstdint>
#include <span>

namespace flatland::kernels::cuda {

// The first row that cannot be joined, -1 when all can. excess: how many entries it has more than row_offset
// says; 0 when its columns are out of range or not distinct.
struct SymmetrizeFault {
  std::int64_t row = -1;
  std::int64_t excess = 0;
};

// The pattern of m joined with its transpose; *entries is row_offset[N], on the host.
template <class T>
SymmetrizeFault symmetrize_count(const Exec& exec, const GraphRows<T>& m, std::span<std::int64_t> row_offset,
                                 std::int64_t* entries);
template <class T>
SymmetrizeFault symmetrize(const Exec& exec, SymmetrizeKind kind, const GraphRows<T>& m,
                           std::span<const std::int64_t> row_offset, std::span<std::int32_t> col,
                           std::span<T> out);

}  // namespace flatland::kernels::cuda
