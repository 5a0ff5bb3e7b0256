// Tests that run on every device: the CPU, and CUDA where the test program has it (a GPU, or the execution
// layer of tests/cuda_on_cpu). Their names end in "on every device".
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/view.h>

#include <cstdlib>
#include <string_view>
#include <vector>

namespace flatland::test {

// FLATLAND_TEST_DEVICE=cpu|cuda chooses one; FLATLAND_REQUIRE_CUDA=1 makes a missing GPU a failure.
inline std::vector<Device> devices() {
  const auto is = [](const char* variable, std::string_view value) {
    const char* text = std::getenv(variable);
    return text != nullptr && text == value;
  };
  const bool cuda = best_device() == Device::cuda;
  if (!cuda && is("FLATLAND_REQUIRE_CUDA", "1")) check_usable(Device::cuda);  // says why there is none
  if (is("FLATLAND_TEST_DEVICE", "cuda")) return {Device::cuda};
  if (!cuda || is("FLATLAND_TEST_DEVICE", "cpu")) return {Device::cpu};
  return {Device::cpu, Device::cuda};
}

// A vector's values in memory of exec's device; back in the vector at the end of the scope. Guards around a
// matrix (Guarded) travel along.
//   Guarded<float> x(3, 5), y(3, 5);
//   { const Mirror dx(exec, x.block), dy(exec, y.block);
//     kernels::activate<float>(exec, activation::relu, dx.view(x.view()), dy.view(y.view())); }
template <class T>
class Mirror {
 public:
  Mirror(const kernels::Exec& exec, std::vector<T>& host)
      : exec_(exec), host_(host), data_(static_cast<T*>(kernels::allocate_memory(exec.device(), bytes()))) {
    FLATLAND_CHECK(data_ != nullptr, "Mirror: no memory");
    kernels::copy_to_device(exec_, data_, host_.data(), bytes());
  }
  ~Mirror() {
    kernels::copy_to_host(exec_, host_.data(), data_, bytes());
    kernels::free_memory(exec_.device(), data_);
  }
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  T* data() const { return data_; }
  std::span<T> span() const { return {data_, host_.size()}; }
  // Where a view into the vector lies on the device.
  kernels::MatView<T> view(kernels::MatView<T> m) const { return {at(m.data), m.rows, m.cols, m.ld}; }
  T* at(const T* p) const { return data_ + (p - host_.data()); }

 private:
  std::size_t bytes() const { return checked_bytes(static_cast<std::int64_t>(host_.size()), sizeof(T)); }

  const kernels::Exec& exec_;
  std::vector<T>& host_;
  T* data_;
};

}  // namespace flatland::test
