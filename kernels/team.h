// One team of threads that stays ready between kernels (private to parallel.cpp).
//
// A job is a number of tasks. The thread that posts it takes tasks too, and at the end waits only for threads
// that are still inside a task: one that a busy machine has not scheduled yet is not waited for. An OpenMP
// barrier would wait; beside a busy neighbour that costs a time slice of the scheduler for every kernel.
#pragma once

#include <flatland/kernels/parallel.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

namespace flatland::kernels {

class Team {
 public:
  using Task = FunctionRef<void(std::int64_t task, int thread)>;

  explicit Team(int threads) : threads_(threads) {}
  int threads() const { return threads_; }

  // The other threads of the team spend their lives here, with thread numbers from 1.
  void work(int thread);
  // Runs task 0 .. n-1 on the calling thread (number 0) and all that come to help; rethrows the exception of
  // the lowest failing task.
  void run(std::int64_t n, Task task);
  // Lets the others out of `work`.
  void dissolve();

 private:
  // The gate says whether a job is open, how many helpers are inside, and which job it is:
  //   bit 31 closed for good | bit 30 open | bits 16..29 job number | bits 0..15 helpers inside
  static constexpr std::uint32_t k_dissolved = 1u << 31;
  static constexpr std::uint32_t k_open = 1u << 30;
  static constexpr std::uint32_t k_job = 1u << 16;
  static constexpr std::uint32_t k_job_mask = k_open - k_job;
  static constexpr std::uint32_t k_inside_mask = k_job - 1;

  std::uint32_t wait_for_change(std::uint32_t seen) const;
  void take_tasks(int thread);

  int threads_;
  alignas(64) std::atomic<std::uint32_t> gate_ = 0;
  alignas(64) std::atomic<std::int64_t> next_ = 0;
  std::int64_t n_ = 0;
  const Task* task_ = nullptr;
  std::mutex error_mutex_;
  std::int64_t error_task_ = 0;
  std::exception_ptr error_;
};

}  // namespace flatland::kernels
