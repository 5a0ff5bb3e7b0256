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

  void resume();   // called from the host's stack: runs fibers until one suspends itself
  void suspend();  // called on the fiber: back to where resume was called
  void switch_to(
      Fiber& other);  // called on the fiber: runs the other one, until something comes back to this
  void restart();     // forgets what is suspended on it; the next resume enters anew

  // Below the stack lies a page that faults; is p in it?
  bool overflowed_at(const void* p) const;

 private:
  void arrive(void* left, void* context);

  void* memory_ = nullptr;
  void* own_ = nullptr;  // context to go on with
  void (*entry_)();
  std::size_t stack_bytes_;
  void* own_fake_ = nullptr;  // what the address sanitizer keeps for the stack when it is left
};

}  // namespace cuda_on_cpu
