// Raw memory of a device, and copies between memories.
#pragma once

#include <flatland/kernels/exec.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace flatland {

// A device has less memory left than it was asked for.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

}  // namespace flatland

namespace flatland::kernels {

// Aligned to 64 bytes at least. Null when the device has no such block; Error when it cannot
// be used.
void* allocate_memory(Device device, std::size_t bytes);
// Throws OutOfMemory, for `who` asked in vain.
[[noreturn]] void fail_out_of_memory(const std::string& who, Device device, std::size_t bytes);
void free_memory(Device device, void* block) noexcept;

// Copies happen after the kernels that exec was given before, and before those it is given later.
// Memory of exec's device -> memory of the host; returns when it is there.
void copy_to_host(const Exec& exec, void* dst, const void* src, std::size_t bytes);
// Memory of the host -> memory of exec's device. The source may be changed as soon as it returns.
void copy_to_device(const Exec& exec, void* dst, const void* src, std::size_t bytes);
// Within exec's device.
void copy_within(const Exec& exec, void* dst, const void* src, std::size_t bytes);
// `rows` pieces of row_bytes, whose beginnings lie dst_step and src_step bytes apart, within exec's device.
void copy_rows(const Exec& exec, void* dst, std::size_t dst_step, const void* src, std::size_t src_step,
               std::size_t row_bytes, std::int64_t rows);

// What `write(value)` leaves at `value`, one number in memory of exec's device:
//   return on_host<T>(exec, [&](T* value) { sum<T>(exec, x, value); });
template <class T, class F>
T on_host(const Exec& exec, F&& write) {
  const ScratchArray<T> value(exec, 1);
  write(value.data());
  T result{};
  copy_to_host(exec, &result, value.data(), sizeof(T));
  return result;
}

}  // namespace flatland::kernels
