// Two launches where the items are few: repulse_kernel meets all pairs, attract_kernel the entries of p, and
// its last block writes loss and gradient. Many items have a third launch for that.
#include <flatland/kernels/kl_student_t_cuda.h>
#include <flatland/kernels/kl_student_t_formulas.h>
#include <flatland/kernels/cuda.cuh>

#include <type_traits>

namespace flatland::kernels::cuda {

namespace {

// 1 / x for x >= 1: on the GPU within 1 ulp, and 0 below the normal numbers.
__device__ inline float inverse(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1 / x;
#endif
}
__device__ inline double inverse(double x) {
  return 1 / x;
}

// What the launches hand on to each other.
struct Partials {
  double* weight;       // sums of w, one a block of the repulsion
  std::int64_t blocks;  // of the repulsion
  double* run_push;     // (runs, d, n): sum_j fall_ij (y_i - y_j), a run of columns each
  std::int64_t runs;
  double* loss;    // one a block of the attraction
  double* share;   // likewise
  double* push;    // (n, d), sums of run_push
  double* pull;    // (n, d)
  double* scale;   // of q, one value
  unsigned* done;  // blocks of the attraction that have finished
};

// --- all pairs ----------------------------------------------------------------------------------------

template <class T, int D>
struct alignas((D == 3 ? 4 : D) * sizeof(T)) Point {
  T at[D];
};

template <class T, int D>
__device__ Point<T, D> point(const MatView<const T>& y, T scale, std::int64_t row) {
  Point<T, D> p;
  for (int c = 0; c < D; ++c) p.at[c] = pair_coordinate(y(row, c), scale);
  return p;
}

// The rows of one thread and their sums over a tile of columns, in T, and over all tiles, in double.
template <class T, int D, int rows>
struct ThreadRows {
  Point<T, D> y[rows];
  double weight[rows] = {};
  double force[rows][D] = {};

  // Columns 0 .. tile - 1. With `partly` only those before `count`, and row r does not meet column own[r].
  template <bool partly, int tile, class Kernel, class Columns>
  __device__ void meet(const Kernel& kernel, const Columns& column, int count, const int* own) {
    constexpr int k_unroll = 8;
    T w_sum[rows] = {};
    T f_sum[rows][D] = {};
    for (int first = 0; first < tile; first += k_unroll)
      for (int u = 0; u < k_unroll; ++u) {
        const Point<T, D> other = column[first + u];
        for (int r = 0; r < rows; ++r) {
          T diff[D];
          T base = 1;
          for (int c = 0; c < D; ++c) {
            diff[c] = y[r].at[c] - other.at[c];
            base = fma(diff[c], diff[c], base);
          }
          const T inv = inverse(base);
          T w = kernel.weight_at(base, inv);
          T fall = kernel.fall(w, inv);
          if constexpr (partly) {
            const bool met = first + u < count && first + u != own[r];
            w = met ? w : T(0);
            fall = met ? fall : T(0);
          }
          w_sum[r] += w;
          for (int c = 0; c < D; ++c) f_sum[r][c] = fma(fall, diff[c], f_sum[r][c]);
        }
      }
    for (int r = 0; r < rows; ++r) {
      weight[r] += static_cast<double>(w_sum[r]);
      for (int c = 0; c < D; ++c) force[r][c] += static_cast<double>(f_sum[r][c]);
    }
  }
};

// Block (x, y): `threads * rows` rows against run y of columns.
template <class T, int D, int threads, int rows, int tile, class Kernel>
__global__ void __launch_bounds__(threads)
    repulse_kernel(MatView<const T> y, Kernel kernel, T scale, std::int64_t run, Partials out) {
  using P = Point<T, D>;
  FLATLAND_SHARED(P, column, tile);
  const int t = static_cast<int>(threadIdx.x);
  const std::int64_t n = y.rows;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * threads * rows;
  const auto row = [&](int r) { return first + r * threads + t; };
  ThreadRows<T, D, rows> own;
  for (int r = 0; r < rows; ++r) own.y[r] = point<T, D>(y, scale, row(r) < n ? row(r) : n - 1);

  const std::int64_t past = blockIdx.y * run + run < n ? blockIdx.y * run + run : n;
  for (std::int64_t begin = blockIdx.y * run; begin < past; begin += tile) {
    __syncthreads();
    for (int j = t; j < tile; j += threads)
      column[j] = point<T, D>(y, scale, begin + j < n ? begin + j : n - 1);
    __syncthreads();
    const bool apart = begin + tile <= first || begin >= first + threads * rows;
    if (apart && begin + tile <= n) {
      own.template meet<false, tile>(kernel, column, tile, nullptr);
    } else {
      int self[rows];
      for (int r = 0; r < rows; ++r) self[r] = apart ? -1 : static_cast<int>(row(r) - begin);
      own.template meet<true, tile>(kernel, column, static_cast<int>(n - begin < tile ? n - begin : tile),
                                    self);
    }
  }

  double weight = 0;
  for (int r = 0; r < rows; ++r) {
    if (row(r) >= n) continue;
    weight += own.weight[r];
    for (int c = 0; c < D; ++c) out.run_push[(blockIdx.y * D + c) * n + row(r)] = own.force[r][c];
  }
  weight = block_sum<threads>(weight);
  if (t != 0) return;
  out.weight[blockIdx.y * gridDim.x + blockIdx.x] = weight;
  if (blockIdx.x == 0 && blockIdx.y == 0) *out.done = 0;
}

constexpr int k_tile_side = 32;  // rows and columns of a tile below
constexpr int k_wide_threads = 256;

// The same for any number of dimensions: the falls of a tile of pairs, then the forces, which stay in memory.
template <class T, class Kernel>
__global__ void __launch_bounds__(k_wide_threads)
    repulse_wide_kernel(MatView<const T> y, Kernel kernel, T scale, std::int64_t run, Partials out) {
  FLATLAND_SHARED(T, fall, k_tile_side * (k_tile_side + 1));
  const int t = static_cast<int>(threadIdx.x);
  const std::int64_t n = y.rows, d = y.cols;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * k_tile_side;
  const int rows = static_cast<int>(n - first < k_tile_side ? n - first : k_tile_side);
  const auto coordinate = [&](std::int64_t i, std::int64_t c) { return pair_coordinate(y(i, c), scale); };
  double weight = 0;
  const std::int64_t past = blockIdx.y * run + run < n ? blockIdx.y * run + run : n;
  for (std::int64_t begin = blockIdx.y * run; begin < past; begin += k_tile_side) {
    const int columns = static_cast<int>(n - begin < k_tile_side ? n - begin : k_tile_side);
    __syncthreads();
    for (int pair = t; pair < k_tile_side * k_tile_side; pair += k_wide_threads) {
      const int r = pair / k_tile_side, j = pair % k_tile_side;
      if (r >= rows || j >= columns) continue;
      T base = 1;
      for (std::int64_t c = 0; c < d; ++c) {
        const T diff = coordinate(first + r, c) - coordinate(begin + j, c);
        base = fma(diff, diff, base);
      }
      const T inv = inverse(base);
      const T w = kernel.weight_at(base, inv);
      if (first + r != begin + j) weight += static_cast<double>(w);
      fall[r * (k_tile_side + 1) + j] = kernel.fall(w, inv);
    }
    __syncthreads();
    for (std::int64_t at = t; at < rows * d; at += k_wide_threads) {
      const std::int64_t r = at / d, c = at % d;
      const T own = coordinate(first + r, c);
      T sum = 0;
      for (int j = 0; j < columns; ++j)
        sum = fma(T(fall[r * (k_tile_side + 1) + j]), own - coordinate(begin + j, c), sum);
      double& push = out.run_push[(blockIdx.y * d + c) * n + first + r];
      push = (begin == blockIdx.y * run ? 0 : push) + static_cast<double>(sum);
    }
  }
  weight = block_sum<k_wide_threads>(weight);
  if (t != 0) return;
  out.weight[blockIdx.y * gridDim.x + blockIdx.x] = weight;
  if (blockIdx.x == 0 && blockIdx.y == 0) *out.done = 0;
}

// --- the entries of p -----------------------------------------------------------------------------------

constexpr int k_small_warps = k_small_threads / k_warp;

// Reads what another block of the same launch may have written.
__device__ inline double fresh(const double* value) {
  return *static_cast<const volatile double*>(value);
}
// The sum of n values, in every thread of the block.
__device__ inline double sum_of(const double* value, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += k_small_threads) sum += fresh(value + i);
  return block_sum<k_small_threads>(sum);
}

// Loss and gradient from the sums of all blocks, by `blocks` blocks together.
template <class T>
__device__ void write_result(const Partials& in, std::int64_t parts, double factor, MatView<T> dy,
                             std::int64_t n, T* value, unsigned block, unsigned blocks) {
  const double loss = sum_of(in.loss, parts);
  const double share = sum_of(in.share, parts);
  if (block == 0 && threadIdx.x == 0) *value = static_cast<T>(loss / static_cast<double>(n > 0 ? n : 1));
  if (dy.data == nullptr) return;
  factor *= fresh(in.scale);
  for (std::int64_t at = static_cast<std::int64_t>(block) * k_small_threads + threadIdx.x; at < n * dy.cols;
       at += static_cast<std::int64_t>(blocks) * k_small_threads)
    dy(at / dy.cols, at % dy.cols) =
        static_cast<T>(pair_gradient(factor, fresh(in.pull + at), share, fresh(in.push + at)));
}

template <class T>
__global__ void write_result_kernel(Partials in, std::int64_t parts, double factor, MatView<T> dy,
                                    std::int64_t n, T* value) {
  write_result(in, parts, factor, dy, n, value, blockIdx.x, gridDim.x);
}

// A warp a row. D = 0: any number of dimensions.
template <class T, int D, class Kernel>
__global__ void __launch_bounds__(k_small_threads)
    attract_kernel(MatView<const T> y, Kernel kernel, T scale, SparseRows<T> p, T eps, Partials out,
                   double factor, MatView<T> dy, T* value, bool last_writes) {
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  const std::int64_t n = y.rows, d = D > 0 ? D : y.cols;
  const double inverse_sum = inverse_weight(sum_of(out.weight, out.blocks));
  const T q_scale = static_cast<T>(inverse_sum);
  double loss = 0, share = 0;
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * k_small_warps + threadIdx.x / k_warp;
       row < n; row += static_cast<std::int64_t>(gridDim.x) * k_small_warps) {
    double force[D > 0 ? D : 1] = {};
    if (D == 0 && lane == 0)
      for (std::int64_t c = 0; c < d; ++c) out.pull[row * d + c] = 0;
    for (std::int64_t first = p.begin[row]; first < p.end[row]; first += k_warp) {
      const std::int64_t entry = first + lane;
      const std::int64_t col = entry < p.end[row] ? p.col[entry] : row;
      const bool met = col != row && col >= 0 && col < n;
      const std::int64_t other = met ? col : row;
      const auto difference = [&](std::int64_t c) {
        return pair_coordinate(y(row, c), scale) - pair_coordinate(y(other, c), scale);
      };
      T base = 1;
      for (std::int64_t c = 0; c < d; ++c) base = fma(difference(c), difference(c), base);
      const Attraction<T> a =
          attraction(kernel, base, inverse(base), met ? p.value[entry] : T(0), q_scale, eps);
      loss += static_cast<double>(a.loss);
      share += static_cast<double>(a.share);
      const double strength = static_cast<double>(a.strength);
      for (std::int64_t c = 0; c < d; ++c) {
        const double f = strength * static_cast<double>(difference(c));
        if constexpr (D > 0) {
          force[c] += f;
        } else {
          const double sum = warp_sum(f);
          if (lane == 0) out.pull[row * d + c] += sum;
        }
      }
    }
    if (dy.data == nullptr) continue;
    for (std::int64_t c = 0; c < d; ++c) {
      double push = 0;
      for (std::int64_t run = lane; run < out.runs; run += k_warp)
        push += out.run_push[(run * d + c) * n + row];
      push = warp_sum(push);
      const double pull = D > 0 ? warp_sum(force[D > 0 ? c : 0]) : 0;
      if (lane != 0) continue;
      out.push[row * d + c] = push;
      if (D > 0) out.pull[row * d + c] = pull;
    }
  }
  loss = block_sum<k_small_threads>(loss);
  share = block_sum<k_small_threads>(share);
  if (threadIdx.x == 0) {
    out.loss[blockIdx.x] = loss;
    out.share[blockIdx.x] = share;
    if (blockIdx.x == 0) *out.scale = inverse_sum;
  }
  if (!last_writes) return;
  __threadfence();
  __syncthreads();
  const bool last = threadIdx.x == 0 && atomicAdd(out.done, 1u) == gridDim.x - 1;
  if (!__syncthreads_or(last)) return;
  __threadfence();
  write_result(out, gridDim.x, factor, dy, n, value, 0, 1);
}

// --- launches -------------------------------------------------------------------------------------------

// How all pairs are cut: blocks of rows, runs of columns (in whole tiles). Enough blocks to fill a GPU, and
// no more partial sums than that takes; a function of n alone.
struct Cut {
  std::int64_t row_blocks, runs, run;

  Cut(std::int64_t n, std::int64_t rows, std::int64_t tile) {
    constexpr std::int64_t k_blocks = 4096;
    row_blocks = ceil_div(n, rows);
    const std::int64_t tiles = ceil_div(n, tile);
    const std::int64_t wanted = std::clamp<std::int64_t>(
        ceil_div(k_blocks, std::max<std::int64_t>(1, row_blocks)), 1, std::max<std::int64_t>(1, tiles));
    run = ceil_div(tiles, wanted) * tile;
    runs = run > 0 ? ceil_div(n, run) : 0;
  }
  dim3 grid() const { return {static_cast<unsigned>(row_blocks), static_cast<unsigned>(runs)}; }
};

constexpr std::int64_t k_few_items = 2048;  // items up to here: small blocks, one row a thread

template <class F>
void with_dimensions(std::int64_t d, F&& f) {
  if (d == 1) return f(std::integral_constant<int, 1>{});
  if (d == 2) return f(std::integral_constant<int, 2>{});
  if (d == 3) return f(std::integral_constant<int, 3>{});
  f(std::integral_constant<int, 0>{});
}
template <class T, class F>
void with_kernel(double alpha, F&& f) {
  if (alpha == 1) return f(StudentT<T, true>(alpha));
  f(StudentT<T, false>(alpha));
}

Cut cut_of(std::int64_t n, std::int64_t d) {
  if (d > 3) return Cut(n, k_tile_side, k_tile_side);
  return n <= k_few_items ? Cut(n, 64, 32) : Cut(n, 512, 128);
}

template <class T, int D, class Kernel>
void repulse(const Exec& exec, const Cut& cut, MatView<const T> y, const Kernel& kernel, T scale,
             const Partials& partials) {
  if constexpr (D == 0)
    launch(exec, repulse_wide_kernel<T, Kernel>, cut.grid(), k_wide_threads, 0, y, kernel, scale, cut.run,
           partials);
  else if (y.rows <= k_few_items)
    launch(exec, repulse_kernel<T, D, 64, 1, 32, Kernel>, cut.grid(), 64, 0, y, kernel, scale, cut.run,
           partials);
  else
    launch(exec, repulse_kernel<T, D, 128, 4, 128, Kernel>, cut.grid(), 128, 0, y, kernel, scale, cut.run,
           partials);
}

}  // namespace

template <class T>
void kl_student_t(const Exec& exec, double alpha, double eps, MatView<const T> y, const SparseRows<T>& p,
                  MatView<T> dy, T* value) {
  constexpr std::int64_t k_last_block = 4096;  // values of dy that one block may write
  const std::int64_t n = y.rows, d = y.cols;
  const Cut cut = cut_of(n, d);
  const std::int64_t blocks = cut.row_blocks * cut.runs;
  const std::int64_t parts = std::clamp<std::int64_t>(ceil_div(n, k_small_warps), 1, 1024);
  const ScratchArray<double> weight(exec, blocks), run_push(exec, checked_mul(cut.runs * d, n)),
      loss(exec, parts), share(exec, parts), push(exec, n * d), pull(exec, n * d), q_scale(exec, 1);
  const ScratchArray<unsigned> done(exec, 1);
  const Partials partials{weight.data(), blocks,      run_push.data(), cut.runs,       loss.data(),
                          share.data(),  push.data(), pull.data(),     q_scale.data(), done.data()};
  const T scale = static_cast<T>(pair_scale(alpha));
  const double factor = gradient_factor(alpha, static_cast<double>(std::max<std::int64_t>(1, n)));
  const bool last_writes = n > 0 && n * d <= k_last_block;
  with_dimensions(d, [&](auto dimensions) {
    with_kernel<T>(alpha, [&](auto kernel) {
      using Kernel = decltype(kernel);
      repulse<T, dimensions>(exec, cut, y, kernel, scale, partials);
      launch(exec, attract_kernel<T, dimensions, Kernel>, static_cast<unsigned>(parts), k_small_threads, 0, y,
             kernel, scale, p, static_cast<T>(eps), partials, factor, dy, value, last_writes);
    });
  });
  if (!last_writes)
    launch(exec, write_result_kernel<T>, blocks_for(n * d + 1, k_small_threads), k_small_threads, 0, partials,
           parts, factor, dy, n, value);
}

template void kl_student_t(const Exec&, double, double, MatView<const float>, const SparseRows<float>&,
                           MatView<float>, float*);
template void kl_student_t(const Exec&, double, double, MatView<const double>, const SparseRows<double>&,
                           MatView<double>, double*);

}  // namespace flatland::kernels::cuda
