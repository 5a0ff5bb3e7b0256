// Device and pinned memory.
#pragma once

#include <cstddef>
#include <string>

namespace cuda_on_cpu {

// Device memory can be touched while one of these lives.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

// From now on a fault in device memory or on a thread's stack says what it is.
void watch_faults();

void* allocate_device(std::size_t bytes);  // nullptr where there is no room
bool free_device(void* p);                 // false where p is no block
void* allocate_pinned(std::size_t bytes);
bool free_pinned(void* p);

struct MemorySize {
  std::size_t free, total;
};
MemorySize memory_size();

enum class Place { host, pinned, device };
Place place_of(const void* p);  // device: anywhere in the device's addresses

// Error unless [p, p + bytes) lies in one block of device memory. `who` begins the message.
void check_device_range(const void* p, std::size_t bytes, const std::string& who);
// Error unless p, an argument of the kernel, is null or points into a block (or to its end) that it may use.
void check_kernel_pointer(const void* p, const void* kernel);
// Error where the kernel has written into a guard zone; repairs that.
void check_guards(const void* kernel);

}  // namespace cuda_on_cpu
