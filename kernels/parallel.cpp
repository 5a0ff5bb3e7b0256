#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <exception>
#include <limits>
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

// Keeps the exception of the lowest task.
class FirstError {
 public:
  void keep(std::int64_t task, std::exception_ptr error) {
    if (task < task_) {
      task_ = task;
      error_ = std::move(error);
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::int64_t task_ = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr error_;
};

void run_serially(std::int64_t n, FunctionRef<void(std::int64_t, int)> task) {
  [[maybe_unused]] const FlushDenormals flush;
  for (std::int64_t i = 0; i < n; ++i) task(i, 0);
}

}  // namespace

void parallel_for(const Exec& exec, std::int64_t n, FunctionRef<void(std::int64_t task, int thread)> task) {
#ifdef _OPENMP
  const int threads = static_cast<int>(std::min<std::int64_t>(exec.threads(), n));
  if (threads <= 1 || omp_in_parallel()) return run_serially(n, task);
  FirstError error;
#pragma omp parallel num_threads(threads)
  {
    [[maybe_unused]] const FlushDenormals flush;
    const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1) nowait
    for (std::int64_t i = 0; i < n; ++i) {
      try {
        task(i, thread);
      } catch (...) {
#pragma omp critical(flatland_parallel_for_error)
        error.keep(i, std::current_exception());
      }
    }
  }
  error.rethrow();
#else
  static_cast<void>(exec);
  run_serially(n, task);
#endif
}

}  // namespace flatland::kernels
