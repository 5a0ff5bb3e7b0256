// For the models themselves: checked layer sizes.
#pragma once

#include <flatland/kernels/check.h>

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace flatland::detail {

// in, hidden..., and what stands in `last`; Error unless all are above 0.
inline std::vector<std::int64_t> layer_sizes(std::string_view who, std::int64_t in,
                                             const std::vector<std::int64_t>& hidden,
                                             std::initializer_list<std::int64_t> last) {
  FLATLAND_CHECK(in > 0, who, ": in_dim is ", in, "; give the number of columns of the data");
  std::vector<std::int64_t> sizes{in};
  sizes.insert(sizes.end(), hidden.begin(), hidden.end());
  sizes.insert(sizes.end(), last);
  for (const std::int64_t size : sizes) {
    FLATLAND_CHECK(size > 0, who, ": a layer has ", size, " outputs; it needs 1 or more");
  }
  return sizes;
}

}  // namespace flatland::detail
