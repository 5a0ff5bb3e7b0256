// Clusters of rows for knn_approximate.cpp. Private.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/knn_simd.h>
#include <flatland/kernels/matmul_simd.h>
#include <flatland/kernels/random.h>
#include <flatland/kernels/view.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace flatland::kernels {

// Sorts items by group, stably: those of group g come to sorted[begin[g]], ..., sorted[begin[g + 1] - 1].
// for_items(f) calls f(group, item) for each item in order, twice.   begin (groups + 1)
template <class Item, class F>
void counting_sort(std::int64_t* begin, std::int64_t groups, Item* sorted, const F& for_items) {
  std::fill_n(begin, groups + 1, 0);
  for_items([&](std::int64_t group, Item) { ++begin[group]; });
  std::int64_t sum = 0;
  for (std::int64_t g = 0; g < groups; ++g) sum += std::exchange(begin[g], sum);
  for_items([&](std::int64_t group, Item item) { sorted[begin[group]++] = item; });
  std::copy_backward(begin, begin + groups, begin + groups + 1);
  begin[0] = 0;
}

// The rows of z (N, D) by the nearest of some centres: means of rows, after a few rounds of Lloyd's algorithm
// on a sample. A cluster of far more rows than others has is cut into several of one centre, so that no
// cluster is larger than four times N / count; none is empty.
class Clusters {
 public:
  Clusters(const Exec& exec, MatView<const float> z, std::int64_t count, RandomStream random);

  std::int64_t count() const { return count_; }
  MatView<const float> centres() const { return {centre_.data(), count_, d_}; }
  // The rows of cluster c, ascending, are order()[begin(c)], ..., order()[begin(c + 1) - 1].
  const std::int32_t* order() const { return order_.data(); }
  std::int64_t begin(std::int64_t c) const { return begin_[c]; }
  std::int64_t size(std::int64_t c) const { return begin_[c + 1] - begin_[c]; }
  std::int64_t of(std::int64_t place) const;  // the cluster of row order()[place]
  std::int64_t largest() const;

  // Bytes that this takes while it is made, about.
  static std::int64_t scratch(std::int64_t n, std::int64_t count, std::int64_t d);

 private:
  static std::int64_t room(std::int64_t count) { return count + count / 4 + 1; }  // clusters at most
  void improve(const Exec& exec, MatView<const float> sample);
  void divide(const Exec& exec, MatView<const float> z);

  std::int64_t d_;
  std::int64_t count_;
  ScratchArray<float> centre_;        // (room, D)
  ScratchArray<std::int64_t> begin_;  // (room + 1)
  ScratchArray<std::int32_t> order_;  // (N)
};

// index (M, P): the P nearest centres of each row, in no order.
void nearest_centres(const Exec& exec, MatView<const float> rows, MatView<const float> centres,
                     MatView<std::int32_t> index);

// Serial building blocks, one instantiation a level. Rows are taken less a centre near them, so that the
// products' rounding errors are of the size of the distances that are looked for.
struct PackedItems {
  const float* centre;  // (D)
  const float* packed;  // panels of gemm_pack_rows
  const float* norm;    // (n + k_candidate_pad)
  std::int64_t first;   // the items are first, ..., first + n - 1
  std::int64_t n;
};
inline constexpr std::int64_t k_offer_rows = 96;
// Values that packed items take, and what it takes to pack and to offer up to n of them.
template <Isa I>
constexpr std::int64_t items_room(std::int64_t n, std::int64_t d) {
  return gemm_packed_size<I, float>(n, d) + ceil_div(n, k_candidate_pad) * k_candidate_pad + k_candidate_pad;
}
constexpr std::int64_t offer_room(std::int64_t n, std::int64_t d) {
  const std::int64_t ld = ceil_div(n, k_candidate_pad) * k_candidate_pad;
  return (n > k_offer_rows ? n : k_offer_rows) * d + k_offer_rows * (ld + 1);
}
// Rows first, ..., first + n - 1 of z.
template <Isa I>
PackedItems pack_items(MatView<const float> z, const float* centre, std::int64_t first, std::int64_t n,
                       float* packed, float* room);
// Offers items to the candidates' rows `row` (n), which are those rows of z. With `self` >= 0 they are the
// items self + row, and not their own neighbours.
template <Isa I>
void offer_items(const Candidates& candidates, const PackedItems& items, MatView<const float> z,
                 const std::int64_t* row, std::int64_t n, std::int64_t self, float* room);

}  // namespace flatland::kernels
