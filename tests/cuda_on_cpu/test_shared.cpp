// Planted mistakes with shared memory, each beside its corrected twin.
#include "launch.h"

#include <doctest/doctest.h>
#include <tests/support/errors.h>

namespace flatland::test {

namespace {

enum class Sync { none, warp, block };

template <Sync S>
__device__ void sync() {
  if constexpr (S == Sync::warp) __syncwarp();
  if constexpr (S == Sync::block) __syncthreads();
}

// Writes, then reads what the thread `shift` further on wrote.
template <Sync S>
__global__ void rotate_kernel(int* out, unsigned shift) {
  FLATLAND_SHARED(int, ring, 1024);
  ring[threadIdx.x] = -1;
  __syncthreads();
  ring[threadIdx.x] = static_cast<int>(threadIdx.x);
  sync<S>();
  out[threadIdx.x] = ring[(threadIdx.x + shift) % blockDim.x];
}

// Reads the neighbour, then overwrites its own.
template <Sync S>
__global__ void shift_kernel(int* out) {
  FLATLAND_SHARED(int, ring, 1024);
  ring[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  const int next = ring[(threadIdx.x + 1) % blockDim.x];
  sync<S>();
  ring[threadIdx.x] = next;
  __syncthreads();
  out[threadIdx.x] = ring[threadIdx.x];
}

// Every thread writes the same value to one place.
__global__ void same_place_kernel(int* out) {
  FLATLAND_SHARED(int, flag, 1);
  flag[0] = 1;
  __syncthreads();
  out[threadIdx.x] = flag[0];
}

__global__ void shuffle_orders_nothing_kernel(int* out) {
  FLATLAND_SHARED(int, ring, 32);
  ring[threadIdx.x] = static_cast<int>(threadIdx.x);
  const int lane = __shfl_xor_sync(0xffffffffu, static_cast<int>(threadIdx.x), 1);
  out[threadIdx.x] = ring[lane];
}

// Lanes of one half meet; the other half's write is not ordered by that.
template <bool Whole>
__global__ void half_warp_kernel(int* out) {
  FLATLAND_SHARED(int, ring, 32);
  ring[threadIdx.x] = -1;
  __syncthreads();
  ring[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u);
  const int near = ring[threadIdx.x ^ 1];
  if constexpr (Whole) __syncwarp();
  out[threadIdx.x] = near + ring[threadIdx.x ^ 16];
}

// Order goes on from meeting to meeting: 0 tells 1, 1 tells 2.
template <bool Tell>
__global__ void chain_kernel(int* out) {
  FLATLAND_SHARED(int, value, 1);
  if (threadIdx.x == 0) value[0] = 7;
  if (threadIdx.x < 2) __syncwarp(0x3u);
  if (threadIdx.x == 1 || threadIdx.x == 2)
    if constexpr (Tell) __syncwarp(0x6u);
  if (threadIdx.x == 2) out[0] = value[0];
}

template <bool Atomic>
__global__ void count_kernel(int* out) {
  FLATLAND_SHARED(int, count, 2);
  if (threadIdx.x < 2) count[threadIdx.x] = 0;
  __syncthreads();
  if constexpr (Atomic) {
    atomicAdd(&count[threadIdx.x % 2], 1);
  } else {
    count[threadIdx.x % 2] += 1;
  }
  __syncthreads();
  if (threadIdx.x < 2) out[threadIdx.x] = count[threadIdx.x];
}
__global__ void read_among_atomics_kernel(int* out) {
  FLATLAND_SHARED(int, count, 1);
  if (threadIdx.x == 0) count[0] = 0;
  __syncthreads();
  atomicAdd(&count[0], 1);
  out[threadIdx.x] = count[0];
}

__global__ void index_kernel(int* out, int i) {
  FLATLAND_SHARED(int, values, 33);
  FLATLAND_DYNAMIC_SHARED(int, more);
  if (i < 1000) {
    values[i] = 1;
  } else {
    more[i - 1000] = 1;
  }
  out[0] = 1;
}

// The first block writes, the second reads without having written.
__global__ void left_over_kernel(int* out) {
  FLATLAND_SHARED(int, value, 1);
  if (blockIdx.x == 0) value[0] = 5;
  out[blockIdx.x] = value[0];
}

struct Best {
  float distance;
  int index;
};
// Elements that are structs; every operator of an element.
__global__ void element_kernel(Best* best, double* out) {
  FLATLAND_SHARED(Best, bests, 2);
  FLATLAND_SHARED(double, v, 4);
  bests[0] = {1.5f, 7};
  bests[1] = bests[0];
  Best b = bests[1];
  b.index += 1;
  bests[1] = b;
  best[0] = bests[0];
  best[1] = bests[1];
  v[0] = v[1] = 2;
  v[0] += 3;
  v[0] *= 2;
  v[0] -= v[1];
  v[0] /= 4;
  v[2] = v[0]++;
  v[3] = --v[1];
  const auto second = v + 1;
  out[0] = v[0];
  out[1] = *second;
  out[2] = v[2] > v[3] ? v[2] : 0;
  out[3] = fma(v[3], 10.0, v[1]);
  const auto last = &v[3];
  out[4] = last[0];
}

__global__ void two_types_kernel() {
  FLATLAND_DYNAMIC_SHARED(float, a);
  FLATLAND_DYNAMIC_SHARED(double, b);
  a[0] = 1;
  b[1] = 2;
}
__global__ void large_kernel() {
  FLATLAND_SHARED(double, a, 4096);
  FLATLAND_SHARED(double, b, 4096);
  a[0] = 1;
  b[0] = 1;
}

}  // namespace

TEST_CASE("a missing barrier between write and read is caught") {
  const WithOrder ascending({});
  const DeviceVector<int> out(256);
  for (const unsigned threads : {33u, 64u, 256u}) {
    CAPTURE(threads);
    const auto fault = [&](auto kernel) {
      return fault_of([&] { launch(kernel, 1, threads, 0, out.data(), threads - 1); });
    };
    const std::string text = fault(rotate_kernel<Sync::none>), last = std::to_string(threads - 1);
    CAPTURE(text);
    CHECK(contains(
        text, "rotate_kernel<(flatland::test::Sync)0>, block (0,0,0), thread (0,0,0): shared memory ring[" +
                  last + "]"));
    CHECK(contains(text, "read, but thread (" + last + ",0,0) wrote it since the last barrier"));
    CHECK(fault(rotate_kernel<Sync::block>) == "no error");
    CHECK(out.host()[0] == static_cast<int>(threads) - 1);
  }
}

TEST_CASE("a race is caught in whatever order threads run") {
  using cuda_on_cpu::Order;
  const DeviceVector<int> out(256);
  for (const Order order : {Order{Order::reverse, 0}, Order{Order::shuffled, 1}, Order{Order::shuffled, 2}}) {
    const WithOrder with(order);
    CHECK(contains(fault_of([&] { launch(rotate_kernel<Sync::none>, 1, 64, 0, out.data(), 40u); }),
                   "since the last barrier"));
    CHECK(contains(fault_of([&] { launch(shift_kernel<Sync::none>, 1, 64, 0, out.data()); }),
                   "since the last barrier"));
    CHECK(fault_of([&] { launch(rotate_kernel<Sync::block>, 1, 64, 0, out.data(), 40u); }) == "no error");
    CHECK(fault_of([&] { launch(shift_kernel<Sync::block>, 1, 64, 0, out.data()); }) == "no error");
  }
}

TEST_CASE("a missing barrier between read and write is caught") {
  const WithOrder ascending({});
  const DeviceVector<int> out(256);
  const std::string fault = fault_of([&] { launch(shift_kernel<Sync::none>, 1, 64, 0, out.data()); });
  CHECK(contains(fault, "ring[0]: written, but thread (63,0,0) read it since the last barrier"));
  CHECK(fault_of([&] { launch(shift_kernel<Sync::block>, 1, 64, 0, out.data()); }) == "no error");
}

TEST_CASE("__syncwarp orders its warp and no other") {
  const WithOrder ascending({});
  const DeviceVector<int> out(256);
  CHECK(fault_of([&] { launch(rotate_kernel<Sync::warp>, 1, 32, 0, out.data(), 1u); }) == "no error");
  CHECK(fault_of([&] { launch(shift_kernel<Sync::warp>, 1, 32, 0, out.data()); }) == "no error");
  CHECK(contains(fault_of([&] { launch(rotate_kernel<Sync::none>, 1, 32, 0, out.data(), 1u); }), "ring["));
  CHECK(contains(fault_of([&] { launch(rotate_kernel<Sync::warp>, 1, 64, 0, out.data(), 1u); }),
                 "since the last barrier"));
  CHECK(contains(fault_of([&] { launch(shift_kernel<Sync::warp>, 1, 64, 0, out.data()); }),
                 "read it since the last barrier"));
  CHECK(contains(fault_of([&] { launch(half_warp_kernel<false>, 1, 32, 0, out.data()); }),
                 "since the last barrier"));
  CHECK(fault_of([&] { launch(half_warp_kernel<true>, 1, 32, 0, out.data()); }) == "no error");
  CHECK(contains(fault_of([&] { launch(chain_kernel<false>, 1, 32, 0, out.data()); }),
                 "value[0]: read, but thread (0,0,0) wrote it"));
  CHECK(fault_of([&] { launch(chain_kernel<true>, 1, 32, 0, out.data()); }) == "no error");
}

TEST_CASE("a shuffle orders no memory") {
  const DeviceVector<int> out(32);
  CHECK(contains(fault_of([&] { launch(shuffle_orders_nothing_kernel, 1, 32, 0, out.data()); }),
                 "shuffles order nothing"));
}

TEST_CASE("two threads that write one place are caught, even the same value") {
  const WithOrder ascending({});
  const DeviceVector<int> out(32);
  CHECK(contains(fault_of([&] { launch(same_place_kernel, 1, 2, 0, out.data()); }),
                 "thread (1,0,0): shared memory flag[0]: written, but thread (0,0,0) wrote it"));
  CHECK(fault_of([&] { launch(same_place_kernel, 1, 1, 0, out.data()); }) == "no error");
}

TEST_CASE("atomics do not disturb each other, but plain accesses do") {
  const WithOrder ascending({});
  const DeviceVector<int> out(200);
  CHECK(fault_of([&] { launch(count_kernel<true>, 1, 199, 0, out.data()); }) == "no error");
  CHECK(out.host()[0] == 100);
  CHECK(out.host()[1] == 99);
  CHECK(contains(fault_of([&] { launch(count_kernel<false>, 1, 199, 0, out.data()); }), "count[0]"));
  CHECK(contains(fault_of([&] { launch(read_among_atomics_kernel, 1, 40, 0, out.data()); }), "count[0]"));
}

TEST_CASE("an index out of range is caught") {
  const DeviceVector<int> out(1);
  const auto fault = [&](int i) {
    return fault_of([&] { launch(index_kernel, 1, 1, 10 * sizeof(int), out.data(), i); });
  };
  CHECK(fault(0) == "no error");
  CHECK(fault(32) == "no error");
  CHECK(contains(fault(33), "values[33]: the index is outside; it has 33 elements"));
  CHECK(contains(fault(-1), "values[-1]: the index is outside"));
  CHECK(fault(1009) == "no error");
  CHECK(contains(fault(1010), "more[10]: the index is outside; it has 10 elements"));
}

TEST_CASE("a read of what was never written is caught, though an earlier block wrote it") {
  const WithOrder ascending({});
  const DeviceVector<int> out(2);
  CHECK(contains(fault_of([&] { launch(left_over_kernel, 2, 1, 0, out.data()); }),
                 "block (1,0,0), thread (0,0,0): shared memory value[0]: read, but no thread of this block "
                 "has written it"));
}

TEST_CASE("elements are read, written and updated as values") {
  const DeviceVector<Best> best(2);
  const DeviceVector<double> out(5);
  launch(element_kernel, 1, 1, 0, best.data(), out.data());
  const std::vector<Best> bests = best.host();
  CHECK(bests[0].index == 7);
  CHECK(bests[1].index == 8);
  CHECK(bests[1].distance == 1.5f);
  CHECK(out.host() == std::vector<double>{3, 1, 2, 11, 1});
}

TEST_CASE("shared memory beyond what a block has is an error") {
  CHECK(contains(fault_of([] { launch(two_types_kernel, 1, 1, 64); }), "one type a kernel"));
  CHECK(contains(fault_of([] { launch(large_kernel, 1, 1, 0); }),
                 "65536 bytes of static shared memory; 49152"));
}

}  // namespace flatland::test
