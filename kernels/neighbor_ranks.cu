// A warp a row: it counts what products surely place before each neighbour; what they leave open is settled
// by exact keys at once, eight lanes a pair.
#include <flatland/kernels/matmul_cuda.h>
#include <flatland/kernels/neighbor_ranks_cuda.h>
#include <flatland/kernels/neighbor_ranks_formulas.h>
#include <flatland/kernels/knn_steps.cuh>
#include <flatland/kernels/quad.cuh>

namespace flatland::kernels::cuda {

namespace {

constexpr std::int64_t k_block_rows = 2048;  // products of such blocks fit the L2 cache of a large GPU
constexpr int k_group = 8;                   // neighbours at once
constexpr int k_key_width = static_cast<int>(k_key_lanes);
constexpr int k_pairs = k_warp / k_key_width;  // a warp settles at once

__global__ void scale_units_kernel(double factor, std::int64_t n, UnitRow* units) {
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) units[i] = {0, factor};
}

// keys[i * K + a] = key of row i and its neighbour a
template <class T>
__global__ void __launch_bounds__(k_knn_threads)
    own_keys_kernel(KeyRows<T> rows, MatView<const std::int32_t> index, double* keys) {
  const std::int64_t pairs = index.rows * index.cols;
  for (std::int64_t first = thread_index() / k_warp * k_pairs; first < pairs;
       first += thread_count() / k_key_width) {
    const std::int64_t mine = first + threadIdx.x % k_warp / k_key_width;
    const std::int64_t at = mine < pairs ? mine : first;  // whole warps stay
    const std::int64_t i = at / index.cols;
    const double key = key_of_pair(rows, i, rows, index(i, at % index.cols));
    if (at == mine && threadIdx.x % k_key_width == 0) keys[at] = key;
  }
}

// In the lanes of `mask`: the key of row i and item first + 4 * lane.
template <class T>
__device__ double keys_of_lanes(const KeyRows<T>& rows, std::int64_t i, std::int64_t first, unsigned mask) {
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  const int place = __popc(mask & ((1u << lane) - 1));
  double mine = 0;
  for (int done = 0; mask != 0; done += k_pairs) {
    unsigned rest = mask;  // its first is the lane that these eight work for
    for (int pair = 0; pair < k_pairs; ++pair) {
      if (pair < lane / k_key_width && (rest & (rest - 1)) != 0) rest &= rest - 1;
      mask &= mask - 1;
    }
    const double key = key_of_pair(rows, i, rows, first + 4 * (__ffs(static_cast<int>(rest)) - 1));
    const double got = __shfl_sync(k_all_lanes, key, (place - done) * k_key_width & (k_warp - 1));
    if (place >= done && place < done + k_pairs) mine = got;
  }
  return mine;
}

struct Bounds {
  const float* low;  // (N)
  float relative;    // high_norm's slack
  double slack;      // rank_limits'
};

// Adds the items first, first + 1, ... to the ranks of rows row0, row0 + 1, ...
template <class T>
__global__ void __launch_bounds__(k_knn_threads)
    count_kernel(KeyRows<T> rows, Bounds bounds, std::int64_t row0, std::int64_t first,
                 MatView<const float> products, MatView<const std::int32_t> index, const double* keys,
                 MatView<std::int32_t> rank) {
  const std::int64_t r = thread_index() / k_warp, i = row0 + r;
  if (r >= products.rows) return;
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  const float own_low = bounds.low[i];
  for (std::int64_t a0 = 0; a0 < index.cols; a0 += k_group) {
    const double* own_key = keys + i * index.cols + a0;
    const std::int64_t used = index.cols - a0;
    RankLimits limit[k_group];
    int nearer[k_group] = {};
#pragma unroll
    for (int g = 0; g < k_group; ++g) {
      limit[g] = {-__builtin_inff(), -__builtin_inff()};
      if (g < used)
        limit[g] = rank_limits(own_key[g], own_low, high_norm(own_low, bounds.relative), bounds.slack);
    }
    for (std::int64_t j0 = 0; j0 < products.cols; j0 += 4 * k_warp) {
      const std::int64_t j = j0 + 4 * lane, left = products.cols - j;
      const Quad<float> product = load_quad(products.row(r) + j, left, true);
      const Quad<float> low = load_quad(bounds.low + first + j, left, true);
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        const std::int64_t l = first + j + s;
        const bool counts = s < left && l != i;
        const float most = fma(-2.f, product.v[s], high_norm(low.v[s], bounds.relative));
        const float least = fma(-2.f, product.v[s], low.v[s]);
        bool open = false;
#pragma unroll
        for (int g = 0; g < k_group; ++g) open = open || (least < limit[g].may && !(most < limit[g].must));
        open = open && counts;
        const unsigned mask = __ballot_sync(k_all_lanes, open);
        const double key = keys_of_lanes(rows, i, first + j0 + s, mask);
#pragma unroll
        for (int g = 0; g < k_group; ++g) {
          if (open && g < used)
            nearer[g] += key < own_key[g] || (key == own_key[g] && l < index(i, a0 + g));
          else
            nearer[g] += counts && most < limit[g].must;
        }
      }
    }
#pragma unroll
    for (int g = 0; g < k_group; ++g) {
      const int total = warp_sum(nearer[g]);
      if (lane == 0 && g < used) rank(i, a0 + g) = (first == 0 ? 1 : rank(i, a0 + g)) + total;
    }
  }
}

}  // namespace

template <class T>
void neighbor_ranks(const Exec& exec, MatView<const T> x, MatView<const std::int32_t> index,
                    MatView<std::int32_t> rank) {
  const std::int64_t n = x.rows;
  const ScratchArray<double> shift(exec, x.cols);
  mean_of_rows<T>(exec, {x}, shift.data());
  TileScale scale = tile_scale(largest_difference<T>(exec, {x}, shift.data()), x.cols);
  scale.shift = shift.span();
  const ScratchArray<float> z_values(exec, checked_mul(n, x.cols)), low(exec, n);
  const MatView<float> z(z_values.data(), n, x.cols);
  make_tile_rows<T>(exec, {x}, {nullptr, 0, n}, scale, false, z, low.data());

  const ScratchArray<UnitRow> units(exec, n);
  launch(exec, scale_units_kernel, blocks_for(n, k_knn_threads), k_knn_threads, 0, scale.factor, n,
         units.data());
  const KeyRows<T> rows{x, units.data()};
  const ScratchArray<double> keys(exec, checked_mul(n, index.cols));
  launch(exec, own_keys_kernel<T>, blocks_for(n * index.cols, k_knn_threads / k_key_width), k_knn_threads, 0,
         rows, index, keys.data());

  const Bounds bounds{low.data(), scale.slack(), rank_slack(scale)};
  const std::int64_t block = std::min(n, k_block_rows), ld = ceil_div(block, 4) * 4;
  const ScratchArray<float> products(exec, block * ld);
  for (std::int64_t row0 = 0; row0 < n; row0 += block)
    for (std::int64_t first = 0; first < n; first += block) {
      const std::int64_t count = std::min(block, n - row0), items = std::min(block, n - first);
      const MatView<float> tile(products.data(), count, items, ld);
      matmul<float>(exec, Transpose::b, {z.row(row0), count, x.cols}, {z.row(first), items, x.cols}, tile,
                    false);
      launch(exec, count_kernel<T>, static_cast<unsigned>(ceil_div(count, k_knn_threads / k_warp)),
             k_knn_threads, 0, rows, bounds, row0, first, tile, index, keys.data(), rank);
    }
}

template void neighbor_ranks<float>(const Exec&, MatView<const float>, MatView<const std::int32_t>,
                                    MatView<std::int32_t>);
template void neighbor_ranks<double>(const Exec&, MatView<const double>, MatView<const std::int32_t>,
                                     MatView<std::int32_t>);

}  // namespace flatland::kernels::cuda
