#include <flatland/kernels/knn_steps.cuh>
#include <flatland/kernels/quad.cuh>

namespace flatland::kernels::cuda {

namespace {

constexpr int k_rows_a_block = k_knn_threads / k_warp;
constexpr float k_none = std::numeric_limits<float>::infinity();

// Integers in the order of the keys; exact keys are not negative.
__device__ std::int32_t order_of(float key) {
  return to_ordered(key);
}
__device__ std::int64_t order_of(double key) {
  return to_bits(key);
}
__device__ float key_at(std::int32_t order) {
  return from_ordered(order);
}
__device__ double key_at(std::int64_t order) {
  return from_bits<double>(order);
}

// A row's pool in the hands of a warp; what the lanes hold is the same.
template <class Key>
struct Pool {
  Candidate<Key>* items;
  int count;
  Key threshold;

  __device__ Pool(const Pools<Key>& pools, std::int64_t row)
      : items(pools.row(row)), count(pools.count[row]), threshold(pools.threshold[row]) {}
  __device__ void store(const Pools<Key>& pools, std::int64_t row) const {
    if (lane() != 0) return;
    pools.count[row] = count;
    pools.threshold[row] = threshold;
  }
  static __device__ int lane() { return static_cast<int>(threadIdx.x) % k_warp; }
  static __device__ int before(unsigned mask) { return __popc(mask & ((1u << lane()) - 1)); }

  // f(item) for the lane's share.
  template <class F>
  __device__ void each(const F& f) const {
    for (int at = lane(); at < count; at += k_warp) f(items[at]);
  }
  __device__ int count_at_most(Key limit) const {
    int n = 0;
    each([&](const Candidate<Key>& item) { n += item.key <= limit; });
    return warp_sum(n);
  }
  // A limit that at least k and, where keys differ, at most k + spare items are within. Needs k items.
  __device__ Key limit_for(int k, int spare) const {
    Key least = k_infinite, most = -k_infinite;
    each([&](const Candidate<Key>& item) {
      least = min(item.key, least);
      most = max(item.key, most);
    });
    auto low = order_of(warp_reduce(least, [](Key a, Key b) { return min(a, b); }));
    auto high = order_of(warp_reduce(most, [](Key a, Key b) { return max(a, b); }));
    while (low < high) {
      // halves first: the difference may not fit
      const auto middle = (low >> 1) + (high >> 1) + (low & high & 1);
      const int n = count_at_most(key_at(middle));
      if (n < k) {
        low = middle + 1;
      } else {
        high = middle;
        if (n <= k + spare) break;
      }
    }
    return key_at(high);
  }
  // Keeps the items that keep(item, those before it that `counted` counts) says, in their order.
  template <class Counted, class Keep>
  __device__ void keep_if(const Counted& counted, const Keep& keep) {
    int kept = 0, seen = 0;
    for (int first = 0; first < count; first += k_warp) {
      const bool inside = first + lane() < count;
      const Candidate<Key> item = items[inside ? first + lane() : 0];
      const unsigned counts = __ballot_sync(k_all_lanes, inside && counted(item));
      const bool keeps = inside && keep(item, seen + before(counts));
      const unsigned mask = __ballot_sync(k_all_lanes, keeps);
      __syncwarp();
      if (keeps) items[kept + before(mask)] = item;
      kept += __popc(mask);
      seen += __popc(counts);
    }
    count = kept;
    __syncwarp();
  }
  // Appends the lanes that say so, lane by lane. There is room for a warp.
  __device__ void append(bool take, Key key, std::int64_t index) {
    const unsigned mask = __ballot_sync(k_all_lanes, take);
    if (take) items[count + before(mask)] = {key, static_cast<std::int32_t>(index)};
    count += __popc(mask);
    __syncwarp();
  }

  static constexpr Key k_infinite = std::numeric_limits<Key>::infinity();
};

// Lowers the threshold of a row with at least k candidates and drops those past it: at least k remain.
__device__ void tighten(Pool<float>& pool, const Pools<float>& pools, const TileNorms& norms, float own,
                        bool may_give_up) {
  const int k = static_cast<int>(pools.k), capacity = static_cast<int>(pools.capacity);
  const float limit = pool.limit_for(k, (capacity - k) / 16);
  float largest = 0;
  pool.each([&](const Candidate<float>& item) {
    if (item.key <= limit) largest = max(norms.other[item.index], largest);
  });
  largest = warp_reduce(largest, [](float a, float b) { return max(a, b); });
  const float upper = upper_bound(limit, norms.slack, norms.slack_absolute, own, largest);
  pool.keep_if([](const Candidate<float>&) { return false; },
               [=](const Candidate<float>& item, int) { return item.key <= upper; });
  pool.threshold = min(upper, pool.threshold);
  if (!may_give_up || pool.count <= capacity - 2 * k_warp) return;
  pool.count = 0;
  pool.threshold = -k_none;
}

// The k best by key, ties by index, which is the order of the pool.
__device__ void shrink(Pool<double>& pool, const Pools<double>& pools) {
  const int k = static_cast<int>(pools.k);
  const double limit = pool.limit_for(k, 0);
  double kth = 0;  // limit may lie above it
  pool.each([&](const Candidate<double>& item) {
    if (item.key <= limit) kth = max(item.key, kth);
  });
  kth = warp_reduce(kth, [](double a, double b) { return max(a, b); });
  int nearer = 0;
  pool.each([&](const Candidate<double>& item) { nearer += item.key < kth; });
  const int ties = k - warp_sum(nearer);
  pool.keep_if([=](const Candidate<double>& item) { return item.key == kth; },
               [=](const Candidate<double>& item, int equal) {
                 return item.key < kth || (item.key == kth && equal < ties);
               });
  pool.threshold = kth;
}

// A warp a row, four neighbouring products a lane.
__global__ void __launch_bounds__(k_knn_threads)
    scan_kernel(Pools<float> pools, TileNorms norms, RowList list, bool self, std::int64_t first,
                MatView<const float> products) {
  const std::int64_t r = thread_index() / k_warp;
  if (r >= products.rows) return;
  Pool<float> pool(pools, r);
  if (pool.threshold == -k_none) return;
  const float own = norms.own[r];
  const std::int64_t skip = self ? list[r] - first : -1;
  const float* row = products.row(r);
  for (std::int64_t j0 = 0; j0 < products.cols; j0 += 4 * k_warp) {
    const std::int64_t j = j0 + 4 * Pool<float>::lane(), left = products.cols - j;
    const Quad<float> product = load_quad(row + j, left, true);
    const Quad<float> norm = load_quad(norms.other + first + j, left, true);
    float lower[4];
    bool any = false;
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      lower[s] = fma(-2.f, product.v[s], own + norm.v[s]);
      if (s >= left || j + s == skip) lower[s] = std::numeric_limits<float>::quiet_NaN();
      any = any || lower[s] <= pool.threshold;
    }
    if (!__any_sync(k_all_lanes, any)) continue;
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      if (!__any_sync(k_all_lanes, lower[s] <= pool.threshold)) continue;
      if (pool.count + k_warp > pools.capacity) tighten(pool, pools, norms, own, true);
      pool.append(lower[s] <= pool.threshold, lower[s], first + j + s);
    }
  }
  pool.store(pools, r);
}

__global__ void __launch_bounds__(k_knn_threads)
    finish_scan_kernel(Pools<float> pools, TileNorms norms, std::int64_t rows, std::int32_t* gave_up) {
  const std::int64_t r = thread_index() / k_warp;
  if (r >= rows) return;
  Pool<float> pool(pools, r);
  if (pool.count > pools.k) tighten(pool, pools, norms, norms.own[r], false);
  pool.store(pools, r);
  if (Pool<float>::lane() == 0) gave_up[r] = pool.threshold == -k_none;
}

// A warp a row. Keys of later rows must be smaller to get in: ties go to the lower index.
__global__ void __launch_bounds__(k_knn_threads) take_kernel(Pools<double> pools, RowList list, bool self,
                                                             std::int64_t first, MatView<const double> keys) {
  constexpr int at_once = 4;
  const std::int64_t r = thread_index() / k_warp;
  if (r >= keys.rows) return;
  Pool<double> pool(pools, r);
  const std::int64_t skip = self ? list[r] - first : -1;
  const double* row = keys.row(r);
  // Until k are there even an infinite key may enter.
  const auto enters = [&](double key, std::int64_t j) {
    return j < keys.cols && j != skip && (pool.threshold < 0 || key < pool.threshold);
  };
  for (std::int64_t j0 = 0; j0 < keys.cols; j0 += at_once * k_warp) {
    double key[at_once];
    bool any = false;
#pragma unroll
    for (int s = 0; s < at_once; ++s) {
      const std::int64_t j = j0 + s * k_warp + Pool<double>::lane();
      key[s] = j < keys.cols ? row[j] : 0;
      any = any || enters(key[s], j);
    }
    if (!__any_sync(k_all_lanes, any)) continue;
#pragma unroll
    for (int s = 0; s < at_once; ++s) {
      const std::int64_t j = j0 + s * k_warp + Pool<double>::lane();
      if (pool.count + k_warp > pools.capacity) shrink(pool, pools);
      pool.append(enters(key[s], j), key[s], first + j);
    }
  }
  pool.store(pools, r);
}

template <class Key>
__global__ void clear_kernel(Pools<Key> pools, std::int64_t rows, Key threshold) {
  const std::int64_t r = thread_index();
  if (r >= rows) return;
  pools.count[r] = 0;
  pools.threshold[r] = threshold;
}

// A block a row. An item's place is the number of items before it.
constexpr int k_sort_threads = 128;
template <class T>
__global__ void __launch_bounds__(k_sort_threads)
    write_kernel(RowList list, const Candidate<double>* items, std::int64_t capacity,
                 const std::int32_t* count, Finish finish, std::int64_t k, MatView<std::int32_t> index,
                 MatView<T> dist) {
  FLATLAND_SHARED(Candidate<double>, tile, k_sort_threads);
  const std::int64_t r = blockIdx.x, i = list[r];
  const Candidate<double>* row = items + r * capacity;
  const int n = count[r], thread = static_cast<int>(threadIdx.x);
  for (int first = 0; first < n; first += k_sort_threads) {
    const bool inside = first + thread < n;
    const Candidate<double> mine = row[inside ? first + thread : 0];
    int place = 0;
    for (int other = 0; other < n; other += k_sort_threads) {
      const int size = n - other < k_sort_threads ? n - other : k_sort_threads;
      if (thread < size) tile[thread] = row[other + thread];
      __syncthreads();
      for (int at = 0; at < size; ++at) {
        const Candidate<double> item = tile[at];
        place += item.key < mine.key || (item.key == mine.key && item.index < mine.index);
      }
      __syncthreads();
    }
    if (!inside || place >= k) continue;
    index(i, place) = mine.index;
    dist(i, place) = static_cast<T>(distance_of_key(finish, mine.key));
  }
}

unsigned blocks_of_warps(std::int64_t rows) {
  return static_cast<unsigned>(ceil_div(rows, k_rows_a_block));
}

}  // namespace

void clear(const Exec& exec, const Pools<float>& pools, std::int64_t rows) {
  launch(exec, clear_kernel<float>, static_cast<unsigned>(ceil_div(rows, k_knn_threads)), k_knn_threads, 0,
         pools, rows, k_none);
}
void clear(const Exec& exec, const Pools<double>& pools, std::int64_t rows) {
  launch(exec, clear_kernel<double>, static_cast<unsigned>(ceil_div(rows, k_knn_threads)), k_knn_threads, 0,
         pools, rows, -1.);
}

void scan(const Exec& exec, const Pools<float>& pools, const TileNorms& norms, const RowList& list, bool self,
          std::int64_t first, MatView<const float> products) {
  launch(exec, scan_kernel, blocks_of_warps(list.count), k_knn_threads, 0, pools, norms, list, self, first,
         products);
}

void finish_scan(const Exec& exec, const Pools<float>& pools, const TileNorms& norms, std::int64_t rows,
                 std::int32_t* gave_up) {
  launch(exec, finish_scan_kernel, blocks_of_warps(rows), k_knn_threads, 0, pools, norms, rows, gave_up);
}

void take(const Exec& exec, const Pools<double>& pools, const RowList& list, bool self, std::int64_t first,
          MatView<const double> keys) {
  launch(exec, take_kernel, blocks_of_warps(list.count), k_knn_threads, 0, pools, list, self, first, keys);
}

template <class T>
void write_neighbors(const Exec& exec, const KnnSearch<T>& search, const RowList& list,
                     const Candidate<double>* items, std::int64_t capacity, const std::int32_t* count) {
  launch(exec, write_kernel<T>, static_cast<unsigned>(list.count), k_sort_threads, 0, list, items, capacity,
         count, search.form.finish, search.k, search.index, search.dist);
}

#define FLATLAND_INSTANTIATE(T)                                                      \
  template void write_neighbors<T>(const Exec&, const KnnSearch<T>&, const RowList&, \
                                   const Candidate<double>*, std::int64_t, const std::int32_t*)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
