// A batch of given pairs.
#pragma once

#include <flatland/dr/batch.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace flatland::test {

// Pairs source[i] - target[i] of a data set's items, labels (E).
inline Batch batch_of_edges(const Dataset& data, const std::vector<std::int64_t>& source,
                            const std::vector<std::int64_t>& target, const Tensor& labels, int rate) {
  std::vector<std::int64_t> ends = source;
  ends.insert(ends.end(), target.begin(), target.end());
  std::vector<std::int64_t> items = ends;
  std::ranges::sort(items);
  items.erase(std::unique(items.begin(), items.end()), items.end());
  for (std::int64_t& end : ends) end = std::ranges::lower_bound(items, end) - items.begin();
  Batch batch(data);
  batch.select_edges(Tensor::from(items), {Tensor::from(ends), labels, rate});
  return batch;
}

}  // namespace flatland::test
