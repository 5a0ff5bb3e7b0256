// Dense affinities in the sparse form of relation_ops.h.
#pragma once

#include <flatland/engine/relation_ops.h>

#include <cstdint>
#include <vector>

namespace flatland::test {

// The non-zero entries of p (N, N), float64.
inline SparseBlock sparse_block(const Tensor& p) {
  const std::int64_t n = p.size(0);
  std::vector<std::int64_t> begin, end;
  std::vector<std::int32_t> col;
  std::vector<double> value;
  for (std::int64_t i = 0; i < n; ++i) {
    begin.push_back(static_cast<std::int64_t>(col.size()));
    for (std::int64_t j = 0; j < n; ++j) {
      if (p.at(i, j) == 0) continue;
      col.push_back(static_cast<std::int32_t>(j));
      value.push_back(p.at(i, j));
    }
    end.push_back(static_cast<std::int64_t>(col.size()));
  }
  return {n, Tensor::from(begin), Tensor::from(end), Tensor::from(col), Tensor::from(value)};
}

}  // namespace flatland::test
