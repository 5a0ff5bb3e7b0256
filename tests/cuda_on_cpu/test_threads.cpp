// Barriers, shuffles, votes, atomics.
#include "launch.h"
#include "sum.h"

#include <doctest/doctest.h>
#include <tests/support/errors.h>

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace flatland::test {

namespace {

__device__ int global_thread() {
  return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
}

// A sum a block: shared memory, barriers, then a warp's shuffles.
template <class T>
__global__ void sum_kernel(const T* __restrict__ x, int n, T* sums) {
  FLATLAND_DYNAMIC_SHARED(T, part);
  T sum = 0;
  for (int i = global_thread(); i < n; i += static_cast<int>(gridDim.x * blockDim.x)) sum += x[i];
  part[threadIdx.x] = sum;
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half >= warpSize; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x >= warpSize) return;
  T value = part[threadIdx.x];
  for (int lanes = warpSize / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  if (threadIdx.x == 0) sums[blockIdx.x] = value;
}

// Tiles of two matrices in static shared memory; nested loops with barriers.
template <int Tile>
__global__ void multiply_kernel(const double* a, const double* b, double* c, int m, int n, int k) {
  FLATLAND_SHARED(double, tile_a, Tile* Tile);
  FLATLAND_SHARED(double, tile_b, Tile* Tile);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int i = static_cast<int>(blockIdx.y) * Tile + y, j = static_cast<int>(blockIdx.x) * Tile + x;
  double sum = 0;
  for (int first = 0; first < k; first += Tile) {
    tile_a[y * Tile + x] = i < m && first + x < k ? a[i * k + first + x] : 0;
    tile_b[y * Tile + x] = first + y < k && j < n ? b[(first + y) * n + j] : 0;
    __syncthreads();
    for (int p = 0; p < Tile; ++p) sum += tile_a[y * Tile + p] * tile_b[p * Tile + x];
    __syncthreads();
  }
  if (i < m && j < n) c[i * n + j] = sum;
}

struct Votes {
  unsigned ballot;
  int any, all, block_any, block_all, block_count;
};
__global__ void vote_kernel(const int* x, Votes* out) {
  const int t = static_cast<int>(threadIdx.x);
  out[t].ballot = __ballot_sync(0xffffffffu, x[t]);
  out[t].any = __any_sync(0xffffffffu, x[t]);
  out[t].all = __all_sync(0xffffffffu, x[t]);
  out[t].block_any = __syncthreads_or(x[t]);
  out[t].block_all = __syncthreads_and(x[t]);
  out[t].block_count = __syncthreads_count(x[t]);
}

struct Shuffles {
  int index, up, down, exclusive;
};
__global__ void shuffle_kernel(Shuffles* out, int by, int width) {
  const int t = static_cast<int>(threadIdx.x);
  out[t].index = __shfl_sync(0xffffffffu, t, by, width);
  out[t].up = __shfl_up_sync(0xffffffffu, t, static_cast<unsigned>(by), width);
  out[t].down = __shfl_down_sync(0xffffffffu, t, static_cast<unsigned>(by), width);
  out[t].exclusive = __shfl_xor_sync(0xffffffffu, t, by, width);
}

// Halves of a warp go separate ways, each with its own mask.
__global__ void halves_kernel(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  int value = t;
  if (t < 16) {
    for (int lanes = 8; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0x0000ffffu, value, lanes);
  } else {
    for (int lanes = 8; lanes > 0; lanes /= 2) value = max(value, __shfl_xor_sync(0xffff0000u, value, lanes));
  }
  out[t] = value;
}

// Threads leave one after another; those that stay still meet at the barrier.
__global__ void leaving_kernel(int* out) {
  FLATLAND_SHARED(int, count, 1);
  if (threadIdx.x == 0) count[0] = 0;
  __syncthreads();
  for (unsigned round = 0; round < blockDim.x; ++round) {
    if (threadIdx.x < round) return;
    atomicAdd(&count[0], 1);
    __syncthreads();
  }
  out[threadIdx.x] = count[0];
}

template <class T>
__global__ void atomic_kernel(T* sum, T* low, T* high, T* bits, T* order, int n) {
  FLATLAND_SHARED(T, shared_sum, 1);
  if (threadIdx.x == 0) shared_sum[0] = 0;
  __syncthreads();
  const int i = global_thread();
  if (i < n) {
    atomicAdd(&shared_sum[0], static_cast<T>(i));
    atomicMin(low, static_cast<T>(i));
    atomicMax(high, static_cast<T>(i));
    atomicOr(bits, static_cast<T>(1) << (i % 31));
    order[atomicAdd(&sum[1], static_cast<T>(1))] = static_cast<T>(i);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    T old = sum[0], assumed;
    do {
      assumed = old;
      old = atomicCAS(sum, assumed, static_cast<T>(assumed + shared_sum[0]));
    } while (old != assumed);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("a reduction through shared memory, barriers and shuffles", T, float, double, int) {
  for (const int n : {1, 2, 31, 32, 33, 100, 255, 256, 257, 1000, 1023, 1024, 1025, 4097}) {
    for (const unsigned block : {32u, 64u, 256u, 1024u}) {
      for (const unsigned grid : {1u, 3u}) {
        CAPTURE(n);
        CAPTURE(block);
        CAPTURE(grid);
        std::vector<T> values(static_cast<std::size_t>(n));
        std::iota(values.begin(), values.end(), T{1});
        const DeviceVector<T> x(values), sums(grid);
        const auto check = [&] {
          const std::vector<T> host = sums.host();
          CHECK(std::accumulate(host.begin(), host.end(), T{0}) == static_cast<T>(n * (n + 1) / 2));
        };
        launch(sum_kernel<T>, grid, block, block * sizeof(T), x.data(), n, sums.data());
        check();
        sums.set(std::vector<T>(grid, T{-1}));
        CHECK(sum_by_blocks(x.data(), n, sums.data(), grid, block) == 0);
        check();
      }
    }
  }
}

TEST_CASE("a tiled product: two dimensions, nested loops with barriers") {
  for (const int m : {1, 7, 8, 9, 30}) {
    for (const int n : {1, 8, 17}) {
      for (const int k : {1, 5, 8, 33}) {
        CAPTURE(m);
        CAPTURE(n);
        CAPTURE(k);
        std::vector<double> a(static_cast<std::size_t>(m * k)), b(static_cast<std::size_t>(k * n));
        std::iota(a.begin(), a.end(), 1);
        std::iota(b.begin(), b.end(), -3);
        const DeviceVector<double> device_a(a), device_b(b), device_c(static_cast<std::size_t>(m * n));
        launch(multiply_kernel<8>,
               dim3((static_cast<unsigned>(n) + 7) / 8, (static_cast<unsigned>(m) + 7) / 8), dim3(8, 8), 0,
               device_a.data(), device_b.data(), device_c.data(), m, n, k);
        const std::vector<double> c = device_c.host();
        for (int i = 0; i < m; ++i)
          for (int j = 0; j < n; ++j) {
            double sum = 0;
            for (int p = 0; p < k; ++p)
              sum += a[static_cast<std::size_t>(i * k + p)] * b[static_cast<std::size_t>(p * n + j)];
            REQUIRE(c[static_cast<std::size_t>(i * n + j)] == sum);
          }
      }
    }
  }
}

TEST_CASE("votes of a warp and of a block") {
  for (const int threads : {1, 5, 31, 32, 33, 64, 100}) {
    for (const int modulus : {1, 2, 3, 1000}) {
      CAPTURE(threads);
      CAPTURE(modulus);
      std::vector<int> x(static_cast<std::size_t>(threads));
      for (int t = 0; t < threads; ++t) x[static_cast<std::size_t>(t)] = t % modulus == 0 ? 7 : 0;
      const DeviceVector<int> in(x);
      const DeviceVector<Votes> out(x.size());
      launch(vote_kernel, 1, static_cast<unsigned>(threads), 0, in.data(), out.data());
      const std::vector<Votes> votes = out.host();
      const int count = static_cast<int>(std::count(x.begin(), x.end(), 7));
      for (int t = 0; t < threads; ++t) {
        unsigned ballot = 0;
        const int first = t / 32 * 32, last = std::min(first + 32, threads);
        for (int i = first; i < last; ++i) ballot |= (i % modulus == 0 ? 1u : 0u) << (i - first);
        const Votes& vote = votes[static_cast<std::size_t>(t)];
        CHECK(vote.ballot == ballot);
        CHECK(vote.any == (ballot != 0));
        CHECK(vote.all == (__builtin_popcount(ballot) == last - first));
        CHECK(vote.block_any == (count > 0));
        CHECK(vote.block_all == (count == threads));
        CHECK(vote.block_count == count);
      }
    }
  }
}

TEST_CASE("shuffles within groups of a warp") {
  for (const int width : {1, 2, 4, 8, 16, 32}) {
    for (int by = 0; by < width; ++by) {
      CAPTURE(width);
      CAPTURE(by);
      const DeviceVector<Shuffles> out(64);
      launch(shuffle_kernel, 1, 64, 0, out.data(), by, width);
      const std::vector<Shuffles> all = out.host();
      for (int t = 0; t < 64; ++t) {
        const int first = t / width * width;
        const Shuffles& got = all[static_cast<std::size_t>(t)];
        CHECK(got.index == first + by);
        CHECK(got.up == (t - by < first ? t : t - by));
        CHECK(got.down == (t + by >= first + width ? t : t + by));
        CHECK(got.exclusive == (t ^ by));
      }
    }
  }
}

TEST_CASE("halves of a warp with masks of their own") {
  const DeviceVector<int> out(32);
  launch(halves_kernel, 1, 32, 0, out.data());
  const std::vector<int> values = out.host();
  for (std::size_t t = 0; t < 32; ++t) CHECK(values[t] == (t < 16 ? 120 : 31));
}

TEST_CASE("threads that have exited count as arrived") {
  for (const unsigned threads : {1u, 2u, 31u, 32u, 33u, 70u}) {
    CAPTURE(threads);
    const DeviceVector<int> out(std::vector<int>(threads, -1));
    launch(leaving_kernel, 1, threads, 0, out.data());
    std::vector<int> expected(threads, -1);
    expected.back() = static_cast<int>(threads * (threads + 1) / 2);
    CHECK(out.host() == expected);
  }
}

TEST_CASE_TEMPLATE("integer atomics", T, int, unsigned, unsigned long long) {
  for (const int n : {1, 31, 100, 257, 1000}) {
    CAPTURE(n);
    const DeviceVector<T> sum(std::vector<T>{0, 0}), low(std::vector<T>{5000}), high(std::vector<T>{0}),
        bits(std::vector<T>{0}), order(static_cast<std::size_t>(n));
    launch(atomic_kernel<T>, 9, 128, 0, sum.data(), low.data(), high.data(), bits.data(), order.data(), n);
    CHECK(sum.host() == std::vector<T>{static_cast<T>(n * (n - 1) / 2), static_cast<T>(n)});
    CHECK(low.host().front() == 0);
    CHECK(high.host().front() == static_cast<T>(n - 1));
    CHECK(bits.host().front() == static_cast<T>((2ull << (std::min(n, 31) - 1)) - 1));
    std::vector<T> all = order.host();
    std::sort(all.begin(), all.end());
    for (std::size_t i = 0; i < all.size(); ++i) CHECK(all[i] == static_cast<T>(i));
  }
}

namespace {
// Each block looks at what the ones before it left: the result shows the order of blocks, and of threads.
__global__ void order_kernel(unsigned* next, unsigned* when) {
  when[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(next, 1u);
}
std::vector<unsigned> turns(cuda_on_cpu::Order order) {
  const WithOrder with(order);
  const DeviceVector<unsigned> next(std::vector<unsigned>{0}), when(5 * 40);
  launch(order_kernel, 5, 40, 0, next.data(), when.data());
  return when.host();
}
}  // namespace

TEST_CASE("the order of blocks and threads can be chosen") {
  using cuda_on_cpu::Order;
  std::vector<unsigned> ascending(200);
  std::iota(ascending.begin(), ascending.end(), 0u);
  CHECK(turns({Order::ascending, 0}) == ascending);
  const std::vector<unsigned> reversed(ascending.rbegin(), ascending.rend());
  CHECK(turns({Order::reverse, 0}) == reversed);
  const std::vector<unsigned> one = turns({Order::shuffled, 1});
  CHECK(turns({Order::shuffled, 1}) == one);
  CHECK(turns({Order::shuffled, 2}) != one);
  CHECK(std::is_permutation(one.begin(), one.end(), ascending.begin()));
  CHECK(one != ascending);
}

namespace {
__global__ void lonely_shuffle_kernel(int* out) {
  if (threadIdx.x == 3) return void(__syncthreads());
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, static_cast<int>(threadIdx.x), 1);
}
__global__ void absent_lane_kernel(int* out) {
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, static_cast<int>(threadIdx.x), 16);
}
__global__ void wrong_mask_kernel() {
  __syncwarp(0x0000fffeu);
}
__global__ void two_barriers_kernel() {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void wrong_width_kernel(int* out) {
  out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0, 12);
}
}  // namespace

TEST_CASE("what waits for ever is an error that names the threads") {
  const WithOrder ascending({});
  const DeviceVector<int> out(64);
  const std::string fault = fault_of([&] { launch(lonely_shuffle_kernel, 2, 40, 0, out.data()); });
  CAPTURE(fault);
  CHECK(contains(fault, "lonely_shuffle_kernel, block (0,0,0)"));
  CHECK(contains(fault, "threads 0-2, 4-31 at __shfl_xor_sync (test_threads.cpp:"));
  CHECK(contains(fault, "mask 0xffffffff) for lanes 3 of warp 0"));
  CHECK(contains(fault, "threads 3 at __syncthreads (test_threads.cpp:"));
  CHECK(contains(fault, "for the 31 others"));

  SUBCASE("and the next launch runs as usual") {
    const DeviceVector<int> x(std::vector<int>(64, 2)), sums(1);
    launch(sum_kernel<int>, 1, 64, 64 * sizeof(int), x.data(), 64, sums.data());
    CHECK(sums.host().front() == 128);
  }
}

TEST_CASE("barriers and shuffles used wrongly") {
  const WithOrder ascending({});
  const DeviceVector<int> out(64);
  CHECK(contains(fault_of([&] { launch(absent_lane_kernel, 1, 20, 0, out.data()); }),
                 "from lane 20, which does not take part"));
  CHECK(
      contains(fault_of([&] { launch(wrong_mask_kernel, 1, 32, 0); }), "thread (0,0,0) is not in the mask"));
  CHECK(contains(fault_of([&] { launch(two_barriers_kernel, 1, 32, 0); }), "waits at another barrier"));
  CHECK(contains(fault_of([&] { launch(wrong_width_kernel, 1, 32, 0, out.data()); }), "with width 12"));
}

}  // namespace flatland::test
