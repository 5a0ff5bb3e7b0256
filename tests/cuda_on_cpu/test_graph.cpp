// Streams, events, captures, replays.
#include "launch.h"

#include <cublas_v2.h>
#include <doctest/doctest.h>
#include <tests/support/errors.h>

namespace flatland::test {

namespace {

__global__ void add_kernel(const float* x, float* y, float by, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) y[i] = x[i] + by;
}
__global__ void index_kernel(const int* where, float* y) {
  y[*where] = 1;
}

cudaError_t launch_on(cudaStream_t stream, const float* x, float* y, float by, int n) {
  cudaLaunchConfig_t config{};
  config.gridDim = 1;
  config.blockDim = 32;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, add_kernel, x, y, by, n);
}

struct Stream {
  cudaStream_t stream = nullptr;
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    require_success(cudaStreamCreateWithFlags(&stream, flags));
  }
  ~Stream() { cudaStreamDestroy(stream); }
  Stream(const Stream&) = delete;
  operator cudaStream_t() const { return stream; }
};

}  // namespace

TEST_CASE("a captured graph runs with the values of its replay") {
  const Stream stream;
  const DeviceVector<float> x(std::vector<float>{1, 2, 3}), y(3), z(std::vector<float>{9, 9, 9});
  std::vector<float> result(3, -1);
  require_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  cudaStreamCaptureStatus status{};
  require_success(cudaStreamIsCapturing(stream, &status));
  CHECK(status == cudaStreamCaptureStatusActive);
  {
    // The arguments are taken by value.
    float by = 10;
    require_success(launch_on(stream, x.data(), y.data(), by, 3));
    by = 0;
    require_success(launch_on(stream, y.data(), y.data(), 100, 2));
  }
  require_success(cudaMemsetAsync(z.data(), 0, sizeof(float), stream));
  require_success(
      cudaMemcpyAsync(result.data(), y.data(), 3 * sizeof(float), cudaMemcpyDeviceToHost, stream));
  cudaGraph_t graph = nullptr;
  require_success(cudaStreamEndCapture(stream, &graph));
  CHECK(result == std::vector<float>{-1, -1, -1});

  std::size_t count = 0;
  require_success(cudaGraphGetNodes(graph, nullptr, &count));
  REQUIRE(count == 4);
  std::vector<cudaGraphNode_t> nodes(count);
  require_success(cudaGraphGetNodes(graph, nodes.data(), &count));
  std::vector<cudaGraphNodeType> types(count);
  for (std::size_t i = 0; i < count; ++i) require_success(cudaGraphNodeGetType(nodes[i], &types[i]));
  CHECK(types == std::vector<cudaGraphNodeType>{cudaGraphNodeTypeKernel, cudaGraphNodeTypeKernel,
                                                cudaGraphNodeTypeMemset, cudaGraphNodeTypeMemcpy});

  cudaGraphExec_t exec = nullptr;
  require_success(cudaGraphInstantiate(&exec, graph, 0));
  require_success(cudaGraphDestroy(graph));
  const std::int64_t launches = cuda_on_cpu::counts().launches,
                     replays = cuda_on_cpu::counts().graph_launches;
  require_success(cudaGraphLaunch(exec, stream));
  require_success(cudaStreamSynchronize(stream));
  CHECK(result == std::vector<float>{111, 112, 13});
  CHECK(z.host() == std::vector<float>{0, 9, 9});
  x.set({5, 6, 7});
  require_success(cudaGraphLaunch(exec, stream));
  require_success(cudaStreamSynchronize(stream));
  CHECK(result == std::vector<float>{115, 116, 17});
  CHECK(cuda_on_cpu::counts().launches == launches + 4);
  CHECK(cuda_on_cpu::counts().graph_launches == replays + 2);
  require_success(cudaGraphExecDestroy(exec));
  CHECK(cudaGraphLaunch(exec, stream) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
}

TEST_CASE("what a capture does not allow") {
  const DeviceVector<float> x(std::vector<float>{0, 0, 0});
  cudaGraph_t graph = nullptr;
  void* p = nullptr;
  const auto refused = [&](auto call, cudaError_t expected, cudaStreamCaptureMode mode, unsigned flags) {
    const Stream stream(flags);
    require_success(cudaStreamBeginCapture(stream, mode));
    CHECK(call(stream.stream) == expected);
    CHECK(launch_on(stream, x.data(), x.data(), 1, 3) == cudaErrorStreamCaptureInvalidated);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
    cudaGetLastError();
  };
  const auto unsafe = [&](auto call) {
    refused(call, cudaErrorStreamCaptureUnsupported, cudaStreamCaptureModeGlobal, cudaStreamNonBlocking);
  };
  unsafe([&](cudaStream_t) { return cudaMalloc(&p, 4); });
  unsafe([&](cudaStream_t) { return cudaFree(x.data()); });
  unsafe([&](cudaStream_t) { return cudaMemcpy(x.data(), x.data(), 4, cudaMemcpyDeviceToDevice); });
  for (const auto mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeRelaxed}) {
    const auto wait = [&](auto call) {
      refused(call, cudaErrorStreamCaptureUnsupported, mode, cudaStreamNonBlocking);
    };
    wait([](cudaStream_t stream) { return cudaStreamSynchronize(stream); });
    wait([](cudaStream_t stream) { return cudaStreamQuery(stream); });
    wait([](cudaStream_t) { return cudaDeviceSynchronize(); });
    refused([&](cudaStream_t) { return launch_on(nullptr, x.data(), x.data(), 1, 3); },
            cudaErrorStreamCaptureImplicit, mode, cudaStreamDefault);
  }
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(Stream(), &graph) == cudaErrorInvalidValue);
  CHECK(x.host() == std::vector<float>{0, 0, 0});
  cudaGetLastError();
}

TEST_CASE("what a capture allows") {
  const Stream stream, other;
  const DeviceVector<float> x(std::vector<float>{0, 0, 0});
  cudaGraph_t graph = nullptr;
  // Other streams go on as usual.
  require_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK(launch_on(other, x.data(), x.data(), 1, 3) == cudaSuccess);
  CHECK(launch_on(nullptr, x.data(), x.data(), 1, 3) == cudaSuccess);
  require_success(cudaStreamEndCapture(stream, &graph));
  require_success(cudaGraphDestroy(graph));
  // A relaxed one lets memory be had and given back, and others be waited for.
  require_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  {
    const DeviceVector<float> more(std::vector<float>{5});
    CHECK(more.host().front() == 5);
    CHECK(cudaStreamSynchronize(other) == cudaSuccess);
  }
  require_success(cudaStreamEndCapture(stream, &graph));
  std::size_t count = 1;
  require_success(cudaGraphGetNodes(graph, nullptr, &count));
  CHECK(count == 0);
  require_success(cudaGraphDestroy(graph));
  CHECK(x.host() == std::vector<float>{2, 2, 2});
}

TEST_CASE("late work is done when something waits for it") {
  const Stream stream;
  const DeviceVector<float> x(std::vector<float>{1, 2}), y(2);
  float* pinned = nullptr;
  require_success(cudaMallocHost(&pinned, 2 * sizeof(float)));
  pinned[0] = pinned[1] = -1;
  std::vector<float> pageable(2, -1);
  const auto queue = [&] {
    require_success(launch_on(stream, x.data(), y.data(), 10, 2));
    require_success(cudaMemcpyAsync(pinned, y.data(), 2 * sizeof(float), cudaMemcpyDeviceToHost, stream));
  };
  cuda_on_cpu::set_late(true);
  queue();
  CHECK(pinned[0] == -1);
  require_success(cudaStreamSynchronize(stream));
  CHECK(pinned[0] == 11);
  CHECK(pinned[1] == 12);

  x.set({3, 4});
  queue();
  CHECK(pinned[0] == 11);
  require_success(
      cudaMemcpyAsync(pageable.data(), x.data(), 2 * sizeof(float), cudaMemcpyDeviceToHost, stream));
  CHECK(pageable == std::vector<float>{3, 4});
  CHECK(pinned[0] == 13);

  // A mistake shows where it is waited for.
  const DeviceVector<int> where(std::vector<int>{2});
  cudaLaunchConfig_t config{};
  config.stream = stream;
  require_success(cudaLaunchKernelEx(&config, index_kernel, where.data(), y.data()));
  CHECK(contains(fault_of([&] { cudaStreamSynchronize(stream); }),
                 "index_kernel wrote 0 bytes behind the end"));
  cuda_on_cpu::set_late(false);
  queue();
  CHECK(pinned[1] == 14);
  require_success(cudaFreeHost(pinned));
}

TEST_CASE("a mistake in a replay is an error of the replay") {
  const Stream stream;
  const DeviceVector<int> where(std::vector<int>{2});
  const DeviceVector<float> y(3);
  require_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  cudaLaunchConfig_t config{};
  config.stream = stream;
  require_success(cudaLaunchKernelEx(&config, index_kernel, where.data(), y.data()));
  cudaGraph_t graph = nullptr;
  require_success(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t exec = nullptr;
  require_success(cudaGraphInstantiate(&exec, graph, 0));
  CHECK(fault_of([&] { cudaGraphLaunch(exec, stream); }) == "no error");
  where.set({4});
  CHECK(contains(fault_of([&] { cudaGraphLaunch(exec, stream); }),
                 "index_kernel wrote 4 bytes behind the end of a block of 12 bytes"));
  require_success(cudaGraphExecDestroy(exec));
  require_success(cudaGraphDestroy(graph));
}

TEST_CASE("events") {
  const Stream stream;
  cudaEvent_t start = nullptr, end = nullptr;
  require_success(cudaEventCreate(&start));
  require_success(cudaEventCreateWithFlags(&end, cudaEventDefault));
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaErrorInvalidResourceHandle);
  require_success(cudaEventRecord(start, stream));
  const DeviceVector<float> x(std::vector<float>(32, 1));
  for (int i = 0; i < 10; ++i) require_success(launch_on(stream, x.data(), x.data(), 1, 32));
  require_success(cudaEventRecord(end, stream));
  require_success(cudaEventSynchronize(end));
  require_success(cudaStreamWaitEvent(stream, end));
  require_success(cudaEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds > 0);
  require_success(cudaEventDestroy(start));
  require_success(cudaEventDestroy(end));
  CHECK(cudaEventRecord(start, stream) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
}

}  // namespace flatland::test
