// Device memory: guard zones, poison, copies, what the host may touch; launches that a GPU would refuse.
#include "launch.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <tests/support/errors.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdint>

namespace flatland::test {

namespace {

__global__ void fill_kernel(float* x, std::int64_t first, std::int64_t n, float value) {
  const auto i = first + static_cast<std::int64_t>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] = value;
}
__global__ void byte_kernel(unsigned char* x, int i) {
  x[i] = 0;
}
__global__ void dynamic_kernel(float* x) {
  FLATLAND_DYNAMIC_SHARED(float, buffer);
  buffer[10000] = 1;
  x[0] = buffer[10000];
}
struct View {
  float* data;
  int n;
};
__global__ void view_kernel(View view) {
  view.data[threadIdx.x] = 1;
}

cudaError_t try_launch(dim3 grid, dim3 block, std::size_t shared_bytes = 0) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  return cudaLaunchKernelEx(&config, fill_kernel, static_cast<float*>(nullptr), 0, 0, 0.0f);
}

}  // namespace

TEST_CASE("a write outside a block of memory is caught and named") {
  const DeviceVector<float> before(7), x(100), after(7);
  const auto fault = [&](std::int64_t i) {
    return fault_of([&] { launch(fill_kernel, 1, 1, 0, x.data(), i, i + 1, 3.0f); });
  };
  CHECK(fault(99) == "no error");
  CHECK(contains(fault(100), "fill_kernel wrote 0 bytes behind the end of a block of 400 bytes"));
  CHECK(contains(fault(103), "wrote 12 bytes behind the end of a block of 400 bytes"));
  CHECK(contains(fault(-1), "wrote 1 bytes before the begin of a block of 400 bytes"));
  CHECK(contains(fault(-5), "wrote 17 bytes before the begin of a block of 400 bytes"));
  CHECK(fault(0) == "no error");

  const DeviceVector<unsigned char> bytes(13);
  CHECK(fault_of([&] { launch(byte_kernel, 1, 1, 0, bytes.data(), 12); }) == "no error");
  CHECK(contains(fault_of([&] { launch(byte_kernel, 1, 1, 0, bytes.data(), 13); }),
                 "wrote 0 bytes behind the end of a block of 13 bytes"));
}

TEST_CASE("fresh memory is poisoned, blocks are aligned") {
  for (const std::size_t n : {1, 3, 64, 1000}) {
    const DeviceVector<float> x(n);
    for (const float value : x.host()) CHECK(std::isnan(value));
    CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 256 == 0);
  }
}

TEST_CASE("large blocks come and go") {
  const DeviceVector<float> small(std::vector<float>(10, 1));
  for (const std::size_t n : {std::size_t{10} << 20, std::size_t{5} << 20, std::size_t{10} << 20}) {
    const DeviceVector<float> x(n);
    launch(fill_kernel, 1, 1, 0, x.data(), static_cast<std::int64_t>(n) - 1, static_cast<std::int64_t>(n),
           2.0f);
    const std::vector<float> host = x.host();
    CHECK(std::isnan(host[n - 2]));
    CHECK(host[n - 1] == 2);
  }
  CHECK(small.host() == std::vector<float>(10, 1));
}

TEST_CASE("memory runs out as it does on a device") {
  std::size_t free = 0, total = 0;
  require_success(cudaMemGetInfo(&free, &total));
  const std::size_t usual = total;
  cuda_on_cpu::set_memory(total - free + 1000);
  {
    const DeviceVector<char> x(600);
    void* p = nullptr;
    CHECK(cudaMalloc(&p, 401) == cudaErrorMemoryAllocation);
    CHECK(p == nullptr);
    CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaSuccess);
    require_success(cudaMemGetInfo(&free, &total));
    CHECK(free == 400);
    CHECK(cudaMalloc(&p, 400) == cudaSuccess);
    CHECK(cudaFree(p) == cudaSuccess);
    CHECK(cudaFree(p) == cudaErrorInvalidValue);
  }
  cuda_on_cpu::set_memory(usual);
  cudaGetLastError();
}

TEST_CASE("copies and fills stay in their blocks") {
  const DeviceVector<float> x(std::vector<float>{1, 2, 3, 4, 5, 6});
  std::vector<float> host(6, 0);
  require_success(cudaMemcpy2D(host.data(), 2 * sizeof(float), x.data(), 3 * sizeof(float), 2 * sizeof(float),
                               2, cudaMemcpyDeviceToHost));
  CHECK(host == std::vector<float>{1, 2, 4, 5, 0, 0});
  require_success(cudaMemset(x.data() + 1, 0, 2 * sizeof(float)));
  CHECK(x.host() == std::vector<float>{1, 0, 0, 4, 5, 6});

  const auto copy = [](void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return fault_of([&] { cudaMemcpy(to, from, bytes, kind); });
  };
  CHECK(contains(copy(host.data(), x.data(), 28, cudaMemcpyDeviceToHost),
                 "ends 4 bytes behind a block of 24 bytes"));
  CHECK(contains(copy(x.data() + 6, host.data(), 4, cudaMemcpyHostToDevice), "is no live block"));
  CHECK(contains(copy(host.data(), host.data(), 4, cudaMemcpyDeviceToHost), "is not device memory"));
  CHECK(contains(copy(x.data(), x.data(), 4, cudaMemcpyHostToDevice),
                 "copy from device memory, but the kind says host"));
  CHECK(contains(fault_of([&] { cudaMemset(x.data() + 5, 0, 8); }), "ends 4 bytes behind"));
}

TEST_CASE("a kernel takes device and pinned memory only") {
  std::vector<float> host(32);
  const auto run = [](float* p) { return fault_of([&] { launch(fill_kernel, 1, 32, 0, p, 0, 32, 1.0f); }); };
  CHECK(contains(run(host.data()), "fill_kernel is given"));
  CHECK(contains(run(host.data()), "memory of the host"));
  CHECK(contains(fault_of([&] {
                   launch(view_kernel, 1, 32, 0, View{host.data(), 32});
                 }),
                 "memory of the host"));
  float* freed = nullptr;
  {
    const DeviceVector<float> x(32);
    freed = x.data();
    CHECK(run(x.data()) == "no error");
    launch(view_kernel, 1, 32, 0, View{x.data(), 32});
  }
  CHECK(contains(run(freed), "freed?"));
  float* pinned = nullptr;
  require_success(cudaMallocHost(&pinned, 32 * sizeof(float)));
  CHECK(run(pinned) == "no error");
  CHECK(pinned[31] == 1);
  CHECK(cudaFreeHost(pinned) == cudaSuccess);
}

TEST_CASE("the host cannot touch device memory") {
  const DeviceVector<float> x(std::vector<float>{1});
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    dup2(ends[1], STDERR_FILENO);
    require_success(cudaMemset(x.data(), 0, sizeof(float)));
    _exit(static_cast<int>(*const_cast<const volatile float*>(x.data())));
  }
  close(ends[1]);
  std::string text(10000, 0);
  std::size_t length = 0;
  for (ssize_t n; (n = read(ends[0], text.data() + length, text.size() - length)) > 0;)
    length += static_cast<std::size_t>(n);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(contains(text, "the host touches device memory"));
}

TEST_CASE("launches that a GPU refuses") {
  CHECK(try_launch(1, 1024) == cudaSuccess);
  CHECK(try_launch(1, 1025) == cudaErrorInvalidConfiguration);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(std::string(cudaGetErrorString(cudaErrorInvalidConfiguration)) == "invalid configuration argument");
  CHECK(try_launch(1, 0) == cudaErrorInvalidConfiguration);
  CHECK(try_launch(0, 1) == cudaErrorInvalidConfiguration);
  CHECK(try_launch(1, dim3(64, 64)) == cudaErrorInvalidConfiguration);
  CHECK(try_launch(1, dim3(1, 1, 65)) == cudaErrorInvalidConfiguration);
  CHECK(try_launch(dim3(1, 65536), 1) == cudaErrorInvalidConfiguration);
  CHECK(try_launch(1, 1, 48 * 1024) == cudaSuccess);
  CHECK(try_launch(1, 1, 48 * 1024 + 1) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(fill_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 * 1024) ==
        cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST_CASE("more dynamic shared memory, once asked for") {
  const DeviceVector<float> x(1);
  constexpr std::size_t bytes = 10001 * sizeof(float) + 20000;
  CHECK(contains(fault_of([&] { launch(dynamic_kernel, 1, 1, bytes, x.data()); }), "invalid argument"));
  REQUIRE(cudaFuncSetAttribute(dynamic_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) ==
          cudaSuccess);
  launch(dynamic_kernel, 1, 1, bytes, x.data());
  CHECK(x.host().front() == 1);
  cudaGetLastError();
}

TEST_CASE("a machine without a device") {
  cuda_on_cpu::set_device_count(0);
  int count = -1;
  CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
  CHECK(count == 0);
  CHECK(cudaSetDevice(0) == cudaErrorNoDevice);
  cuda_on_cpu::set_device_count(1);
  cudaGetLastError();
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  CHECK(count == 1);
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
  CHECK(properties.warpSize == 32);
  int blocks = 0;
  CHECK(cudaDeviceGetAttribute(&blocks, cudaDevAttrMultiProcessorCount, 0) == cudaSuccess);
  CHECK(blocks == properties.multiProcessorCount);
  CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
  cudaGetLastError();
}

}  // namespace flatland::test
