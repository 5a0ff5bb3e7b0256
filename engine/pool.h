// The memory of tensors and of the tape: freed blocks are kept by size and handed out again, so that a steady
// training step asks the system for nothing. Safe to use from several threads.
#pragma once

#include <flatland/kernels/exec.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace flatland {

// Gives all memory that is kept but unused back to the system; returns its bytes.
std::size_t release_cached_memory(Device device = Device::cpu);

struct MemoryUse {
  std::size_t in_use = 0;                // bytes of living blocks, rounded up to their size class
  std::size_t cached = 0;                // bytes kept for later
  std::uint64_t system_allocations = 0;  // how often the system was asked, ever
};
MemoryUse memory_use(Device device = Device::cpu);

namespace detail {

// 64-byte aligned. Error when the system has no such block. pool_free needs the size asked for.
void* pool_allocate(Device device, std::size_t bytes);
void pool_free(Device device, void* block, std::size_t bytes) noexcept;

// The memory of a recorded graph: what the calling thread allocates while `record` runs comes fresh from the
// system, and what it frees is kept until this object dies, because the graph goes on using it. What still
// lives then (results, gradients) must be held by the owner of the graph. Other threads allocate as ever; a
// second one that records waits for the first.
class GraphMemory {
 public:
  struct Blocks {
    std::vector<std::vector<void*>> classes;  // by size class
    std::vector<void*> large;                 // above all classes
  };
  explicit GraphMemory(Device device) : device_(device) {}
  ~GraphMemory();
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;
  void record(const std::function<void()>& body);

 private:
  Device device_;
  Blocks kept_;
};

// The pool for standard containers and shared_ptr.
template <class T>
struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <class U>
  PoolAllocator(const PoolAllocator<U>&) {}
  T* allocate(std::size_t n) {
    return static_cast<T*>(
        pool_allocate(Device::cpu, checked_bytes(static_cast<std::int64_t>(n), sizeof(T))));
  }
  void deallocate(T* p, std::size_t n) noexcept { pool_free(Device::cpu, p, n * sizeof(T)); }
  template <class U>
  bool operator==(const PoolAllocator<U>&) const {
    return true;
  }
};
template <class T>
using PoolVector = std::vector<T, PoolAllocator<T>>;

}  // namespace detail
}  // namespace flatland
