// Errors, the device, launches, memory calls.
#include "runtime.h"

#include "memory.h"
#include "scheduler.h"

#include <cuda_on_cpu/launch.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>

namespace cuda_on_cpu {

Counts totals;

const Counts& counts() {
  return totals;
}

namespace {
cudaError_t last_error = cudaSuccess;
int devices = 1;
// Kernels whose limit of dynamic shared memory was raised.
auto& shared_limits = *new std::map<const void*, std::size_t>;

cudaError_t check(const Launch& launch) {
  const dim3 grid = launch.grid, block = launch.block;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (launch.kernel == nullptr) return cudaErrorInvalidDeviceFunction;
  if (threads == 0 || threads > k_max_threads || block.z > 64) return cudaErrorInvalidConfiguration;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaErrorInvalidConfiguration;
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) return cudaErrorInvalidConfiguration;
  const auto limit = shared_limits.find(launch.kernel);
  if (launch.shared_bytes > (limit == shared_limits.end() ? k_shared_bytes : limit->second))
    return cudaErrorInvalidValue;
  return cudaSuccess;
}

void run(const Launch& launch) {
  const DeviceAccess access;
  for (const void* p : launch.pointers) check_kernel_pointer(p, launch.kernel);
  ++totals.launches;
  Scheduler::instance().run(launch);
  check_guards(launch.kernel);
}
}  // namespace

void set_device_count(int count) {
  devices = count;
}

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t launch(Launch launch, const cudaLaunchConfig_t& config) {
  launch.grid = config.gridDim;
  launch.block = config.blockDim;
  launch.shared_bytes = config.dynamicSmemBytes;
  if (config.numAttrs != 0) return report(cudaErrorNotSupported);
  if (const cudaError_t error = check(launch); error != cudaSuccess) return report(error);
  const auto shared = std::make_shared<const Launch>(std::move(launch));
  return submit(config.stream, cudaGraphNodeTypeKernel, [shared] { run(*shared); });
}

}  // namespace cuda_on_cpu

using namespace cuda_on_cpu;

namespace {
struct ErrorText {
  cudaError_t error;
  const char *name, *text;
};
constexpr ErrorText k_errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
     "too many resources requested for launch"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
};
const ErrorText& text_of(cudaError_t error) {
  static constexpr ErrorText unknown{cudaErrorUnknown, "cudaErrorUnknown", "unknown error"};
  for (const ErrorText& known : k_errors)
    if (known.error == error) return known;
  return unknown;
}
}  // namespace

const char* cudaGetErrorString(cudaError_t error) {
  return text_of(error).text;
}
const char* cudaGetErrorName(cudaError_t error) {
  return text_of(error).name;
}
cudaError_t cudaGetLastError() {
  return std::exchange(last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  return last_error;
}

// --- the device
cudaError_t cudaGetDeviceCount(int* count) {
  *count = devices;
  return devices > 0 ? cudaSuccess : report(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
  return report(device == 0 && devices > 0 ? cudaSuccess
                : devices > 0              ? cudaErrorInvalidDevice
                                           : cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return report(devices > 0 ? cudaSuccess : cudaErrorNoDevice);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0 || devices == 0) return report(cudaErrorInvalidDevice);
  *properties = {};
  cudaDeviceProp& p = *properties;
  std::snprintf(p.name, sizeof(p.name), "CUDA on the CPU");
  p.totalGlobalMem = memory_size().total;
  p.sharedMemPerBlock = k_shared_bytes;
  p.sharedMemPerBlockOptin = k_shared_bytes_optin;
  p.sharedMemPerMultiprocessor = k_shared_bytes_optin + 1024;
  p.totalConstMem = 64 << 10;
  p.major = 9;
  p.multiProcessorCount = 4;  // few, so that small tests fill it
  p.warpSize = 32;
  p.l2CacheSize = 50 << 20;
  p.memoryBusWidth = 5120;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.maxThreadsPerBlock = k_max_threads;
  p.maxThreadsPerMultiProcessor = 2048;
  p.maxBlocksPerMultiProcessor = 32;
  p.concurrentKernels = 1;
  const int block[] = {1024, 1024, 64}, grid[] = {0x7fffffff, 65535, 65535};
  std::copy_n(block, 3, p.maxThreadsDim);
  std::copy_n(grid, 3, p.maxGridSize);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t error = cudaGetDeviceProperties(&p, device); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      return *value = p.maxThreadsPerBlock, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return *value = static_cast<int>(p.sharedMemPerBlock), cudaSuccess;
    case cudaDevAttrWarpSize:
      return *value = p.warpSize, cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      return *value = p.multiProcessorCount, cudaSuccess;
    case cudaDevAttrL2CacheSize:
      return *value = p.l2CacheSize, cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return *value = p.maxThreadsPerMultiProcessor, cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      return *value = p.major, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      return *value = p.minor, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return *value = static_cast<int>(p.sharedMemPerBlockOptin), cudaSuccess;
  }
  return report(cudaErrorInvalidValue);
}
cudaError_t cudaDriverGetVersion(int* version) {
  return *version = devices > 0 ? 13000 : 0, cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  return *version = 13000, cudaSuccess;
}

// --- functions
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return report(cudaErrorInvalidValue);
  if (value < 0 || static_cast<std::size_t>(value) > k_shared_bytes_optin)
    return report(cudaErrorInvalidValue);
  shared_limits[kernel] = std::max(static_cast<std::size_t>(value), k_shared_bytes);
  return cudaSuccess;
}
cudaError_t cudaFuncGetName(const char** name, const void* kernel) {
  *name = kernel_name(kernel).c_str();
  return cudaSuccess;
}

// --- memory
cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  ++totals.allocations;
  *p = nullptr;
  if (devices == 0) return report(cudaErrorNoDevice);
  if (bytes == 0) return cudaSuccess;
  *p = allocate_device(bytes);
  return *p != nullptr ? cudaSuccess : report(cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* p) {
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  finish_work();
  return p == nullptr || free_device(p) ? cudaSuccess : report(cudaErrorInvalidValue);
}
cudaError_t cudaMallocHost(void** p, std::size_t bytes) {
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  if (devices == 0) return report(cudaErrorNoDevice);
  *p = allocate_pinned(bytes);
  return *p != nullptr ? cudaSuccess : report(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  finish_work();
  return p == nullptr || free_pinned(p) ? cudaSuccess : report(cudaErrorInvalidValue);
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const MemorySize size = memory_size();
  *free = size.free;
  *total = size.total;
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  void* const q = const_cast<void*>(p);
  const Place place = place_of(p);
  *attributes = {};
  if (place == Place::device) *attributes = {cudaMemoryTypeDevice, 0, q, nullptr};
  if (place == Place::pinned) *attributes = {cudaMemoryTypeHost, 0, q, q};
  return cudaSuccess;
}

namespace {
struct Copy {
  std::byte* to;
  std::size_t to_pitch;
  const std::byte* from;
  std::size_t from_pitch, width, height;
  cudaMemcpyKind kind;

  void run() const {
    if (width == 0 || height == 0) return;
    check(to, to_pitch, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice, "copy to");
    check(from, from_pitch, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice, "copy from");
    const DeviceAccess access;
    for (std::size_t row = 0; row < height; ++row)
      std::memmove(to + row * to_pitch, from + row * from_pitch, width);
  }

 private:
  void check(const std::byte* p, std::size_t pitch, bool device, const char* who) const {
    const bool is_device = place_of(p) == Place::device;
    if (is_device && !device && kind != cudaMemcpyDefault)
      throw Error(std::string("cudaMemcpy: ") + who + " device memory, but the kind says host memory");
    if (device || is_device)
      check_device_range(p, (height - 1) * pitch + width, std::string("cudaMemcpy: ") + who);
  }
};

cudaError_t copy(const Copy& copy, cudaStream_t stream) {
  if (copy.height > 1 && (copy.width > copy.to_pitch || copy.width > copy.from_pitch))
    return report(cudaErrorInvalidValue);
  const cudaError_t error = submit(stream, cudaGraphNodeTypeMemcpy, [copy] { copy.run(); });
  // As CUDA does, waits for copies from and to memory that is not pinned.
  if (place_of(copy.to) == Place::host || place_of(copy.from) == Place::host) finish_work();
  return error;
}

// Of copies without a stream.
cudaError_t wait_for_copy(cudaError_t error) {
  ++totals.synchronizations;
  if (error == cudaSuccess) error = refuse_in_capture();
  if (error == cudaSuccess) finish_work();
  return error;
}
}  // namespace

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return copy(
      {static_cast<std::byte*>(to), bytes, static_cast<const std::byte*>(from), bytes, bytes, 1, kind},
      stream);
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return wait_for_copy(cudaMemcpyAsync(to, from, bytes, kind));
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  return copy({static_cast<std::byte*>(to), to_pitch, static_cast<const std::byte*>(from), from_pitch, width,
               height, kind},
              stream);
}
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                         std::size_t width, std::size_t height, cudaMemcpyKind kind) {
  return wait_for_copy(cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, height, kind));
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  return submit(stream, cudaGraphNodeTypeMemset, [=] {
    if (place_of(p) != Place::pinned) check_device_range(p, bytes, "cudaMemset:");
    const DeviceAccess access;
    if (bytes > 0) std::memset(p, value, bytes);
  });
}
cudaError_t cudaMemset(void* p, int value, std::size_t bytes) {
  return cudaMemsetAsync(p, value, bytes);
}
