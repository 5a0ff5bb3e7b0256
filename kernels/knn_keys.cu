#include <flatland/kernels/knn_steps.cuh>

namespace flatland::kernels::cuda {

namespace {

// --- all pairs of two blocks of rows ------------------------------------------------------------------

constexpr int k_key_tile = 32;   // rows and columns of keys a block computes, 2 by 2 a thread
constexpr int k_key_side = 16;   // threads a side
constexpr int k_key_depth = 16;  // coordinates in shared memory at once
constexpr int k_key_stride = k_key_tile + 1;

// Coordinates k0, ... of up to k_key_tile rows as [coordinate][row]; zeros past the ends, which add nothing.
template <class T, class Shared, class RowAt>
__device__ void load_rows(Shared& shared, const KeyRows<T>& rows, std::int64_t k0, std::int64_t left,
                          const RowAt& row_at) {
  for (int at = static_cast<int>(threadIdx.x); at < k_key_tile * k_key_depth; at += k_key_side * k_key_side) {
    const int row = at / k_key_depth, k = at % k_key_depth;
    const bool inside = row < left && k0 + k < rows.x.cols;
    shared[k * k_key_stride + row] = inside ? rows.value(row_at(row), k0 + k) : 0.;
  }
}

template <Term term, class T>
__global__ void __launch_bounds__(k_key_side* k_key_side)
    block_keys_kernel(KeyRows<T> query, RowList list, KeyRows<T> base, std::int64_t first,
                      MatView<double> keys) {
  FLATLAND_SHARED(double, shared_x, k_key_depth* k_key_stride);
  FLATLAND_SHARED(double, shared_y, k_key_depth* k_key_stride);
  const std::int64_t col_tiles = (keys.cols + k_key_tile - 1) / k_key_tile;
  const std::int64_t row0 = blockIdx.x / col_tiles * k_key_tile, col0 = blockIdx.x % col_tiles * k_key_tile;
  const int ty = static_cast<int>(threadIdx.x) / k_key_side, tx = static_cast<int>(threadIdx.x) % k_key_side;
  double sum[2][2][k_key_lanes] = {};
  for (std::int64_t k0 = 0; k0 < query.x.cols; k0 += k_key_depth) {
    load_rows(shared_x, query, k0, keys.rows - row0, [&](int r) { return list[row0 + r]; });
    load_rows(shared_y, base, k0, keys.cols - col0, [&](int r) { return first + col0 + r; });
    __syncthreads();
#pragma unroll
    for (int k = 0; k < k_key_depth; ++k) {
      const double x[2] = {shared_x[k * k_key_stride + ty], shared_x[k * k_key_stride + ty + k_key_side]};
      const double y[2] = {shared_y[k * k_key_stride + tx], shared_y[k * k_key_stride + tx + k_key_side]};
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int s = 0; s < 2; ++s)
          sum[r][s][k % k_key_lanes] = add_key_term<term>(sum[r][s][k % k_key_lanes], x[r] - y[s]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 2; ++r)
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const std::int64_t i = row0 + ty + r * k_key_side, j = col0 + tx + s * k_key_side;
      if (i >= keys.rows || j >= keys.cols) continue;
      double key = combined_key<term>(sum[r][s]);
      if (query.units != nullptr)
        key = add_key_term<term>(key, query.units[list[i]].zero() - base.units[first + j].zero());
      keys(i, j) = ordered_key(key);
    }
}

template <class T>
__global__ void power_keys_kernel(double p, MatView<const T> query, RowList list, MatView<const T> base,
                                  std::int64_t first, MatView<double> keys) {
  for (std::int64_t at = thread_index(); at < keys.rows * keys.cols; at += thread_count()) {
    const std::int64_t i = at / keys.cols, j = at % keys.cols;
    const T *x = query.row(list[i]), *y = base.row(first + j);
    keys(i, j) = power_key(
        p, query.cols, [=](std::int64_t k) { return static_cast<double>(x[k]); },
        [=](std::int64_t k) { return static_cast<double>(y[k]); });
  }
}

// --- candidates ---------------------------------------------------------------------------------------

constexpr int k_list_threads = 128;

// A block a row, eight lanes a candidate.
template <class T>
__global__ void __launch_bounds__(k_list_threads)
    candidate_keys_kernel(KeyRows<T> query, RowList list, KeyRows<T> base, Pools<float> from,
                          Candidate<double>* to) {
  constexpr int lanes = static_cast<int>(k_key_lanes);
  const std::int64_t r = blockIdx.x, i = list[r];
  const int count = from.count[r], thread = static_cast<int>(threadIdx.x);
  for (int first = 0; first < count; first += k_list_threads / lanes) {
    const int at = first + thread / lanes;
    const std::int32_t j = from.row(r)[at < count ? at : first].index;  // whole warps stay
    const double key = key_of_pair(query, i, base, j);
    if (at < count && thread % lanes == 0) to[r * from.capacity + at] = {key, j};
  }
}

}  // namespace

template <class T>
void keys_of_block(const Exec& exec, const KnnSearch<T>& search, const RowList& list, std::int64_t first,
                   MatView<double> keys) {
  const auto tiles = static_cast<unsigned>(ceil_div(keys.rows, k_key_tile) * ceil_div(keys.cols, k_key_tile));
  const auto run = [&](auto kernel) {
    launch(exec, kernel, tiles, k_key_side * k_key_side, 0, search.query, list, search.base, first, keys);
  };
  switch (search.form.term) {
    case Term::squares:
      return run(block_keys_kernel<Term::squares, T>);
    case Term::absolutes:
      return run(block_keys_kernel<Term::absolutes, T>);
    case Term::maximum:
      return run(block_keys_kernel<Term::maximum, T>);
    case Term::powers:
      launch(exec, power_keys_kernel<T>, blocks_for(keys.rows * keys.cols, 128), 128, 0, search.form.p,
             search.query.x, list, search.base.x, first, keys);
  }
}

template <class T>
void keys_of_candidates(const Exec& exec, const KnnSearch<T>& search, const RowList& list,
                        const Pools<float>& from, Candidate<double>* to) {
  launch(exec, candidate_keys_kernel<T>, static_cast<unsigned>(list.count), k_list_threads, 0, search.query,
         list, search.base, from, to);
}

#define FLATLAND_INSTANTIATE(T)                                                                              \
  template void keys_of_block<T>(const Exec&, const KnnSearch<T>&, const RowList&, std::int64_t,             \
                                 MatView<double>);                                                           \
  template void keys_of_candidates<T>(const Exec&, const KnnSearch<T>&, const RowList&, const Pools<float>&, \
                                      Candidate<double>*)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
