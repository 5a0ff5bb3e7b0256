#include <flatland/kernels/knn_formulas.h>
#include <flatland/kernels/knn_graph_simd.h>
#include <flatland/kernels/knn_trees_simd.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <numeric>

namespace flatland::kernels {

namespace {

// Two items of a node that has at least two.
std::pair<std::int64_t, std::int64_t> two_places(RandomBits bits, std::int64_t n) {
  const auto below = [](std::uint32_t high, std::uint32_t low, std::int64_t n) {
    return static_cast<std::int64_t>(
        below_of(std::uint64_t{high} << 32 | low, static_cast<std::uint64_t>(n)));
  };
  const std::int64_t one = below(bits[0], bits[1], n), other = below(bits[2], bits[3], n - 1);
  return {one, other + (other >= one)};
}

// Ascending with the projection, then the item.
std::uint64_t split_key(float projection, std::int32_t item) {
  const auto high = static_cast<std::uint32_t>(to_ordered(projection)) ^ 0x80000000u;
  return std::uint64_t{high} << 32 | static_cast<std::uint32_t>(item);
}

struct SplitRoom {
  float* direction;    // (ld)
  float* projection;   // (n), up to a multiple of four
  std::uint64_t* key;  // (2 n)
};

// The lower half of the items comes first; the order within the halves stays.
template <Isa I>
void split(MatView<const float> z, RandomBits bits, std::int32_t* item, std::int64_t n, SplitRoom room) {
  const auto [one, other] = two_places(bits, n);
  for (std::int64_t k = 0; k < z.ld; ++k) room.direction[k] = z.row(item[one])[k] - z.row(item[other])[k];
  project_rows<I>(z, room.direction, item, n, room.projection);
  std::uint64_t* key = room.key;
  std::uint64_t* upper = key + n;
  for (std::int64_t j = 0; j < n; ++j) upper[j] = key[j] = split_key(room.projection[j], item[j]);
  std::nth_element(upper, upper + n / 2, upper + n);
  const std::uint64_t middle = upper[n / 2];
  std::int64_t low = 0, high = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    const bool is_low = key[j] < middle;
    item[low] = static_cast<std::int32_t>(key[j]);
    upper[high] = key[j];
    low += is_low;
    high += !is_low;
  }
  for (std::int64_t j = 0; j < high; ++j) item[low + j] = static_cast<std::int32_t>(upper[j]);
}

}  // namespace

TreeShape tree_shape(std::int64_t n, std::int64_t largest) {
  TreeShape shape{n};
  while (ceil_div(n, shape.leaves()) > largest) ++shape.levels;
  return shape;
}

void grow_trees(const Exec& exec, const TreeShape& shape, MatView<const float> z, RandomStream first,
                MatView<std::int32_t> order) {
  const std::int64_t n = shape.n, trees = order.rows;
  for (std::int64_t t = 0; t < trees; ++t) std::iota(order.row(t), order.row(t) + n, 0);
  const ScratchArray<float> directions(exec, checked_mul(exec.threads(), z.ld));
  const ScratchArray<float> projections(exec, checked_mul(trees, n + 4 * shape.leaves()));
  const ScratchArray<std::uint64_t> keys(exec, checked_mul(trees, 2 * n));
  for (int level = 0; level < shape.levels; ++level) {
    const std::int64_t nodes = std::int64_t{1} << level;
    with_isa([&](auto isa) {
      parallel_for(exec, trees * nodes, [&](std::int64_t task, int thread) {
        const std::int64_t tree = task / nodes, node = task % nodes;
        const std::int64_t begin = shape.begin(level, node), end = shape.begin(level, node + 1);
        const RandomStream random{first.seed, first.stream + static_cast<std::uint64_t>(tree)};
        split<isa>(z, random.bits(static_cast<std::uint64_t>(nodes + node)), order.row(tree) + begin,
                   end - begin,
                   {.direction = directions.data() + thread * z.ld,
                    .projection = projections.data() + tree * (n + 4 * shape.leaves()) + begin + 4 * node,
                    .key = keys.data() + 2 * (tree * n + begin)});
      });
    });
  }
}

std::int64_t grow_trees_scratch(const TreeShape& shape, std::int64_t trees) {
  constexpr std::int64_t projection = sizeof(float), key = sizeof(std::uint64_t);
  return checked_mul(trees, (shape.n + 4 * shape.leaves()) * projection + 2 * shape.n * key);
}

}  // namespace flatland::kernels
