// Random projection trees for knn_approximate.cpp. Private.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/random.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// All trees over n items have one shape: node i of level l holds places node(l, i) to node(l, i + 1) of the
// tree's order.
struct TreeShape {
  std::int64_t n = 0;
  int levels = 0;  // the leaves'

  std::int64_t begin(int level, std::int64_t node) const { return n * node >> level; }
  std::int64_t leaves() const { return std::int64_t{1} << levels; }
  std::int64_t leaf_begin(std::int64_t leaf) const { return begin(levels, leaf); }
  std::int64_t leaf_size(std::int64_t leaf) const { return leaf_begin(leaf + 1) - leaf_begin(leaf); }
};
// Leaves of at most `largest` items and, with n > largest, at least largest / 2, rounded down.
TreeShape tree_shape(std::int64_t n, std::int64_t largest);

// order (trees, n): the items of each tree, leaf after leaf. A node's items are split in halves by a
// hyperplane across the line between two of them, drawn from the stream of the tree. z (N, D). Ties go by
// item.
void grow_trees(const Exec& exec, const TreeShape& shape, MatView<const float> z, RandomStream first,
                MatView<std::int32_t> order);
// Bytes that this takes.
std::int64_t grow_trees_scratch(const TreeShape& shape, std::int64_t trees);

}  // namespace flatland::kernels
