#include <flatland/kernels/knn_clusters_simd.h>
#include <flatland/kernels/lane_sum_simd.h>

namespace flatland::kernels {

namespace {

// y = x - centre; its squared norm.
template <Isa I>
FLATLAND_HD float subtract(const float* x, const float* centre, std::int64_t d, float* y) {
  constexpr int w = lanes<float, I>;
  Vec<float, I> sum{};
  for (std::int64_t k = 0; k < d; k += w) {
    const Vec<float, I> v = load_part<I>(x + k, d - k) - load_part<I>(centre + k, d - k);
    store_part<I>(y + k, v, d - k);
    sum = fma(v, v, sum);
  }
  return add_lanes<I, float>(sum);
}

}  // namespace

template <Isa I>
PackedItems pack_items(MatView<const float> z, const float* centre, std::int64_t first, std::int64_t n,
                       float* packed, float* room) {
  const std::int64_t d = z.cols;
  float* norm = packed + gemm_packed_size<I, float>(n, d);
  for (std::int64_t j = 0; j < n; ++j) norm[j] = subtract<I>(z.row(first + j), centre, d, room + j * d);
  for (std::int64_t j = n; j < n + k_candidate_pad; ++j) norm[j] = __builtin_nanf("");
  gemm_pack_rows<I, float>(room, d, n, d, packed);
  return {.centre = centre, .packed = packed, .norm = norm, .first = first, .n = n};
}

template <Isa I>
void offer_items(const Candidates& candidates, const PackedItems& items, MatView<const float> z,
                 const std::int64_t* row, std::int64_t n, std::int64_t self, float* room) {
  const std::int64_t d = z.cols;
  const std::int64_t ld = (items.n + k_candidate_pad - 1) / k_candidate_pad * k_candidate_pad;
  float* product = room + k_offer_rows * d;
  float* norm = product + k_offer_rows * ld;
  for (std::int64_t i = 0; i < n; i += k_offer_rows) {
    const std::int64_t m = n - i < k_offer_rows ? n - i : k_offer_rows;
    for (std::int64_t r = 0; r < m; ++r)
      norm[r] = subtract<I>(z.row(row[i + r]), items.centre, d, room + r * d);
    gemm_rows<I, float>(room, d, m, items.packed, items.n, d, product, ld);
    ProductTile tile{.product = product,
                     .ld = ld,
                     .row_norm = norm,
                     .col_norm = items.norm,
                     .rows = m,
                     .col0 = items.first,
                     .cols = items.n,
                     .row_list = row + i};
    if (self >= 0) tile.self = self;
    scan_tile<I>(candidates, tile);
  }
}

template PackedItems pack_items<this_isa>(MatView<const float>, const float*, std::int64_t, std::int64_t,
                                          float*, float*);
template void offer_items<this_isa>(const Candidates&, const PackedItems&, MatView<const float>,
                                    const std::int64_t*, std::int64_t, std::int64_t, float*);

}  // namespace flatland::kernels
