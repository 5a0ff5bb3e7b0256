// A row belongs to 8 or 32 lanes: 8 where its values fit their registers, so that the scalar work of a Newton
// step serves four rows at once.
#include <flatland/kernels/memory.h>
#include <flatland/kernels/neighbor_weights_cuda.h>
#include <flatland/kernels/cuda.cuh>

#include <limits>

namespace flatland::kernels::cuda {

namespace {

constexpr int k_part = 8;  // so many float terms of a lane before they go to double

struct FirstFailure {
  unsigned long long missed = 0;
  long long bad_row = std::numeric_limits<long long>::max();
};

// add(x, y) over the lanes of a group, in each of them. All lanes of the warp call it.
template <int lanes, class T, class Add>
__device__ T group_reduce(T x, Add add) {
#pragma unroll
  for (int offset = lanes / 2; offset > 0; offset /= 2) x = add(x, __shfl_xor_sync(k_all_lanes, x, offset));
  return x;
}
template <int lanes, class T>
__device__ T group_sum(T x) {
  return group_reduce<lanes>(x, [](T a, T b) { return a + b; });
}

// One lane's share of a row: values lane, lane + lanes, ...; in registers, or with per_lane = 0 read anew
// from the distances each time. A group without a row has k = 0.
template <WeightKind kind, int lanes, int per_lane, class T>
struct Share {
  const T* dist;
  int k;
  int lane;
  T nearest = 0, scale = 0;
  T x[per_lane > 0 ? per_lane : 1] = {};

  __device__ int size() const { return per_lane > 0 ? per_lane : (k + lanes - 1) / lanes; }
  __device__ bool in_row(int u) const { return lane + u * lanes < k; }
  __device__ T distance(int u) const { return dist[lane + u * lanes]; }
  __device__ T value(int u) const {
    if constexpr (per_lane > 0) return x[u];
    return in_row(u) ? scaled_distance<kind>(distance(u), nearest, scale) : T(k_pad_distance);
  }

  // False when the row holds something that is not a distance.
  __device__ bool read(RowFacts& facts) {
    T low = k_largest_distance<T>, high = 0;
    int bad = 0;
#pragma unroll
    for (int u = 0; u < size(); ++u) {
      if (!in_row(u)) break;
      const T d = distance(u);
      if constexpr (per_lane > 0) x[u] = d;
      low = min(d, low);
      high = max(d, high);
      if (!is_distance(d)) bad = 1;
    }
    nearest = group_reduce<lanes>(low, [](T a, T b) { return min(a, b); });
    const T farthest = group_reduce<lanes>(high, [](T a, T b) { return max(a, b); });
    scale = distance_scale(nearest, farthest);
    double sum = 0;
    int ties = 0;
    T next = 2;
#pragma unroll
    for (int u = 0; u < size(); ++u) {
      if constexpr (per_lane > 0)
        x[u] = in_row(u) ? scaled_distance<kind>(x[u], nearest, scale) : T(k_pad_distance);
      if (!in_row(u)) continue;
      const T v = value(u);
      sum += static_cast<double>(v);
      if (v == T(0))
        ++ties;
      else
        next = min(v, next);
    }
    facts.count = k;
    facts.farthest = static_cast<double>(farthest);
    facts.mean = group_sum<lanes>(sum) / k;
    facts.ties = group_sum<lanes>(ties);
    facts.next = static_cast<double>(group_reduce<lanes>(next, [](T a, T b) { return min(a, b); }));
    return group_sum<lanes>(bad) == 0;
  }

  // sum[0] = sum e^(-b x), then that of x e^(-b x) and x^2 e^(-b x), over the row.
  template <int n>
  __device__ void sums(double b, double (&sum)[n]) const {
    const T minus_b = static_cast<T>(-b);
    for (double& s : sum) s = 0;
#pragma unroll
    for (int first = 0; first < size(); first += k_part) {
      if (first * lanes >= k) break;
      T part[n] = {};
#pragma unroll
      for (int u = first; u < first + k_part; ++u) {
        if (u >= size() || u * lanes >= k) break;
        const T v = value(u);
        const T e = exp(minus_b * v);
        part[0] += e;
        if constexpr (n > 1) part[1] = fma(v, e, part[1]);
        if constexpr (n > 2) part[2] = fma(v, v * e, part[2]);
      }
      for (int s = 0; s < n; ++s) sum[s] += static_cast<double>(part[s]);
    }
    for (double& s : sum) s = group_sum<lanes>(s);
  }

  // weight = e^(-b x), divided by its sum for the perplexity.
  __device__ void write(double b, T* weight) const {
    T factor = 1;
    if constexpr (kind == WeightKind::perplexity) {
      double total[1];
      sums(b, total);
      // b = 0 gives weight to what pads a row, too
      factor = static_cast<T>(1 / (b == 0 ? static_cast<double>(k) : total[0]));
    }
#pragma unroll
    for (int u = 0; u < size(); ++u)
      if (in_row(u)) weight[lane + u * lanes] = exp(value(u) * static_cast<T>(-b)) * factor;
  }
};

template <WeightKind kind, int lanes, int per_lane, class T>
__global__ void __launch_bounds__(k_small_threads)
    search_kernel(MatView<const T> dist, double reach, int max_steps, double enough, MatView<T> weight,
                  T* width, FirstFailure* found) {
  constexpr int k_sums = kind == WeightKind::perplexity ? 3 : 2;
  const std::int64_t row = thread_index() / lanes;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const bool active = row < dist.rows;
  Share<kind, lanes, per_lane, T> share{dist.row(row), active ? static_cast<int>(dist.cols) : 0, lane};
  RowFacts facts;
  const bool good = share.read(facts);
  LogRoot<double> root;
  root.b = 1;
  bool closed = false, reached = false;
  if (active && good) {
    closed = closed_form(facts, reach, &root.b, &reached);
    if (!closed) root.b = first_b<kind>(facts, reach);
    root.open = !closed;
  }
  root.start();
  for (int step = 0; step < max_steps && __any_sync(k_all_lanes, root.open); ++step) {
    double sum[k_sums];
    share.sums(root.b, sum);
    const bool done = newton_step<kind>(root, sum[0], sum[1], sum[k_sums - 1], reach, enough);
    root.open = root.open && !done;
  }
  share.write(root.b, weight.row(row));
  if (lane != 0 || !active) return;
  if (width != nullptr) width[row] = width_of<kind, T>(root.b, facts.farthest);
  if (good && (root.open || (closed && !reached))) atomicAdd(&found->missed, 1ull);
  if (!good) atomicMin(&found->bad_row, static_cast<long long>(row));
}

}  // namespace

template <class T>
SearchResult search_rows(const Exec& exec, WeightKind kind, MatView<const T> dist, double reach,
                         const RowSearch& search, MatView<T> weight, T* width) {
  FLATLAND_CHECK(dist.cols <= std::numeric_limits<int>::max() / 2, "search of weights: ", dist.cols,
                 " neighbours; on CUDA they reach 2^30");
  FirstFailure found;
  const ScratchArray<FirstFailure> on_device(exec, 1);
  copy_to_device(exec, on_device.data(), &found, sizeof(FirstFailure));
  const auto run = [&](auto kernel, std::int64_t lanes) {
    launch(exec, kernel, static_cast<unsigned>(ceil_div(dist.rows, k_small_threads / lanes)), k_small_threads,
           0, dist, reach, search.max_steps, last_step<T>(search.tolerance), weight, width, on_device.data());
  };
  const auto run_kind = [&]<WeightKind k>(std::integral_constant<WeightKind, k>) {
    if (dist.cols <= 32) return run(search_kernel<k, 8, 4, T>, 8);
    if (dist.cols <= 128) return run(search_kernel<k, 8, 16, T>, 8);
    if (dist.cols <= 512) return run(search_kernel<k, 32, 16, T>, 32);
    run(search_kernel<k, 32, 0, T>, 32);
  };
  if (kind == WeightKind::perplexity)
    run_kind(std::integral_constant<WeightKind, WeightKind::perplexity>{});
  else
    run_kind(std::integral_constant<WeightKind, WeightKind::connectivity>{});
  copy_to_host(exec, &found, on_device.data(), sizeof(FirstFailure));
  const bool all_good = found.bad_row == std::numeric_limits<long long>::max();
  return {.missed = static_cast<std::int64_t>(found.missed), .bad_row = all_good ? -1 : found.bad_row};
}

#define FLATLAND_INSTANTIATE(T)                                                                          \
  template SearchResult search_rows(const Exec&, WeightKind, MatView<const T>, double, const RowSearch&, \
                                    MatView<T>, T*)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
