#include <flatland/kernels/knn_select_simd.h>

#include <algorithm>
#include <cmath>

namespace flatland::kernels {

namespace {

// Which of 65,536 equal steps from the least to the largest key.
struct Steps {
  double least;
  double per_key;

  unsigned operator()(const Neighbor& n) const {
    return std::min(static_cast<unsigned>((n.key - least) * per_key), 65535u);
  }
};

// Stable, by 8 bits of the step.
void distribute(const Neighbor* from, Neighbor* to, std::int64_t n, Steps step, unsigned shift) {
  std::int32_t begin[257] = {};
  for (std::int64_t i = 0; i < n; ++i) ++begin[(step(from[i]) >> shift & 255) + 1];
  for (int b = 0; b < 256; ++b) begin[b + 1] += begin[b];
  for (std::int64_t i = 0; i < n; ++i) to[begin[step(from[i]) >> shift & 255]++] = from[i];
}

// Insertion sort that gives up after `budget` moves.
bool insert_all(Neighbor* neighbors, std::int64_t n, std::int64_t budget) {
  for (std::int64_t i = 1; i < n; ++i) {
    const Neighbor moved = neighbors[i];
    std::int64_t at = i;
    for (; at > 0 && moved < neighbors[at - 1]; --at) neighbors[at] = neighbors[at - 1];
    neighbors[at] = moved;
    budget -= i - at;
    if (budget < 0) return false;
  }
  return true;
}

}  // namespace

// Two rounds of radix sort by step leave little to the insertion sort, unless the keys crowd in few steps.
void sort_neighbors(Neighbor* neighbors, Neighbor* spare, std::int64_t n) {
  if (n >= 32) {
    double least = neighbors[0].key;
    double most = least;
    for (std::int64_t i = 1; i < n; ++i) {
      least = std::min(least, neighbors[i].key);
      most = std::max(most, neighbors[i].key);
    }
    const double per_key = 65536 / (most - least);
    if (std::isfinite(per_key) && per_key > 0) {
      distribute(neighbors, spare, n, {least, per_key}, 0);
      distribute(spare, neighbors, n, {least, per_key}, 8);
    }
  }
  if (!insert_all(neighbors, n, 16 * n)) std::sort(neighbors, neighbors + n);
}

void Nearest::offer(const double* keys, std::int64_t n, std::int64_t first, std::int64_t self) {
  for (std::int64_t j = 0; j < n; ++j) {
    if ((bounded_ && keys[j] >= threshold_) || first + j == self) continue;
    room_[count_++] = {keys[j], static_cast<std::int32_t>(first + j)};
    if (count_ == capacity_) shrink();
  }
}

void Nearest::shrink() {
  std::nth_element(room_, room_ + (k_ - 1), room_ + count_);
  count_ = k_;
  threshold_ = room_[k_ - 1].key;
  bounded_ = true;
}

Neighbor* Nearest::finish() {
  if (count_ > k_) shrink();
  return room_;
}

}  // namespace flatland::kernels
