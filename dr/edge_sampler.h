// Random items and edges for training steps (private to this folder).
#pragma once

#include <flatland/dr/batch.h>
#include <flatland/dr/relation_data.h>
#include <flatland/kernels/random.h>

#include <cstdint>
#include <string>
#include <vector>

namespace flatland {

// Error, which begins with `who`, unless the weights of all items are finite and not negative, and one is
// above 0.   weights (n), floating, on any device
void check_item_weights(const std::string& who, const Tensor& weights);

// An alias table in tensors on a device; see kernels::alias_table.
struct AliasTable {
  Tensor threshold, alias;  // float32 and int32 (n)

  AliasTable() = default;
  AliasTable(const Tensor& weights, Device device);  // weights (n), floating, that were checked
};

// Items with probability proportional to their weights, as draws first, first + 1, ... of the stream.
void sample_items(const AliasTable& table, const kernels::RandomStream& random, std::uint64_t first,
                  Tensor& items);

// Edges of a graph with random items against them.
class EdgeSampler {
 public:
  // Entries of the relations are edges from their row's item to their column's, drawn with probability
  // proportional to their value. labels will be of type `dtype`.
  // Errors, which begin with `who`: relations of another number of items than the data has, without entries,
  // with values that are negative or not finite, or all 0.
  EdgeSampler(const std::string& who, const RelationData& relations, std::int64_t items, int rate,
              Dtype dtype, Device device);

  // Memory for the ends of `count` edges and of what is set against them: int64, sources before targets.
  Tensor ends(std::int64_t count) const;
  // Draws them: edges first .. first + count - 1 of the stream, whatever was drawn before.
  void draw(const kernels::RandomStream& random, std::int64_t first, Tensor& ends) const;
  // Makes them the batch's pairs. `fixed_size`: see Batch.
  void select(Batch& batch, const Tensor& ends, bool fixed_size);

 private:
  // What batches of one size have in common.
  struct Layout {
    std::int64_t count = 0;
    Tensor end;  // int64 (2E): which of the ends each pair begins and ends with
    Tensor labels;
  };
  const Layout& layout(std::int64_t count);

  Tensor row_offset_, col_;
  AliasTable table_;
  int rate_;
  Dtype dtype_;
  std::vector<Layout> layouts_;
};

}  // namespace flatland
