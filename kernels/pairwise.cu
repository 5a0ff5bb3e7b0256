#include <flatland/kernels/pairwise_cuda.h>
#include <flatland/kernels/pairwise_formulas.h>
#include <flatland/kernels/unit_rows_formulas.h>
#include <flatland/kernels/pairwise_steps.cuh>

namespace flatland::kernels::cuda {

namespace {

// --- unit rows ------------------------------------------------------------------------------------------

// A warp takes 32 rows: a lane measures each, all write them.
template <class T>
__global__ void __launch_bounds__(k_warp)
    unit_rows_kernel(DistanceForm form, MatView<const T> x, MatView<T> unit, T* scale) {
  const int lane = static_cast<int>(threadIdx.x);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * k_warp;
  UnitRow own;
  if (first + lane < x.rows) {
    own = unit_row(form, x.row(first + lane), x.cols);
    scale[first + lane] = static_cast<T>(own.scale);
  }
  for (int r = 0; r < k_warp; ++r) {
    const UnitRow u{__shfl_sync(k_all_lanes, own.shift, r), __shfl_sync(k_all_lanes, own.scale, r)};
    const std::int64_t i = first + r;
    if (i >= x.rows) continue;
    for (std::int64_t k = lane; k < x.cols; k += k_warp)
      unit(i, k) = static_cast<T>((static_cast<double>(x(i, k)) - u.shift) * u.scale);
    if (lane == 0) unit(i, x.cols) = static_cast<T>(u.zero());
  }
}

// --- all against all ------------------------------------------------------------------------------------

constexpr int k_across = 16;  // threads of a block along either side
constexpr int k_depth = 16;   // coordinates in shared memory at a time

// Neighbouring rows' values of one coordinate.
template <class T, int own>
struct alignas(own * sizeof(T) < 16 ? own * sizeof(T) : 16) Rows {
  T value[own];
};

// The sums of one thread: `own` rows that lie together, `own` columns k_across apart.
template <class T, Term term, int own>
struct Sums {
  T of[own][own] = {};

  // One coordinate more; column(c) gives that of column c.
  template <class Column>
  __device__ void add(const Rows<T, own>& row, const Column& column) {
#pragma unroll
    for (int c = 0; c < own; ++c) {
      const T y = column(c);
#pragma unroll
      for (int r = 0; r < own; ++r) of[r][c] = add_term<term>(of[r][c], row.value[r] - y);
    }
  }
};

// Block (bx, by) of a row of blocks: the tile of rows by * side, ... of x and rows bx * side, ... of y.
template <class T, Term term, int own>
__global__ void __launch_bounds__(k_threads)
    distances_kernel(Finish finish, MatView<const T> x, MatView<const T> y, PairLayout layout, T* dist) {
  constexpr int side = k_across * own;
  using Packed = Rows<T, own>;
  FLATLAND_SHARED(Packed, rows, k_depth * (k_across + 1));
  FLATLAND_SHARED(T, columns, k_depth * (side + 1));
  const bool condensed = layout.kind == PairLayout::Kind::condensed;
  const auto across = static_cast<unsigned>((y.rows + side - 1) / side);
  const unsigned bx = blockIdx.x % across, by = blockIdx.x / across;
  if (condensed && bx < by) return;
  const int tx = static_cast<int>(threadIdx.x) % k_across, ty = static_cast<int>(threadIdx.x) / k_across;
  const std::int64_t first_row = static_cast<std::int64_t>(by) * side;
  const std::int64_t first_col = static_cast<std::int64_t>(bx) * side;
  const auto coordinate = [](const MatView<const T>& m, std::int64_t i, std::int64_t k) {
    return m(i < m.rows ? i : m.rows - 1, k);
  };

  Sums<T, term, own> sums;
  for (std::int64_t k = 0; k < x.cols; k += k_depth) {
    if (k > 0) __syncthreads();
    if (k + tx < x.cols) {
      Packed pack;
#pragma unroll
      for (int r = 0; r < own; ++r) pack.value[r] = coordinate(x, first_row + ty * own + r, k + tx);
      rows[tx * (k_across + 1) + ty] = pack;
#pragma unroll
      for (int c = 0; c < own; ++c) {
        const int j = ty + c * k_across;
        columns[tx * (side + 1) + j] = coordinate(y, first_col + j, k + tx);
      }
    }
    __syncthreads();
    const auto add = [&](int depth) {
      const Packed row = rows[depth * (k_across + 1) + ty];
      sums.add(row, [&](int c) { return T(columns[depth * (side + 1) + tx + c * k_across]); });
    };
    if (x.cols - k >= k_depth) {
#pragma unroll
      for (int depth = 0; depth < k_depth; ++depth) add(depth);
    } else {
      for (int depth = 0; depth < static_cast<int>(x.cols - k); ++depth) add(depth);
    }
  }

#pragma unroll
  for (int r = 0; r < own; ++r)
#pragma unroll
    for (int c = 0; c < own; ++c) {
      const std::int64_t i = first_row + ty * own + r, j = first_col + tx + c * k_across;
      if (i < x.rows && j < y.rows && (!condensed || i < j))
        dist[layout.at(i, j)] = finished(finish, sums.of[r][c]);
    }
}

// The difference of two rows' coordinates, in double.
template <class T>
struct RowDifference {
  const T *x, *y;
  __device__ double operator()(std::int64_t k) const {
    return static_cast<double>(x[k]) - static_cast<double>(y[k]);
  }
};

template <class T>
__global__ void power_distances_kernel(double p, MatView<const T> x, MatView<const T> y, PairLayout layout,
                                       T* dist) {
  const bool condensed = layout.kind == PairLayout::Kind::condensed;
  for (std::int64_t i = blockIdx.y; i < x.rows; i += gridDim.y)
    for (std::int64_t j = (condensed ? i + 1 : 0) + thread_index(); j < y.rows; j += thread_count())
      dist[layout.at(i, j)] = power_distance<T>(p, x.cols, RowDifference<T>{x.row(i), y.row(j)});
}

template <class T>
void fill_distances(const Exec& exec, const DistanceForm& form, MatView<const T> x, MatView<const T> y,
                    const PairLayout& layout, T* dist) {
  constexpr std::int64_t k_many = std::int64_t{1} << 20;  // pairs that fill a GPU with the larger tiles
  if (form.term == Term::powers) {
    const dim3 grid(blocks_for(y.rows, k_threads),
                    static_cast<unsigned>(std::min<std::int64_t>(x.rows, 4096)));
    return launch(exec, power_distances_kernel<T>, grid, k_threads, 0, form.p, x, y, layout, dist);
  }
  with_term(form.term, [&](auto term) {
    if constexpr (term != Term::powers) {
      const auto run = [&](auto kernel, std::int64_t side) {
        const auto tiles = static_cast<unsigned>(ceil_div(y.rows, side) * ceil_div(x.rows, side));
        launch(exec, kernel, tiles, k_threads, 0, form.finish, x, y, layout, dist);
      };
      if (x.rows * y.rows < k_many)
        run(distances_kernel<T, term, 2>, 2 * k_across);
      else
        run(distances_kernel<T, term, 4>, 4 * k_across);
    }
  });
}

// --- pairs ----------------------------------------------------------------------------------------------

// One thread a pair, or a warp.
template <class T, Term term, int lanes>
__global__ void __launch_bounds__(k_pair_threads)
    pair_distances_kernel(DistanceForm form, MatView<const T> a, MatView<const T> b, T* dist) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  for (std::int64_t i = thread_index() / lanes; i < a.rows; i += thread_count() / lanes) {
    T sum = 0;
    if constexpr (term == Term::powers) {
      sum = power_distance<T>(form.p, a.cols, RowDifference<T>{a.row(i), b.row(i)});
    } else {
      for (std::int64_t k = lane; k < a.cols; k += lanes) sum = add_term<term>(sum, a(i, k) - b(i, k));
      if constexpr (lanes > 1)
        sum = warp_reduce(sum, [](T u, T v) { return term == Term::maximum ? max(u, v) : u + v; });
      sum = finished(form.finish, sum);
    }
    if (lane == 0) dist[i] = sum;
  }
}

}  // namespace

template <class T>
PairSide<T>::PairSide(const Exec& exec, const DistanceForm& form, MatView<const T> x)
    : x_(x),
      unit_(form.unit_rows),
      scale_(exec, unit_ ? x.rows : 0),
      values_(exec, unit_ ? checked_mul(x.rows, x.cols + 1) : 0) {
  if (!unit_) return;
  launch(exec, unit_rows_kernel<T>, static_cast<unsigned>(ceil_div(x.rows, k_warp)), k_warp, 0, form, x,
         MatView<T>(values_.data(), x.rows, x.cols + 1), scale_.data());
}
template class PairSide<float>;
template class PairSide<double>;

template <class T>
void cross_distances(const Exec& exec, const DistanceForm& form, MatView<const T> x, MatView<const T> y,
                     MatView<T> dist) {
  const PairSide<T> sx(exec, form, x), sy(exec, form, y);
  fill_distances<T>(exec, form, sx.rows(), sy.rows(), {PairLayout::Kind::rows, dist.ld}, dist.data);
}

template <class T>
void condensed_distances(const Exec& exec, const DistanceForm& form, MatView<const T> x, std::span<T> dist) {
  const PairSide<T> side(exec, form, x);
  fill_distances<T>(exec, form, side.rows(), side.rows(), {PairLayout::Kind::condensed, x.rows}, dist.data());
}

template <class T>
void pair_distances(const Exec& exec, const DistanceForm& form, MatView<const T> a, MatView<const T> b,
                    std::span<T> dist) {
  const PairSide<T> sa(exec, form, a), sb(exec, form, b);
  with_term(form.term, [&](auto term) {
    const auto run = [&](auto kernel, int lanes) {
      launch(exec, kernel, blocks_for(a.rows * lanes, k_pair_threads), k_pair_threads, 0, form, sa.rows(),
             sb.rows(), dist.data());
    };
    if (a.cols < k_warp || term == Term::powers)
      run(pair_distances_kernel<T, term, 1>, 1);
    else if constexpr (term != Term::powers)
      run(pair_distances_kernel<T, term, k_warp>, k_warp);
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                        \
  template void cross_distances(const Exec&, const DistanceForm&, MatView<const T>, MatView<const T>,  \
                                MatView<T>);                                                           \
  template void condensed_distances(const Exec&, const DistanceForm&, MatView<const T>, std::span<T>); \
  template void pair_distances(const Exec&, const DistanceForm&, MatView<const T>, MatView<const T>,   \
                               std::span<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
