#include <flatland/kernels/pairwise_cuda.h>
#include <flatland/kernels/pairwise_formulas.h>
#include <flatland/kernels/pairwise_steps.cuh>

#include <limits>

namespace flatland::kernels::cuda {

namespace {

constexpr int k_columns = 16;  // of the gradient that a block writes

template <class T>
struct PairValues {
  PairLayout layout;
  const T* value;

  // 0 where a condensed form has none.
  __device__ T operator()(std::int64_t i, std::int64_t j) const {
    return layout.kind == PairLayout::Kind::condensed && i == j ? T(0) : value[layout.at(i, j)];
  }
};

// What pairs of a block's rows with `others` rows of y weigh, in shared memory: row r, other j at r stride +
// j.
template <class T>
struct Others {
  static constexpr int count = 1024 / static_cast<int>(sizeof(T));
  static constexpr int stride = count + 4;  // eight rows apart, four others apart: all in banks of their own
};

// Calls take(r, j) for the pairs of the block's rows first + r with others begin + j, so that neighbouring
// threads read neighbouring values.
template <class Take>
__device__ void for_pairs(const PairLayout& layout, std::int64_t first, std::int64_t begin, int count,
                          const Take& take) {
  int along_rows = 0;  // others whose pairs with neighbouring rows are neighbours
  if (layout.kind == PairLayout::Kind::columns) along_rows = count;
  if (layout.kind == PairLayout::Kind::condensed && first > begin)
    along_rows = first - begin < count ? static_cast<int>(first - begin) : count;
  const int t = static_cast<int>(threadIdx.x);
  for (int p = t; p < along_rows * k_warps; p += k_threads) take(p % k_warps, p / k_warps);
  for (int j = along_rows + t % k_warp; j < count; j += k_warp) take(t / k_warp, j);
}

// dx[i,:] = sum_j weight_ij slope(x[i,:] - y[j,:]): block (bx, by) for rows bx * k_warps, ... and columns
// by * k_columns, .... A lane adds every 32nd j.
template <class T, Term term, bool unit>
__global__ void __launch_bounds__(k_threads, 2)
    gradient_kernel(DistanceForm form, MatView<const T> x, MatView<const T> y, const T* scale,
                    PairValues<T> dist, PairValues<T> g, MatView<T> dx) {
  constexpr int stride = Others<T>::stride, pairs = k_warps * stride;
  constexpr bool keeps_dist = unit || term == Term::powers;
  FLATLAND_SHARED(T, weight, pairs);
  FLATLAND_SHARED(T, far, keeps_dist ? pairs : 1);
  FLATLAND_SHARED(int, largest, term == Term::maximum ? pairs : 1);
  FLATLAND_SHARED(T, coordinate, k_columns * (Others<T>::count + 1));
  const int t = static_cast<int>(threadIdx.x), lane = t % k_warp, warp = t / k_warp;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * k_warps, row = first + warp;
  const std::int64_t first_col = static_cast<std::int64_t>(blockIdx.y) * k_columns;
  const int cols = static_cast<int>(x.cols - first_col < k_columns ? x.cols - first_col : k_columns);
  T own[k_columns], sum[k_columns] = {}, weighted_dist = 0;
#pragma unroll
  for (int c = 0; c < k_columns; ++c) own[c] = c < cols && row < x.rows ? x(row, first_col + c) : T(0);

  for (std::int64_t begin = 0; begin < y.rows; begin += Others<T>::count) {
    const int count = static_cast<int>(y.rows - begin < Others<T>::count ? y.rows - begin : Others<T>::count);
    __syncthreads();
    for (int at = t; at < count * cols; at += k_threads)
      coordinate[at % cols * (Others<T>::count + 1) + at / cols] =
          y(begin + at / cols, first_col + at % cols);
    for_pairs(g.layout, first, begin, count, [&](int r, int j) {
      const std::int64_t i = first + r, other = begin + j;
      if (i >= x.rows) return;
      const T d = dist(i, other);
      weight[r * stride + j] = distance_weight(form, g(i, other), d);
      if constexpr (keeps_dist) far[r * stride + j] = d;
      if constexpr (term == Term::maximum) {
        FirstLargest<T> most;
        for (std::int64_t k = 0; k < x.cols; ++k) most.meet(k, x(i, k) - y(other, k));
        largest[r * stride + j] = static_cast<int>(most.at);
      }
    });
    __syncthreads();
    if (row >= x.rows) continue;
    for (int j = lane; j < count; j += k_warp) {
      const T w = weight[warp * stride + j];
      T d = 0;
      if constexpr (keeps_dist) d = far[warp * stride + j];
      if constexpr (unit) weighted_dist = fma(w, d, weighted_dist);
      int at = 0;
      if constexpr (term == Term::maximum) at = largest[warp * stride + j];
#pragma unroll
      for (int c = 0; c < k_columns; ++c) {
        if (c >= cols) break;
        const T diff = own[c] - T(coordinate[c * (Others<T>::count + 1) + j]);
        T share = w;
        if constexpr (term == Term::maximum) share = at == first_col + c ? w : T(0);
        if constexpr (term == Term::powers) share = power_weight(form.p, w, static_cast<double>(diff), d);
        sum[c] = add_slope<term>(sum[c], share, diff);
      }
    }
  }
  if (row >= x.rows) return;
  if constexpr (unit) weighted_dist = warp_sum(weighted_dist);
#pragma unroll
  for (int c = 0; c < k_columns; ++c) {
    if (c >= cols) break;
    const T all = warp_sum(sum[c]);
    if (lane != 0) continue;
    dx(row, first_col + c) = unit ? unit_row_gradient(all, weighted_dist, own[c], scale[row]) : all;
  }
}

template <class T>
void fill_gradient(const Exec& exec, const DistanceForm& form, const PairSide<T>& x, const PairSide<T>& y,
                   const PairValues<T>& dist, const PairValues<T>& g, MatView<T> dx) {
  const dim3 grid(static_cast<unsigned>(ceil_div(dx.rows, k_warps)),
                  static_cast<unsigned>(ceil_div(dx.cols, k_columns)));
  const auto run = [&](auto kernel) {
    launch(exec, kernel, grid, k_threads, 0, form, x.coordinates(), y.coordinates(), x.scale(), dist, g, dx);
  };
  if (form.unit_rows) return run(gradient_kernel<T, Term::squares, true>);
  with_term(form.term, [&](auto term) { run(gradient_kernel<T, term, false>); });
}

// --- pairs ----------------------------------------------------------------------------------------------

// The first largest coordinate that any of a pair's lanes has met, in each of them.
template <int lanes, class T>
__device__ std::int64_t first_of(const FirstLargest<T>& own) {
  if constexpr (lanes == 1) return own.at;
  const T value = warp_reduce(own.value, [](T u, T v) { return max(u, v); });
  return warp_reduce(own.value == value ? own.at : std::numeric_limits<std::int64_t>::max(),
                     [](std::int64_t u, std::int64_t v) { return u < v ? u : v; });
}

// One thread a pair, or a warp. da or db may lack data.
template <class T, Term term, int lanes>
__global__ void __launch_bounds__(k_pair_threads)
    pair_gradient_kernel(DistanceForm form, MatView<const T> a, MatView<const T> b, const T* scale_a,
                         const T* scale_b, const T* dist, const T* g, MatView<T> da, MatView<T> db) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  for (std::int64_t i = thread_index() / lanes; i < a.rows; i += thread_count() / lanes) {
    const T d = dist[i], upstream = g[i], weight = distance_weight(form, upstream, d);
    std::int64_t largest = 0;
    if constexpr (term == Term::maximum) {
      FirstLargest<T> own;
      for (std::int64_t k = lane; k < a.cols; k += lanes) own.meet(k, a(i, k) - b(i, k));
      largest = first_of<lanes>(own);
    }
    for (std::int64_t k = lane; k < a.cols; k += lanes) {
      const T u = a(i, k), v = b(i, k);
      T share = weight;
      if constexpr (term == Term::maximum) share = k == largest ? weight : T(0);
      if constexpr (term == Term::powers)
        share = power_weight(form.p, weight, static_cast<double>(u) - static_cast<double>(v), d);
      const T slope = add_slope<term>(T(0), share, u - v);
      if (da.data) da(i, k) = form.unit_rows ? unit_row_gradient(slope, upstream * d, u, scale_a[i]) : slope;
      if (db.data)
        db(i, k) = form.unit_rows ? unit_row_gradient(-slope, upstream * d, v, scale_b[i]) : -slope;
    }
  }
}

}  // namespace

template <class T>
void cross_distances_backward(const Exec& exec, const DistanceForm& form, MatView<const T> x,
                              MatView<const T> y, MatView<const T> dist, MatView<const T> g, MatView<T> dx,
                              MatView<T> dy) {
  const PairSide<T> sx(exec, form, x), sy(exec, form, y);
  using Kind = PairLayout::Kind;
  const auto fill = [&](const PairSide<T>& own, const PairSide<T>& other, Kind kind, MatView<T> out) {
    if (out.data == nullptr) return;
    fill_gradient<T>(exec, form, own, other, {{kind, dist.ld}, dist.data}, {{kind, g.ld}, g.data}, out);
  };
  fill(sx, sy, Kind::rows, dx);
  fill(sy, sx, Kind::columns, dy);
}

template <class T>
void condensed_distances_backward(const Exec& exec, const DistanceForm& form, MatView<const T> x,
                                  std::span<const T> dist, std::span<const T> g, MatView<T> dx) {
  const PairSide<T> side(exec, form, x);
  const PairLayout layout{PairLayout::Kind::condensed, x.rows};
  fill_gradient<T>(exec, form, side, side, {layout, dist.data()}, {layout, g.data()}, dx);
}

template <class T>
void pair_distances_backward(const Exec& exec, const DistanceForm& form, MatView<const T> a,
                             MatView<const T> b, std::span<const T> dist, std::span<const T> g, MatView<T> da,
                             MatView<T> db) {
  const PairSide<T> sa(exec, form, a), sb(exec, form, b);
  with_term(form.term, [&](auto term) {
    const auto run = [&](auto kernel, int lanes) {
      launch(exec, kernel, blocks_for(a.rows * lanes, k_pair_threads), k_pair_threads, 0, form,
             sa.coordinates(), sb.coordinates(), sa.scale(), sb.scale(), dist.data(), g.data(), da, db);
    };
    if (a.cols < k_warp)
      run(pair_gradient_kernel<T, term, 1>, 1);
    else
      run(pair_gradient_kernel<T, term, k_warp>, k_warp);
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                            \
  template void cross_distances_backward(const Exec&, const DistanceForm&, MatView<const T>,               \
                                         MatView<const T>, MatView<const T>, MatView<const T>, MatView<T>, \
                                         MatView<T>);                                                      \
  template void condensed_distances_backward(const Exec&, const DistanceForm&, MatView<const T>,           \
                                             std::span<const T>, std::span<const T>, MatView<T>);          \
  template void pair_distances_backward(const Exec&, const DistanceForm&, MatView<const T>,                \
                                        MatView<const T>, std::span<const T>, std::span<const T>,          \
                                        MatView<T>, MatView<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
