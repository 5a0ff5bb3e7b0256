// Launching a kernel.
#pragma once

#include <cuda_on_cpu/runtime_api.h>
#include <cuda_on_cpu/vector_types.h>

#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  struct cudaLaunchAttribute_st* attrs;
  unsigned numAttrs;
};

namespace cuda_on_cpu {

// One launch: what each thread runs, and what it is checked for.
struct Launch {
  const void* kernel = nullptr;
  std::function<void()> thread;
  std::vector<const void*> pointers;  // among the arguments; each must be device or pinned memory
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};

// Runs it now, or records it where the stream captures.
cudaError_t launch(Launch launch, const cudaLaunchConfig_t& config);

template <class T>
void add_pointer(std::vector<const void*>& pointers, const T& argument) {
  if constexpr (std::is_pointer_v<T>) {
    if constexpr (!std::is_function_v<std::remove_pointer_t<T>>) pointers.push_back(argument);
  } else if constexpr (requires { requires std::is_pointer_v<decltype(argument.data)>; }) {
    pointers.push_back(argument.data);
  } else if constexpr (requires { requires std::is_pointer_v<decltype(argument.data())>; }) {
    pointers.push_back(argument.data());
  }
}

template <class F>
const void* address(F* function) {
  return reinterpret_cast<const void*>(function);
}

}  // namespace cuda_on_cpu

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const std::tuple<std::remove_cv_t<Parameters>...> values(std::forward<Arguments>(arguments)...);
  cuda_on_cpu::Launch launch;
  launch.kernel = cuda_on_cpu::address(kernel);
  std::apply([&](const auto&... value) { (cuda_on_cpu::add_pointer(launch.pointers, value), ...); }, values);
  launch.thread = [kernel, values] { std::apply(kernel, values); };
  return cuda_on_cpu::launch(std::move(launch), *config);
}
