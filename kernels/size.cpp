#include <flatland/kernels/check.h>
#include <flatland/kernels/size.h>

#include <limits>

namespace flatland {

std::int64_t checked_mul(std::int64_t a, std::int64_t b) {
  FLATLAND_CHECK(a >= 0 && b >= 0, "size: ", a, " x ", b, " has a negative factor");
  FLATLAND_CHECK(b == 0 || a <= std::numeric_limits<std::int64_t>::max() / b, "size: ", a, " x ", b,
                 " does not fit into 64 bits");
  return a * b;
}

std::size_t checked_bytes(std::int64_t n, std::size_t value_size) {
  const std::int64_t bytes = checked_mul(n, static_cast<std::int64_t>(value_size));
  FLATLAND_CHECK(bytes <= std::numeric_limits<std::ptrdiff_t>::max(), "size: ", n, " values of ", value_size,
                 " bytes do not fit into memory");
  return static_cast<std::size_t>(bytes);
}

}  // namespace flatland
