// The hot loops of sparse.cpp, compiled once an instruction-set level.
#pragma once

#include <flatland/kernels/isa.h>
#include <flatland/kernels/sparse.h>

#include <cstdint>

namespace flatland::kernels {

// scan_row may write this many values past the last one it found.
inline constexpr std::int64_t k_scan_overrun = 16;

// The entries of a row whose column has a position (position[col] >= 0), in their order.
//   col, value (n)   found, found_value: room for the result and k_scan_overrun more
struct ScanResult {
  std::int64_t size;
  double sum;  // of the values found
};
template <Isa I, class T>
ScanResult scan_row(const std::int32_t* col, const T* value, std::int64_t n, const std::int32_t* position,
                    std::int32_t* found, T* found_value);

// Rows first .. last - 1 of y = m x.
template <Isa I, class T>
void sparse_times_dense_rows(const SparseRows<T>& m, In<T> x, Out<T> y, std::int64_t first,
                             std::int64_t last);

}  // namespace flatland::kernels
