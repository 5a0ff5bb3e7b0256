// Where and how kernels run: device, number of threads, stream, scratch memory.
#pragma once

#include <flatland/kernels/size.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace flatland {

enum class Device { cpu, cuda };
std::string_view name(Device device);

// The GPU when this build has CUDA and a driver with a device answers, else the CPU.
Device best_device();

// Error saying why when the device cannot be used: a build without CUDA, no driver, no GPU.
void check_usable(Device device);

namespace kernels {

// What an Exec holds on CUDA: its stream and its cuBLAS handle.
struct CudaContext;

// Stack-like memory of one Exec, on its device: grows to the largest need, then allocates no more.
class Scratch {
 public:
  explicit Scratch(Device device);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // 64-byte aligned memory that lives until `release` is called with the mark taken before.
  void* take(std::size_t bytes);
  std::size_t mark() const;
  void release(std::size_t mark);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One Exec serves one host thread at a time. Results never depend on `threads`. On CUDA kernels are queued:
// they run in the order they were given, after the call has returned.
class Exec {
 public:
  // threads 0: as many as the machine offers. Error: device cuda without a usable GPU.
  explicit Exec(Device device = Device::cpu, int threads = 0);
  ~Exec();
  Exec(Exec&&) noexcept;
  Exec& operator=(Exec&&) noexcept;

  Device device() const { return device_; }
  int threads() const { return threads_; }
  Scratch& scratch() const { return *scratch_; }
  CudaContext& cuda() const { return *cuda_; }  // only with Device::cuda
  // Returns when everything it was given is done; an Error of a kernel surfaces here.
  void wait() const;

 private:
  Device device_;
  int threads_;
  std::shared_ptr<CudaContext> cuda_;
  std::unique_ptr<Scratch> scratch_;
};

// A block of scratch values, given back at the end of the scope (strictly last in, first out). Always
// inlined, so that files compiled for an instruction-set level can use it.
template <class T>
class ScratchArray {
 public:
  [[gnu::always_inline]] ScratchArray(const Exec& exec, std::int64_t n)
      : scratch_(exec.scratch()),
        mark_(scratch_.mark()),
        values_(static_cast<T*>(scratch_.take(checked_bytes(n, sizeof(T)))), static_cast<std::size_t>(n)) {}
  [[gnu::always_inline]] ~ScratchArray() { scratch_.release(mark_); }
  ScratchArray(const ScratchArray&) = delete;
  ScratchArray& operator=(const ScratchArray&) = delete;

  [[gnu::always_inline]] T* data() const { return values_.data(); }
  [[gnu::always_inline]] std::span<T> span() const { return values_; }
  [[gnu::always_inline]] T& operator[](std::int64_t i) const { return values_[static_cast<std::size_t>(i)]; }

 private:
  Scratch& scratch_;
  std::size_t mark_;
  std::span<T> values_;
};

}  // namespace kernels
}  // namespace flatland
