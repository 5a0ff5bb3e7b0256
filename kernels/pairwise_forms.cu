// Between the square and the condensed form of a symmetric relation.
#include <flatland/kernels/pairwise_cuda.h>
#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

namespace {

constexpr int k_form_side = k_warp;  // of a tile
constexpr int k_form_step = k_threads / k_warp;

// Block (bx, by), bx >= by: the tile of rows by * k_form_side, ... and columns bx * k_form_side, ... and its
// mirror.
template <class T>
struct Tile {
  int lane = static_cast<int>(threadIdx.x) % k_warp, warp = static_cast<int>(threadIdx.x) / k_warp;
  std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * k_form_side;
  std::int64_t col = static_cast<std::int64_t>(blockIdx.x) * k_form_side;
};

template <class T>
__global__ void __launch_bounds__(k_threads)
    condensed_to_square_kernel(const T* condensed, MatView<T> square) {
  FLATLAND_SHARED(T, tile, k_form_side * (k_form_side + 1));
  if (blockIdx.x < blockIdx.y) return;
  const Tile<T> at;
  const std::int64_t n = square.rows;
  for (int r = at.warp; r < k_form_side; r += k_form_step) {
    const std::int64_t i = at.row + r, j = at.col + at.lane;
    if (j >= n || i > j) continue;
    const T value = i < j ? condensed[condensed_index(n, i, j)] : T(0);
    tile[r * (k_form_side + 1) + at.lane] = value;
    square(i, j) = value;
  }
  __syncthreads();
  for (int r = at.warp; r < k_form_side; r += k_form_step) {
    const std::int64_t i = at.col + r, j = at.row + at.lane;
    if (i < n && j < i) square(i, j) = tile[at.lane * (k_form_side + 1) + r];
  }
}

template <class T>
__global__ void __launch_bounds__(k_threads)
    condensed_to_square_backward_kernel(MatView<const T> square, T* condensed) {
  FLATLAND_SHARED(T, tile, k_form_side * (k_form_side + 1));
  if (blockIdx.x < blockIdx.y) return;
  const Tile<T> at;
  const std::int64_t n = square.rows;
  for (int r = at.warp; r < k_form_side; r += k_form_step) {
    const std::int64_t i = at.col + r, j = at.row + at.lane;
    if (i < n && j < i) tile[r * (k_form_side + 1) + at.lane] = square(i, j);
  }
  __syncthreads();
  for (int r = at.warp; r < k_form_side; r += k_form_step) {
    const std::int64_t i = at.row + r, j = at.col + at.lane;
    if (i < j && j < n)
      condensed[condensed_index(n, i, j)] = square(i, j) + T(tile[at.lane * (k_form_side + 1) + r]);
  }
}

template <class T>
__global__ void square_to_condensed_kernel(MatView<const T> square, T* condensed) {
  const std::int64_t n = square.rows;
  for (std::int64_t i = blockIdx.y; i < n; i += gridDim.y)
    for (std::int64_t j = thread_index(); j < n; j += thread_count())
      if (i < j) condensed[condensed_index(n, i, j)] = square(i, j);
}

template <class T>
__global__ void square_to_condensed_backward_kernel(const T* condensed, MatView<T> square) {
  const std::int64_t n = square.rows;
  for (std::int64_t i = blockIdx.y; i < n; i += gridDim.y)
    for (std::int64_t j = thread_index(); j < n; j += thread_count())
      square(i, j) = i < j ? condensed[condensed_index(n, i, j)] : T(0);
}

dim3 tiles(std::int64_t n) {
  const auto side = static_cast<unsigned>(ceil_div(n, k_form_side));
  return {side, side};
}
dim3 rows(std::int64_t n) {
  return {blocks_for(n, k_threads), static_cast<unsigned>(std::min<std::int64_t>(n, 4096))};
}

}  // namespace

template <class T>
void condensed_to_square(const Exec& exec, std::span<const T> condensed, MatView<T> square) {
  launch(exec, condensed_to_square_kernel<T>, tiles(square.rows), k_threads, 0, condensed.data(), square);
}

template <class T>
void condensed_to_square_backward(const Exec& exec, MatView<const T> square, std::span<T> condensed) {
  launch(exec, condensed_to_square_backward_kernel<T>, tiles(square.rows), k_threads, 0, square,
         condensed.data());
}

template <class T>
void square_to_condensed(const Exec& exec, MatView<const T> square, std::span<T> condensed) {
  launch(exec, square_to_condensed_kernel<T>, rows(square.rows), k_threads, 0, square, condensed.data());
}

template <class T>
void square_to_condensed_backward(const Exec& exec, std::span<const T> condensed, MatView<T> square) {
  launch(exec, square_to_condensed_backward_kernel<T>, rows(square.rows), k_threads, 0, condensed.data(),
         square);
}

#define FLATLAND_INSTANTIATE(T)                                                            \
  template void condensed_to_square(const Exec&, std::span<const T>, MatView<T>);          \
  template void condensed_to_square_backward(const Exec&, MatView<const T>, std::span<T>); \
  template void square_to_condensed(const Exec&, MatView<const T>, std::span<T>);          \
  template void square_to_condensed_backward(const Exec&, std::span<const T>, MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
