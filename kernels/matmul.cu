// Products of large matrices by cuBLAS. Those of a small network's training step are too small to fill a GPU
// by tiles of the usual size, and there a launch costs as much as the product: they go through one kernel
// with small tiles, whose warps share out the sum over k, bias and activation included.
#include <flatland/kernels/activation_formulas.h>
#include <flatland/kernels/matmul_cuda.h>
#include <flatland/kernels/cuda.cuh>
#include <flatland/kernels/quad.cuh>

#include <limits>
#include <type_traits>

namespace flatland::kernels::cuda {

namespace {

// What becomes of a sum of products on its way to c.
template <class T>
struct Epilogue {
  const T* bias = nullptr;
  ActivationKind kind = ActivationKind::identity;
  T slope = 0;
  bool accumulate = false;

  bool changes_nothing() const { return bias == nullptr && kind == ActivationKind::identity; }
};

template <class T>
__device__ T finish(const Epilogue<T>& epilogue, T value, std::int64_t col) {
  if (epilogue.bias != nullptr) value += epilogue.bias[col];
  T result = value;
  with_activation(epilogue.kind, [&](auto kind) { result = activation_value<kind>(value, epilogue.slope); });
  return result;
}

// --- small products -----------------------------------------------------------------------------------

constexpr int k_threads = 256;
constexpr int k_warps = k_threads / k_warp;
// A block's tile of c. Each warp has all of it: a lane 4 by 4 values, 4 lanes down and 8 across.
constexpr int k_tile_rows = 16;
constexpr int k_tile_cols = 32;
// So many k are in shared memory at once.
template <class T>
inline constexpr int k_depth = sizeof(T) == 4 ? 128 : 32;

// c[i,j] = sum_k a(i, k) b(j, k). An operand is `deep` where k runs along its memory: then its value (i, k)
// lies at i * ld + k, else at k * ld + i.
template <class T>
struct Operand {
  const T* data;
  std::int64_t rows, ld;
  bool aligned;
};

// A part of an operand, `rows` by k_depth: from global memory to registers, from there to shared memory. It
// lies there as in global memory; rows of a deep one are a quad longer, so that lanes that read different
// rows meet in no bank.
template <class T, bool deep, int rows>
struct Part {
  static constexpr int depth = k_depth<T>;
  static constexpr int length = deep ? depth / 4 : rows / 4;  // of a line in quads
  static constexpr int stride = deep ? length + 1 : length;
  static constexpr int lines = deep ? rows : depth;
  static constexpr int size = stride * lines;
  static constexpr int per_thread = (length * lines + k_threads - 1) / k_threads;

  Quad<T> quad[per_thread];

  __device__ void load(const Operand<T>& x, std::int64_t row0, std::int64_t k0, std::int64_t depth_left) {
    const std::int64_t along = deep ? depth_left : x.rows - row0;
    const std::int64_t across = deep ? x.rows - row0 : depth_left;
    const T* corner = deep ? x.data + row0 * x.ld + k0 : x.data + k0 * x.ld + row0;
#pragma unroll
    for (int u = 0; u < per_thread; ++u) {
      const int at = static_cast<int>(threadIdx.x) + u * k_threads;
      const int line = at / length, first = at % length * 4;
      const std::int64_t there = line < across && line < lines ? along - first : 0;
      quad[u] = load_quad(corner + line * x.ld + first, there, x.aligned);
    }
  }
  template <class Shared>
  __device__ void store(Shared& shared) const {
#pragma unroll
    for (int u = 0; u < per_thread; ++u) {
      const int at = static_cast<int>(threadIdx.x) + u * k_threads;
      if (at < length * lines) shared[at / length * stride + at % length] = quad[u];
    }
  }

  // Row r of the four that lane `lane` of `lanes` has.
  static __device__ int row(int lane, int lanes, int r) {
    return deep ? lane + r * lanes : lane * 4 + r;
  }
  // Its values (r, k) at the four k of quad q: value[r][k].
  template <class Shared>
  static __device__ void read(Shared& shared, int lane, int lanes, int q, T (&value)[4][4]) {
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const Quad<T> x = shared[deep ? row(lane, lanes, u) * stride + q : (q * 4 + u) * stride + lane];
#pragma unroll
      for (int w = 0; w < 4; ++w) (deep ? value[u][w] : value[w][u]) = x.v[w];
    }
  }
};

// The order of each sum depends on k alone: a warp adds every eighth quad of k, then the warps are added.
template <class T, bool deep_a, bool deep_b>
__global__ void __launch_bounds__(k_threads)
    small_product_kernel(Operand<T> a, Operand<T> b, std::int64_t depth, Epilogue<T> epilogue, MatView<T> c) {
  using PartA = Part<T, deep_a, k_tile_rows>;
  using PartB = Part<T, deep_b, k_tile_cols>;
  constexpr int tile_size = k_tile_rows * k_tile_cols;
  FLATLAND_SHARED(Quad<T>, shared_a, PartA::size);
  FLATLAND_SHARED(Quad<T>, shared_b, PartB::size);
  FLATLAND_SHARED(T, sums, k_warps * tile_size);
  const std::int64_t col_tiles = (c.cols + k_tile_cols - 1) / k_tile_cols;
  const std::int64_t row0 = blockIdx.x / col_tiles * k_tile_rows, col0 = blockIdx.x % col_tiles * k_tile_cols;
  const int warp = static_cast<int>(threadIdx.x) / k_warp, lane = static_cast<int>(threadIdx.x) % k_warp;
  const int lane_row = lane / 8, lane_col = lane % 8;

  T sum[4][4] = {};
  PartA next_a;
  PartB next_b;
  next_a.load(a, row0, 0, depth);
  next_b.load(b, col0, 0, depth);
  for (std::int64_t k0 = 0; k0 < depth; k0 += k_depth<T>) {
    next_a.store(shared_a);
    next_b.store(shared_b);
    __syncthreads();
    const std::int64_t left = depth - k0;
    if (left > k_depth<T>) {
      next_a.load(a, row0, k0 + k_depth<T>, left - k_depth<T>);
      next_b.load(b, col0, k0 + k_depth<T>, left - k_depth<T>);
    }
#pragma unroll
    for (int q = warp; q < k_depth<T> / 4; q += k_warps) {
      if (q * 4 >= left) break;
      T x[4][4], y[4][4];
      PartA::read(shared_a, lane_row, 4, q, x);
      PartB::read(shared_b, lane_col, 8, q, y);
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
          for (int s = 0; s < 4; ++s) sum[r][s] = fma(x[r][k], y[s][k], sum[r][s]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 4; ++r)
#pragma unroll
    for (int s = 0; s < 4; ++s)
      sums[warp * tile_size + PartA::row(lane_row, 4, r) * k_tile_cols + PartB::row(lane_col, 8, s)] =
          sum[r][s];
  __syncthreads();
  for (int at = static_cast<int>(threadIdx.x); at < tile_size; at += k_threads) {
    const std::int64_t i = row0 + at / k_tile_cols, j = col0 + at % k_tile_cols;
    if (i >= c.rows || j >= c.cols) continue;
    T total = 0;
    for (int w = 0; w < k_warps; ++w) total += sums[w * tile_size + at];
    if (epilogue.accumulate) total += c(i, j);
    c(i, j) = finish(epilogue, total, j);
  }
}

// With more tiles than a GPU runs at once cuBLAS has the better kernels, with more k it shares them out
// better.
bool is_small(std::int64_t m, std::int64_t n, std::int64_t k) {
  return k == 0 || (m * n <= 256 * k_tile_rows * k_tile_cols && k <= 2048);
}

template <class T>
void small_product(const Exec& exec, Transpose transpose, MatView<const T> a, MatView<const T> b,
                   const Epilogue<T>& epilogue, MatView<T> c) {
  const Operand<T> rows{a.data, c.rows, a.ld, rows_aligned(a.data, a.ld)};
  const Operand<T> cols{b.data, c.cols, b.ld, rows_aligned(b.data, b.ld)};
  const std::int64_t depth = transpose == Transpose::a ? a.rows : a.cols;
  const auto tiles = static_cast<unsigned>(ceil_div(c.rows, k_tile_rows) * ceil_div(c.cols, k_tile_cols));
  const auto run = [&](auto kernel) {
    launch(exec, kernel, tiles, k_threads, 0, rows, cols, depth, epilogue, c);
  };
  switch (transpose) {
    case Transpose::none:
      return run(small_product_kernel<T, true, false>);
    case Transpose::a:
      return run(small_product_kernel<T, false, false>);
    case Transpose::b:
      return run(small_product_kernel<T, true, true>);
  }
}

// --- large products -----------------------------------------------------------------------------------

int blas_size(std::int64_t n) {
  FLATLAND_CHECK(n <= std::numeric_limits<int>::max(), "matmul: a size or leading dimension of ", n,
                 "; on CUDA they reach 2^31 - 1");
  return static_cast<int>(n);
}

// cuBLAS stores by columns, so it sees all matrices transposed: c^T = op(b)^T op(a)^T.
template <class T>
void large_product(const Exec& exec, Transpose transpose, MatView<const T> a, MatView<const T> b,
                   MatView<T> c, bool accumulate) {
  const T one = 1, before = accumulate ? 1 : 0;
  const auto product = [&](auto gemm) {
    check(gemm(exec.cuda().blas, transpose == Transpose::b ? CUBLAS_OP_T : CUBLAS_OP_N,
               transpose == Transpose::a ? CUBLAS_OP_T : CUBLAS_OP_N, blas_size(c.cols), blas_size(c.rows),
               blas_size(transpose == Transpose::a ? a.rows : a.cols), &one, b.data, blas_size(b.ld), a.data,
               blas_size(a.ld), &before, c.data, blas_size(c.ld)),
          "a product");
  };
  if constexpr (std::is_same_v<T, float>)
    product(cublasSgemm);
  else
    product(cublasDgemm);
}

constexpr dim3 k_epilogue_block(32, 8);

// A thread four columns of a row.
template <class T>
__global__ void epilogue_kernel(Epilogue<T> epilogue, MatView<T> c, bool aligned) {
  const std::int64_t j = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4;
  if (j >= c.cols) return;
  const std::int64_t row_step = static_cast<std::int64_t>(gridDim.y) * blockDim.y;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; i < c.rows;
       i += row_step) {
    Quad<T> quad = load_quad<T>(c.row(i) + j, c.cols - j, aligned);
#pragma unroll
    for (int s = 0; s < 4; ++s)
      if (j + s < c.cols) quad.v[s] = finish(epilogue, quad.v[s], j + s);
    store_quad(c.row(i) + j, quad, c.cols - j, aligned);
  }
}

}  // namespace

template <class T>
void matmul(const Exec& exec, Transpose transpose, MatView<const T> a, MatView<const T> b, MatView<T> c,
            bool accumulate) {
  if (c.rows == 0 || c.cols == 0) return;
  if (is_small(c.rows, c.cols, transpose == Transpose::a ? a.rows : a.cols))
    return small_product(exec, transpose, a, b, Epilogue<T>{.accumulate = accumulate}, c);
  large_product(exec, transpose, a, b, c, accumulate);
}

template <class T>
void linear(const Exec& exec, MatView<const T> x, MatView<const T> w, const T* bias,
            const Activation& activation, MatView<T> y) {
  if (y.rows == 0 || y.cols == 0) return;
  const Epilogue<T> epilogue{
      .bias = bias, .kind = activation.kind, .slope = static_cast<T>(activation.slope)};
  if (is_small(y.rows, y.cols, x.cols)) return small_product(exec, Transpose::b, x, w, epilogue, y);
  large_product(exec, Transpose::b, x, w, y, false);
  if (epilogue.changes_nothing()) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(y.cols, 4 * k_epilogue_block.x)),
                  static_cast<unsigned>(std::min<std::int64_t>(ceil_div(y.rows, k_epilogue_block.y), 4096)));
  launch(exec, epilogue_kernel<T>, grid, k_epilogue_block, 0, epilogue, y, rows_aligned(y.data, y.ld));
}

#define FLATLAND_INSTANTIATE(T)                                                                       \
  template void matmul(const Exec&, Transpose, MatView<const T>, MatView<const T>, MatView<T>, bool); \
  template void linear(const Exec&, MatView<const T>, MatView<const T>, const T*, const Activation&,  \
                       MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
