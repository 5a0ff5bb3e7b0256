// Products of large matrices by cuBLAS. Those of a small network's training step are too small to fill a GPU
// by tiles of the usual size, and there a launch costs as much as the product: they go through one kernel
// with small tiles, whose warps share out the sum over k, bias and activation included.
#include <flatland/kernels/activation_formulas.h>
#include <flatland/kernels/matmul_cuda.h>
#include <flatland/kernels/cublas.cuh>
#include <flatland/kernels/quad.cuh>

#include <algorithm>
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

// A block's tile of c. Each warp has all of it: a lane 4 by 4 values, 4 lanes down and 8 across.
constexpr int k_tile_rows = 16;
constexpr int k_tile_cols = 32;
// So many k are in shared memory at once.
template <class T>
inline constexpr int k_product_depth = sizeof(T) == 4 ? 128 : 32;

// c[i,j] = sum_k a(i, k) b(j, k). An operand is `deep` where k runs along the lines of its memory; else i or
// j does.
template <class T>
struct Operand {
  MatView<const T> values;
  bool aligned;

  Operand(MatView<const T> m) : values(m), aligned(rows_aligned(m.data, m.ld)) {}
  // The first n of the four values from `at` on.
  __device__ Quad<T> load(std::int64_t line, std::int64_t at, std::int64_t n) const {
    return load_quad(values.row(line) + at, n, aligned);
  }
};

// dz = dy activation'(y), an operand that is computed where it is read.
template <class T>
struct GradientOperand {
  Operand<T> dy, y;
  ActivationKind kind;
  T slope;

  __device__ Quad<T> load(std::int64_t line, std::int64_t at, std::int64_t n) const {
    Quad<T> dz = dy.load(line, at, n);
    if (kind == ActivationKind::identity) return dz;
    const Quad<T> out = y.load(line, at, n);
    with_activation(kind, [&](auto kind) {
      for (int i = 0; i < 4; ++i) dz.v[i] *= activation_derivative<kind>(out.v[i], slope);
    });
    return dz;
  }
};

// A part of an operand, `rows` by k_product_depth: from global memory to registers, from there to shared
// memory. It lies there as in global memory; rows of a deep one are a quad longer, so that lanes that read
// different rows meet in no bank.
template <class T, bool deep, int rows>
struct Part {
  static constexpr int depth = k_product_depth<T>;
  static constexpr int length = deep ? depth / 4 : rows / 4;  // of a line in quads
  static constexpr int stride = deep ? length + 1 : length;
  static constexpr int lines = deep ? rows : depth;
  static constexpr int size = stride * lines;
  static constexpr int per_thread = (length * lines + k_threads - 1) / k_threads;

  Quad<T> quad[per_thread];

  // From row0 and k0 on; so many of each are left there.
  template <class Source>
  __device__ void load(const Source& x, std::int64_t row0, std::int64_t rows_left, std::int64_t k0,
                       std::int64_t depth_left) {
    const std::int64_t line0 = deep ? row0 : k0, across = deep ? rows_left : depth_left;
    const std::int64_t first0 = deep ? k0 : row0, along = deep ? depth_left : rows_left;
#pragma unroll
    for (int u = 0; u < per_thread; ++u) {
      const int at = static_cast<int>(threadIdx.x) + u * k_threads;
      const int line = at / length, first = at % length * 4;
      const bool there = line < across && line < lines && first < along;
      quad[u] = there ? x.load(line0 + line, first0 + first, along - first) : Quad<T>{};
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

// Shared memory of a block, in quads, for whichever way its operands lie.
template <class T, int rows>
inline constexpr int k_part_size = std::max(Part<T, true, rows>::size, Part<T, false, rows>::size);
constexpr int k_tile_size = k_tile_rows * k_tile_cols;
constexpr std::int64_t tiles_across(std::int64_t cols) {
  return (cols + k_tile_cols - 1) / k_tile_cols;
}

// Tile `tile` of c. The order of each sum depends on k alone: a warp adds every eighth quad of k, then the
// warps are added. With `row_sums`, row_sums[i] = sum_k a(i, k) besides, in the same order.
template <class T, bool deep_a, bool deep_b, class A, class SharedA, class SharedB, class Sums>
__device__ void product_tile(std::int64_t tile, const A& a, const Operand<T>& b, std::int64_t depth,
                             const Epilogue<T>& epilogue, MatView<T> c, T* row_sums, SharedA& shared_a,
                             SharedB& shared_b, Sums& sums) {
  using PartA = Part<T, deep_a, k_tile_rows>;
  using PartB = Part<T, deep_b, k_tile_cols>;
  const std::int64_t row0 = tile / tiles_across(c.cols) * k_tile_rows;
  const std::int64_t col0 = tile % tiles_across(c.cols) * k_tile_cols;
  const int warp = static_cast<int>(threadIdx.x) / k_warp, lane = static_cast<int>(threadIdx.x) % k_warp;
  const int lane_row = lane / 8, lane_col = lane % 8;

  T sum[4][4] = {}, row_sum[4] = {};
  PartA next_a;
  PartB next_b;
  next_a.load(a, row0, c.rows - row0, 0, depth);
  next_b.load(b, col0, c.cols - col0, 0, depth);
  for (std::int64_t k0 = 0; k0 < depth; k0 += k_product_depth<T>) {
    next_a.store(shared_a);
    next_b.store(shared_b);
    __syncthreads();
    const std::int64_t left = depth - k0;
    if (left > k_product_depth<T>) {
      next_a.load(a, row0, c.rows - row0, k0 + k_product_depth<T>, left - k_product_depth<T>);
      next_b.load(b, col0, c.cols - col0, k0 + k_product_depth<T>, left - k_product_depth<T>);
    }
#pragma unroll
    for (int q = warp; q < k_product_depth<T> / 4; q += k_warps) {
      if (q * 4 >= left) break;
      T x[4][4], y[4][4];
      PartA::read(shared_a, lane_row, 4, q, x);
      PartB::read(shared_b, lane_col, 8, q, y);
#pragma unroll
      for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          row_sum[r] += x[r][k];
#pragma unroll
          for (int s = 0; s < 4; ++s) sum[r][s] = fma(x[r][k], y[s][k], sum[r][s]);
        }
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 4; ++r)
#pragma unroll
    for (int s = 0; s < 4; ++s)
      sums[warp * k_tile_size + PartA::row(lane_row, 4, r) * k_tile_cols + PartB::row(lane_col, 8, s)] =
          sum[r][s];
  __syncthreads();
  for (int at = static_cast<int>(threadIdx.x); at < k_tile_size; at += k_threads) {
    const std::int64_t i = row0 + at / k_tile_cols, j = col0 + at % k_tile_cols;
    if (i >= c.rows || j >= c.cols) continue;
    T total = 0;
    for (int w = 0; w < k_warps; ++w) total += sums[w * k_tile_size + at];
    if (epilogue.accumulate) total += c(i, j);
    c(i, j) = finish(epilogue, total, j);
  }
  if (row_sums == nullptr || col0 > 0) return;
  __syncthreads();
  if (lane_col == 0)
    for (int r = 0; r < 4; ++r) sums[warp * k_tile_rows + PartA::row(lane_row, 4, r)] = row_sum[r];
  __syncthreads();
  const int r = static_cast<int>(threadIdx.x);
  if (r >= k_tile_rows || row0 + r >= c.rows) return;
  T total = 0;
  for (int w = 0; w < k_warps; ++w) total += sums[w * k_tile_rows + r];
  row_sums[row0 + r] = total;
}

template <class T, bool deep_a, bool deep_b>
__global__ void __launch_bounds__(k_threads)
    small_product_kernel(Operand<T> a, Operand<T> b, std::int64_t depth, Epilogue<T> epilogue, MatView<T> c) {
  FLATLAND_SHARED(Quad<T>, shared_a, (k_part_size<T, k_tile_rows>));
  FLATLAND_SHARED(Quad<T>, shared_b, (k_part_size<T, k_tile_cols>));
  FLATLAND_SHARED(T, sums, k_warps * k_tile_size);
  product_tile<T, deep_a, deep_b>(blockIdx.x, a, b, depth, epilogue, c, static_cast<T*>(nullptr), shared_a,
                                  shared_b, sums);
}

// The first blocks have the tiles of dw = dz^T x and, by the way, db; the others those of dx = dz w.
template <class T>
__global__ void __launch_bounds__(k_threads)
    small_backward_kernel(GradientOperand<T> dz, Operand<T> x, Operand<T> w, MatView<T> dx, MatView<T> dw,
                          T* db) {
  FLATLAND_SHARED(Quad<T>, shared_a, (k_part_size<T, k_tile_rows>));
  FLATLAND_SHARED(Quad<T>, shared_b, (k_part_size<T, k_tile_cols>));
  FLATLAND_SHARED(T, sums, k_warps * k_tile_size);
  const std::int64_t tiles = (dw.rows + k_tile_rows - 1) / k_tile_rows * tiles_across(dw.cols);
  if (blockIdx.x < tiles)
    product_tile<T, false, false>(blockIdx.x, dz, x, x.values.rows, Epilogue<T>{}, dw, db, shared_a, shared_b,
                                  sums);
  else
    product_tile<T, true, false>(blockIdx.x - tiles, dz, w, w.values.rows, Epilogue<T>{}, dx,
                                 static_cast<T*>(nullptr), shared_a, shared_b, sums);
}

std::int64_t tiles_of(std::int64_t rows, std::int64_t cols) {
  return ceil_div(rows, k_tile_rows) * tiles_across(cols);
}

// With more tiles than a GPU runs at once cuBLAS has the better kernels, with more k it shares them out
// better.
bool is_small(std::int64_t m, std::int64_t n, std::int64_t k) {
  return k == 0 || (m * n <= 256 * k_tile_rows * k_tile_cols && k <= 2048);
}

template <class T>
void small_product(const Exec& exec, Transpose transpose, MatView<const T> a, MatView<const T> b,
                   const Epilogue<T>& epilogue, MatView<T> c) {
  const std::int64_t depth = transpose == Transpose::a ? a.rows : a.cols;
  const auto run = [&](auto kernel) {
    launch(exec, kernel, static_cast<unsigned>(tiles_of(c.rows, c.cols)), k_threads, 0, Operand<T>(a),
           Operand<T>(b), depth, epilogue, c);
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

template <class T>
bool small_linear_backward(const Exec& exec, MatView<const T> x, MatView<const T> w,
                           const Activation& activation, MatView<const T> y, MatView<const T> dy,
                           MatView<T> dx, MatView<T> dw, T* db) {
  const bool fits = dw.data != nullptr && dw.rows > 0 && dw.cols > 0 && is_small(dw.rows, dw.cols, dy.rows) &&
                    (dx.data == nullptr || is_small(dx.rows, dx.cols, dy.cols));
  if (!fits) return false;
  const std::int64_t tiles =
      tiles_of(dw.rows, dw.cols) + (dx.data != nullptr ? tiles_of(dx.rows, dx.cols) : 0);
  const GradientOperand<T> dz{dy, y, activation.kind, static_cast<T>(activation.slope)};
  launch(exec, small_backward_kernel<T>, static_cast<unsigned>(tiles), k_threads, 0, dz, Operand<T>(x),
         Operand<T>(w), dx, dw, db);
  return true;
}

#define FLATLAND_INSTANTIATE(T)                                                                           \
  template bool small_linear_backward(const Exec&, MatView<const T>, MatView<const T>, const Activation&, \
                                      MatView<const T>, MatView<const T>, MatView<T>, MatView<T>, T*);    \
  template void matmul(const Exec&, Transpose, MatView<const T>, MatView<const T>, MatView<T>, bool);     \
  template void linear(const Exec&, MatView<const T>, MatView<const T>, const T*, const Activation&,      \
                       MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
