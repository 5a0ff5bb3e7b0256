// Ordering of neighbours by key, ties by index. Private.
#pragma once

#include <cstdint>

namespace flatland::kernels {

struct Neighbor {
  double key;
  std::int32_t index;

  bool operator<(const Neighbor& other) const {
    return key < other.key || (key == other.key && index < other.index);
  }
};

// Sorts n neighbours. `spare` has room for as many.
void sort_neighbors(Neighbor* neighbors, Neighbor* spare, std::int64_t n);

// Keeps the k smallest of a stream with ascending indices, in room for `capacity` > k.
class Nearest {
 public:
  Nearest(Neighbor* room, std::int64_t capacity, std::int64_t k) : room_(room), capacity_(capacity), k_(k) {}
  // Items first, first + 1, ... but `self`.
  void offer(const double* keys, std::int64_t n, std::int64_t first, std::int64_t self);
  // The k smallest, not sorted.
  Neighbor* finish();

 private:
  void shrink();

  Neighbor* room_;
  std::int64_t capacity_;
  std::int64_t k_;
  std::int64_t count_ = 0;
  double threshold_ = 0;  // of k items that are there; none later with this key or more is among the k
  bool bounded_ = false;
};

}  // namespace flatland::kernels
