#include <flatland/kernels/team.h>

#include <utility>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace flatland::kernels {

namespace {

// How often the gate is looked at before a thread goes to sleep: for 50 to 150 microseconds, longer than the
// gaps between the kernels of a training step, shorter than a neighbour would notice.
constexpr int k_looks = 3000;

void pause() {
#if defined(__SSE__)
  _mm_pause();
#endif
}

}  // namespace

std::uint32_t Team::wait_for_change(std::uint32_t seen) const {
  std::uint32_t now = gate_.load(std::memory_order_acquire);
  for (int look = 0; now == seen && look < k_looks; ++look) {
    pause();
    now = gate_.load(std::memory_order_acquire);
  }
  while (now == seen) {
    gate_.wait(seen, std::memory_order_acquire);
    now = gate_.load(std::memory_order_acquire);
  }
  return now;
}

void Team::take_tasks(int thread) {
  for (std::int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < n_;
       i = next_.fetch_add(1, std::memory_order_relaxed)) {
    try {
      (*task_)(i, thread);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (!error_ || i < error_task_) {
        error_task_ = i;
        error_ = std::current_exception();
      }
    }
  }
}

void Team::work(int thread) {
  std::uint32_t gate = gate_.load(std::memory_order_acquire);
  std::uint32_t done = ~gate & k_job_mask;  // no job yet
  while ((gate & k_dissolved) == 0) {
    const bool fresh = (gate & k_open) != 0 && (gate & k_job_mask) != done;
    if (!fresh) {
      gate = wait_for_change(gate);
    } else if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acquire)) {
      done = gate & k_job_mask;
      take_tasks(thread);
      gate_.fetch_sub(1, std::memory_order_release);
      gate_.notify_all();
      gate = gate_.load(std::memory_order_acquire);
    }
  }
}

void Team::run(std::int64_t n, Task task) {
  n_ = n;
  task_ = &task;
  error_ = nullptr;
  next_.store(0, std::memory_order_relaxed);
  // Nobody is inside, so the helpers' count is 0 and nobody else writes the gate.
  const std::uint32_t job = (gate_.load(std::memory_order_relaxed) + k_job) & k_job_mask;
  gate_.store(job | k_open, std::memory_order_release);
  gate_.notify_all();
  take_tasks(0);
  std::uint32_t gate = gate_.fetch_and(~k_open, std::memory_order_acq_rel) & ~k_open;
  while ((gate & k_inside_mask) != 0) gate = wait_for_change(gate);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Team::dissolve() {
  gate_.store(k_dissolved, std::memory_order_release);
  gate_.notify_all();
}

}  // namespace flatland::kernels
