// Overflow-checked size arithmetic: every product that becomes an allocation goes through here.
#pragma once

#include <flatland/kernels/check.h>

#include <cstddef>
#include <cstdint>
#include <limits>

namespace flatland {

// a * b for non-negative a and b; Error when it does not fit.
inline std::int64_t checked_mul(std::int64_t a, std::int64_t b) {
  FLATLAND_CHECK(a >= 0 && b >= 0, "size: ", a, " x ", b, " has a negative factor");
  FLATLAND_CHECK(b == 0 || a <= std::numeric_limits<std::int64_t>::max() / b, "size: ", a, " x ", b,
                 " does not fit into 64 bits");
  return a * b;
}

// Bytes of n values of the given size; Error when no address space can hold them.
inline std::size_t checked_bytes(std::int64_t n, std::size_t value_size) {
  const std::int64_t bytes = checked_mul(n, static_cast<std::int64_t>(value_size));
  FLATLAND_CHECK(bytes <= std::numeric_limits<std::ptrdiff_t>::max(), "size: ", n, " values of ", value_size,
                 " bytes do not fit into memory");
  return static_cast<std::size_t>(bytes);
}

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace flatland
