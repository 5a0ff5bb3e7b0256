// Short forms for the tests of the layer.
#pragma once

#include <cuda_on_cpu/control.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace flatland::test {

inline void require_success(cudaError_t error) {
  if (error != cudaSuccess) throw cuda_on_cpu::Error(cudaGetErrorString(error));
}

// Values in device memory.
template <class T>
class DeviceVector {
 public:
  explicit DeviceVector(std::size_t n) : n_(n) { require_success(cudaMalloc(&data_, n * sizeof(T))); }
  explicit DeviceVector(const std::vector<T>& values) : DeviceVector(values.size()) { set(values); }
  ~DeviceVector() { cudaFree(data_); }
  DeviceVector(const DeviceVector&) = delete;
  DeviceVector& operator=(const DeviceVector&) = delete;

  T* data() const { return data_; }
  void set(const std::vector<T>& values) const {
    require_success(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> host() const {
    std::vector<T> values(n_);
    require_success(cudaMemcpy(values.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t n_;
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  require_success(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

// Another order of blocks and threads for a while.
class WithOrder {
 public:
  explicit WithOrder(cuda_on_cpu::Order order) : usual_(cuda_on_cpu::order()) {
    cuda_on_cpu::set_order(order);
  }
  ~WithOrder() { cuda_on_cpu::set_order(usual_); }
  WithOrder(const WithOrder&) = delete;
  WithOrder& operator=(const WithOrder&) = delete;

 private:
  cuda_on_cpu::Order usual_;
};

// What the layer says of it, at the latest when it is waited for, or "no error".
template <class F>
std::string fault_of(F f) {
  try {
    f();
    cudaDeviceSynchronize();
  } catch (const cuda_on_cpu::Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace flatland::test
