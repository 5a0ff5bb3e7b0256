#include <flatland/kernels/knn_select_simd.h>

#include <algorithm>

namespace flatland::kernels {

void sort_neighbors(Neighbor* neighbors, Neighbor* spare, std::int64_t n) {
  static_cast<void>(spare);
  std::sort(neighbors, neighbors + n);
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
