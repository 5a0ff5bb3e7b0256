#include <flatland/kernels/check.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/team.h>

#include <exception>
#include <utility>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

namespace flatland::kernels {

namespace {

// Flushes denormals to zero while it lives: a product of small weights would cost a hundred cycles otherwise.
class FlushDenormals {
#if defined(__SSE__)
 public:
  FlushDenormals() : saved_(_mm_getcsr()) {
    _mm_setcsr(saved_ | 0x8040u);
  }
  ~FlushDenormals() {
    _mm_setcsr(saved_);
  }

 private:
  unsigned saved_;
#endif
};

// Sets a variable for a scope.
template <class T>
class Restore {
 public:
  Restore(T& variable, T value) : variable_(variable), before_(std::exchange(variable, value)) {}
  ~Restore() { variable_ = before_; }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

 private:
  T& variable_;
  T before_;
};

void run_serially(std::int64_t n, FunctionRef<void(std::int64_t, int)> task) {
  [[maybe_unused]] const FlushDenormals flush;
  for (std::int64_t i = 0; i < n; ++i) task(i, 0);
}

// The team that this thread leads, and whether it is inside a task.
thread_local Team* led_team = nullptr;
thread_local bool in_task = false;

bool can_gather([[maybe_unused]] const Exec& exec) {
#ifdef _OPENMP
  return exec.threads() > 1 && led_team == nullptr && !in_task && !omp_in_parallel();
#else
  return false;
#endif
}

void run_on_team(Team& team, std::int64_t n, FunctionRef<void(std::int64_t, int)> task) {
  team.run(n, [&](std::int64_t i, int thread) {
    const Restore inside(in_task, true);
    [[maybe_unused]] const FlushDenormals flush;
    task(i, thread);
  });
}

}  // namespace

void with_team(const Exec& exec, FunctionRef<void()> body) {
  if (exec.device() != Device::cpu || !can_gather(exec)) return body();
#ifdef _OPENMP
  Team team(exec.threads());
  std::exception_ptr error;
#pragma omp parallel num_threads(exec.threads())
  {
    if (omp_get_thread_num() != 0) {
      team.work(omp_get_thread_num());
    } else {
      const Restore lead(led_team, &team);
      try {
        body();
      } catch (...) {
        error = std::current_exception();
      }
      team.dissolve();
    }
  }
  if (error) std::rethrow_exception(error);
#endif
}

void parallel_for(const Exec& exec, std::int64_t n, FunctionRef<void(std::int64_t task, int thread)> task) {
  FLATLAND_CHECK(exec.device() == Device::cpu,
                 "this kernel runs on the CPU only; bring its tensors over with to(Device::cpu)");
  if (n <= 1 || in_task) return run_serially(n, task);
  if (led_team != nullptr && led_team->threads() <= exec.threads()) return run_on_team(*led_team, n, task);
  if (!can_gather(exec)) return run_serially(n, task);
  with_team(exec, [&] { run_on_team(*led_team, n, task); });
}

}  // namespace flatland::kernels
