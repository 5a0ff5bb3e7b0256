// Serial building blocks of knn_approximate.cpp, one instantiation a level.
#pragma once

#include <flatland/kernels/matmul_simd.h>
#include <flatland/kernels/simd.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// Rows of z and of lists are a multiple of this many values long; those of z end in zeros.
inline constexpr std::int64_t k_graph_pad = 16;

// The nearest items that each row knows, in no order.
struct NeighborLists {
  float* dist;         // (n, width) squared; infinity where empty
  std::int32_t* item;  // (n, width) with k_unseen while the edge is new
  float* worst;        // (n) the largest of a row
  std::int64_t width;
};
inline constexpr std::int32_t k_unseen = INT32_MIN;
inline constexpr std::int32_t k_no_item = INT32_MAX;

// Who meets whom in a round: new neighbours of each row, then old ones.
struct Meetings {
  std::int32_t* item;   // (n, 2, size)
  std::int32_t* count;  // (n, 2)
  std::int64_t size;

  std::int32_t* items(std::int64_t i, int old) const { return item + (2 * i + old) * size; }
  std::int32_t& counted(std::int64_t i, int old) const { return count[2 * i + old]; }
};

struct GraphWork {
  std::int64_t changes = 0;
  std::int64_t distances = 0;
};

// out[j] = direction . z[item[j],:]; room for a multiple of four.
template <Isa I>
void project_rows(MatView<const float> z, const float* direction, const std::int32_t* item, std::int64_t n,
                  float* out);

// All n items of a leaf are offered each other.
template <Isa I>
constexpr std::int64_t leaf_room(std::int64_t n, std::int64_t ld) {
  const std::int64_t padded = (n + gemm_panel<I, float> - 1) / gemm_panel<I, float> * gemm_panel<I, float>;
  return (n + padded + 1) * ld + (n + 1) * padded;
}
template <Isa I>
GraphWork join_leaf(const NeighborLists& lists, MatView<const float> z, const std::int32_t* item,
                    std::int64_t n, float* room);

// Rows first, ..., last - 1 are offered whom they meet.
inline constexpr std::int64_t k_met = 2048;
constexpr std::int64_t join_room(std::int64_t size) {
  return k_met + 3 * size * size + k_graph_pad;
}
template <Isa I>
GraphWork join_rows(const NeighborLists& lists, MatView<const float> z, const Meetings& meetings,
                    std::int64_t first, std::int64_t last, std::int32_t* room);

}  // namespace flatland::kernels
