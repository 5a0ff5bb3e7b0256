// The distinct ones among items (private to this folder).
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>

namespace flatland {

// distinct[places[i]] = items[i]; see kernels::distinct_items.
struct DistinctItems {
  // items int64 (n) of 0 .. count - 1
  DistinctItems(const Tensor& items, std::int64_t count);

  Tensor padded;  // int64 (n), ascending, filled up with the first
  Tensor places;  // int64 (n)
  Tensor found;   // int64, how many
  // Without what fills up. Waits where the items are on a GPU.
  Tensor values() const;
};

}  // namespace flatland
