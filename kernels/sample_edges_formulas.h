// One draw of an edge, for the CPU and CUDA.
#pragma once

#include <flatland/kernels/random.h>

namespace flatland::kernels {

// Bucket by the first 64 bits of the draw, the choice within it by 24 of the others.
FLATLAND_HD std::int64_t alias_draw(const RandomBits& bits, const float* threshold, const std::int32_t* alias,
                                    std::int64_t n) {
  const auto i = static_cast<std::int64_t>(
      below_of(std::uint64_t{bits[1]} << 32 | bits[0], static_cast<std::uint64_t>(n)));
  const float coin = static_cast<float>(bits[2] >> 8) * 0x1p-24f;
  return coin < threshold[i] ? i : alias[i];
}

// The row of an entry: the last whose offset is not behind it.
FLATLAND_HD std::int64_t row_of_entry(const std::int64_t* row_offset, std::int64_t rows, std::int64_t entry) {
  std::int64_t low = 0, high = rows;  // row_offset[low] <= entry < row_offset[high]
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    if (row_offset[middle] <= entry)
      low = middle;
    else
      high = middle;
  }
  return low;
}

}  // namespace flatland::kernels
