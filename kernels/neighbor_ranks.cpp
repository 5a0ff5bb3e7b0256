#include <flatland/kernels/check.h>
#include <flatland/kernels/knn_select_simd.h>
#include <flatland/kernels/knn_simd.h>
#include <flatland/kernels/knn_tiles_simd.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/neighbor_ranks.h>
#include <flatland/kernels/neighbor_ranks_cuda.h>
#include <flatland/kernels/neighbor_ranks_formulas.h>
#include <flatland/kernels/neighbor_ranks_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <limits>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_rank_tile = 256;  // rows of one matrix product

template <class T>
struct Rows {
  KeyRows<T> keys;
  const float* low;   // (N)
  const float* high;  // (N)
  double slack;
};

// Memory of one thread.
struct Room {
  double* values;          // (key_row_size(D))
  float* may;              // (K)
  float* must;             // (K)
  double* key;             // (K)
  std::int32_t* at_most;   // (K)
  std::int32_t* at_least;  // (K)
  std::int32_t* open;      // (N)
  double* open_key;        // (N)
};

template <Isa I, class T>
void rank_row(const Rows<T>& rows, std::int64_t i, const float* product, const std::int32_t* index,
              std::int64_t k, const Room& room, std::int32_t* rank) {
  constexpr DistanceForm scaled_squares{.unit_rows = true};
  const std::int64_t n = rows.keys.x.rows;
  const KeyRow own = key_row<T>(rows.keys, i, room.values);
  keys_of_list<I, T>(scaled_squares, own, rows.keys, index, k, room.key);
  for (std::int64_t a = 0; a < k; ++a) {
    const RankLimits limits = rank_limits(room.key[a], rows.low[i], rows.high[i], rows.slack);
    room.may[a] = limits.may;
    room.must[a] = limits.must;
  }
  count_below<I>(product, rows.low, n, room.may, k, room.at_most);
  count_below<I>(product, rows.high, n, room.must, k, room.at_least);
  for (std::int64_t a = 0; a < k; ++a) {
    // Row i itself is among those that may be nearer, and so is the neighbour.
    const bool self_sure = rows.high[i] - 2 * product[i] < room.must[a];
    const std::int32_t sure = room.at_least[a] - self_sure;
    rank[a] = sure + 1;
    if (room.at_most[a] - 1 == rank[a]) continue;
    const std::int64_t open =
        find_open<I>(product, rows.low, rows.high, n, room.may[a], room.must[a], room.open);
    keys_of_list<I, T>(scaled_squares, own, rows.keys, room.open, open, room.open_key);
    for (std::int64_t o = 0; o < open; ++o)
      rank[a] +=
          room.open[o] != i && Neighbor{room.open_key[o], room.open[o]} < Neighbor{room.key[a], index[a]};
  }
}

}  // namespace

template <class T>
void neighbor_ranks(const Exec& exec, In<T> x, MatView<const std::int32_t> index,
                    MatView<std::int32_t> rank) {
  FLATLAND_CHECK(index.rows == x.rows, "neighbor_ranks: x is ", x, " but index is ", index,
                 "; the row counts must match");
  FLATLAND_CHECK(rank.rows == index.rows && rank.cols == index.cols, "neighbor_ranks: index is ", index,
                 " but rank is ", rank);
  FLATLAND_CHECK(x.rows <= std::numeric_limits<std::int32_t>::max(), "neighbor_ranks: ", x.rows,
                 " items; positions are 32-bit");
  const std::int64_t n = x.rows, k = index.cols;
  if (n == 0 || k == 0) return;
  FLATLAND_ON_CUDA(exec) return cuda::neighbor_ranks<T>(exec, x, index, rank);
  const KeyRows<T> unscaled{x};
  const ScratchArray<double> shift(exec, x.cols);
  const TileScale scale = tile_scale<T>(exec, unscaled, unscaled, shift.span());
  const ScratchArray<float> z_values(exec, checked_mul(n, x.cols));
  const MatView<float> z(z_values.data(), n, x.cols);
  const ScratchArray<float> low(exec, n + k_candidate_pad), high(exec, n);
  tile_rows<T>(exec, unscaled, scale, z, low.data());
  const ScratchArray<UnitRow> units(exec, n);
  for (std::int64_t i = 0; i < n; ++i) {
    high[i] = high_norm(low[i], scale.slack());
    units[i] = {.shift = 0, .scale = scale.factor};
  }
  const Rows<T> rows{{x, units.data()}, low.data(), high.data(), rank_slack(scale)};

  const ScratchArray<float> products(exec, checked_mul(std::min(k_rank_tile, n), n));
  const ScratchArray<float> limits(exec, exec.threads() * 2 * k);
  const std::int64_t size = key_row_size(x.cols);
  const ScratchArray<double> keys(exec, exec.threads() * (size + k + n));
  const ScratchArray<std::int32_t> counts(exec, exec.threads() * (2 * k + n));
  for (std::int64_t first = 0; first < n; first += k_rank_tile) {
    const std::int64_t count = std::min(k_rank_tile, n - first);
    const MatView<float> tile(products.data(), count, n);
    matmul<float>(exec, Transpose::b, {z.row(first), count, x.cols}, z, tile);
    with_isa([&](auto isa) {
      parallel_for(exec, count, [&](std::int64_t r, int thread) {
        float* limit = limits.data() + thread * 2 * k;
        double* key = keys.data() + thread * (size + k + n);
        std::int32_t* counted = counts.data() + thread * (2 * k + n);
        const Room room{.values = key,
                        .may = limit,
                        .must = limit + k,
                        .key = key + size,
                        .at_most = counted,
                        .at_least = counted + k,
                        .open = counted + 2 * k,
                        .open_key = key + size + k};
        const std::int64_t i = first + r;
        rank_row<isa, T>(rows, i, tile.row(r), index.row(i), k, room, rank.row(i));
      });
    });
  }
}

template void neighbor_ranks<float>(const Exec&, In<float>, MatView<const std::int32_t>,
                                    MatView<std::int32_t>);
template void neighbor_ranks<double>(const Exec&, In<double>, MatView<const std::int32_t>,
                                     MatView<std::int32_t>);

}  // namespace flatland::kernels
