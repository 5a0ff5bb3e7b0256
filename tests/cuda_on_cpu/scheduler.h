// Runs a launch: its blocks one after another, the threads of a block as fibers.
#pragma once

#include "fiber.h"

#include <cuda_on_cpu/launch.h>
#include <cuda_on_cpu/shared.h>
#include <cuda_on_cpu/threads.h>

#include <array>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace cuda_on_cpu {

// The limits of a GPU of compute capability 9.0.
inline constexpr unsigned k_max_threads = 1024;
inline constexpr std::size_t k_shared_bytes = 48 << 10;
inline constexpr std::size_t k_shared_bytes_optin = 227 << 10;

class Scheduler {
 public:
  static Scheduler& instance();

  // Throws what a thread threw, or an Error about threads that wait forever.
  void run(const Launch& launch);

  int block_barrier(Barrier kind, bool predicate, const Where& where);
  std::uint64_t warp_wait(WarpOp op, unsigned mask, std::uint64_t value, int source, const Where& where);
  SharedMemory& shared(const void* key, const char* name, std::size_t count, std::size_t element_bytes);
  SharedMemory& dynamic_shared(const char* name, std::size_t element_bytes);

  bool running() const { return launch_ != nullptr; }
  // kernel f, block (0,0,0), thread (1,0,0)
  std::string place() const;
  std::string thread_name(int thread) const;
  // Did a thread's stack overflow at p?
  bool stack_overflowed_at(const void* p) const;

 private:
  struct Thread {
    uint3 index{};
    Fiber* fiber = nullptr;  // while it waits
    Where where;
    std::uint64_t value = 0;  // given to a warp operation, then its result
    int source = 0;
  };
  // Lanes that wait for each other.
  struct Group {
    WarpOp op;
    unsigned mask, arrived;
  };
  struct Warp {
    unsigned exited = 0;  // or never there
    std::uint32_t time = 0;
    std::vector<Group> groups;
    // known[p][q]: accesses of lane q before this time are ordered before what lane p does next
    std::array<std::array<std::uint32_t, 32>, 32> known{};
  };

  void prepare(const Launch& launch);
  void run_block();
  Fiber* next_fiber();
  void leave_fiber();
  void work();
  void enter(int thread);
  void wait();
  void exit_thread();
  void release_barrier();
  bool complete(const Warp& warp, const Group& group) const;
  void release_group(int warp, std::size_t group);
  void exchange(int warp, const Group& group);
  void order_memory(Warp& warp, unsigned lanes);
  void push_ready(int thread);
  void abandon();
  std::string deadlock() const;
  std::string group_report(int warp, const Group& group) const;
  [[noreturn]] void fail(const std::string& what) const;

  const Launch* launch_ = nullptr;
  int n_ = 0;  // threads of a block
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<int> order_;  // of first turns
  int next_ = 0;            // in order_
  int live_ = 0;
  int current_ = 0;

  // Threads that may go on, first in, first out.
  std::array<int, 2 * k_max_threads> ready_{};
  unsigned ready_first_ = 0, ready_end_ = 0;

  std::vector<int> at_barrier_;
  Barrier barrier_kind_ = Barrier::plain;
  int barrier_count_ = 0;  // predicates that hold
  int barrier_result_ = 0;

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* running_ = nullptr;
  std::exception_ptr error_;

  std::vector<std::unique_ptr<SharedMemory>> shared_;
  SharedMemory* dynamic_ = nullptr;
};

// Demangled, without arguments; an address where the program has no symbols.
const std::string& kernel_name(const void* kernel);

}  // namespace cuda_on_cpu
