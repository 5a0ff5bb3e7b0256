// A stack of its own that runs until it suspends itself, through Boost.Context.
#pragma once

#include <cstddef>

namespace cuda_on_cpu {

class Fiber {
 public:
  // `entry` never returns; it suspends the fiber instead.
  explicit Fiber(void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();   // called from the host's stack: runs the fiber until it suspends
  void suspend();  // called on the fiber: back to where resume was called
  void restart();  // forgets what is suspended on it; the next resume enters anew

  // Below the stack lies a page that faults; is p in it?
  bool overflowed_at(const void* p) const;

 private:
  void* memory_ = nullptr;
  void* own_ = nullptr;   // context to resume
  void* host_ = nullptr;  // context to go back to
  void (*entry_)();
  std::size_t stack_bytes_;
  // What the address sanitizer keeps for the stack that is left.
  void *own_fake_ = nullptr, *host_fake_ = nullptr;
  const void* host_stack_ = nullptr;
  std::size_t host_stack_bytes_ = 0;
};

}  // namespace cuda_on_cpu
