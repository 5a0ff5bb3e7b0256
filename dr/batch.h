// The items of one training step.
#pragma once

#include <flatland/dr/dataset.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flatland {

// Pairs of a batch's items: sampled edges (label 1), and pairs of each edge's source with random items (0).
struct BatchEdges {
  // int64 (2E): where the ends of E pairs stand in the batch, the sources first, then the targets
  Tensor ends;
  Tensor labels;  // (E): rate + 1 for each edge, which comes first
  int rate = 0;

  std::int64_t size() const { return labels.numel(); }  // E
};

// One batch as a loss sees it: some items of a data set. Tensors are on the model's device. Where edges are
// sampled, its items are the distinct ends of all pairs, ascending; in a step that is recorded for a GPU, as
// many as there may be at most, the first of them filling up.
class Batch {
 public:
  explicit Batch(const Dataset& data, Tensor index = {});
  const Tensor& index() const { return index_; }  // int64 (B): item numbers
  // The batch's pairs where the phase samples edges, else null.
  const BatchEdges* edges() const { return edges_ ? &*edges_ : nullptr; }
  bool whole() const { return whole_; }      // all items, in their order
  bool repeats() const { return repeats_; }  // an item may be there more than once
  std::int64_t size() const { return index_.numel(); }
  // The batch's rows of an entry, see gather_rows_when_read; the entry itself where the batch is whole. The
  // reference lives until the next select. Error: unknown key.
  const Tensor& operator[](std::string_view key) const;
  void select(Tensor index);
  void select_edges(Tensor index, BatchEdges edges);
  void select_whole(Tensor index);     // 0 .. N-1
  void select_repeated(Tensor index);  // any items
  // What the batch shows under `key` until the next select, in place of the data set's rows.
  void replace(std::string_view key, Tensor rows);

 private:
  const Dataset* data_;
  Tensor index_;
  std::optional<BatchEdges> edges_;
  bool whole_ = false;
  bool repeats_ = false;
  mutable std::vector<std::pair<std::string, Tensor>> rows_;  // never grows beyond its first capacity
};

}  // namespace flatland
