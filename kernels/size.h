// Overflow-checked size arithmetic: every product that becomes an allocation goes through here.
#pragma once

#include <flatland/kernels/check.h>

#include <cstddef>
#include <cstdint>

namespace flatland {

// a * b for non-negative a and b; Error when it does not fit.
std::int64_t checked_mul(std::int64_t a, std::int64_t b);

// Bytes of n values of the given size; Error when no address space can hold them.
std::size_t checked_bytes(std::int64_t n, std::size_t value_size);

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace flatland
