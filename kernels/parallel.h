// The one place that starts threads.
#pragma once

#include <flatland/kernels/exec.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace flatland::kernels {

// A reference to a callable; does not own it.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>) FunctionRef(F&& f)
      : object_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// Calls task(i, thread) for i in [0, n), each once, on at most exec.threads() threads; `thread` is in
// [0, exec.threads()). Denormals are flushed to zero inside. Results must not depend on which thread runs a
// task: cut work into fixed tiles and combine partial results in index order afterwards. The exception of the
// lowest failing task is rethrown. A call from inside a task runs serially.
void parallel_for(const Exec& exec, std::int64_t n, FunctionRef<void(std::int64_t task, int thread)> task);

// Calls f(first, count) for the tiles of `size` values that n values are cut into; the last has what is left.
template <class F>
void for_tiles(const Exec& exec, std::int64_t n, std::int64_t size, const F& f) {
  parallel_for(exec, ceil_div(n, size), [&](std::int64_t tile, int) {
    const std::int64_t first = tile * size;
    f(first, std::min(size, n - first));
  });
}

// Keeps one team of exec.threads() threads ready while body runs on the calling thread, so that each
// parallel_for inside starts at once; a training loop belongs in here. Without it each parallel_for calls its
// own threads together. An Exec of fewer threads than the team runs serially inside. An exception of body is
// rethrown. With an Exec on a GPU it just calls body.
void with_team(const Exec& exec, FunctionRef<void()> body);

}  // namespace flatland::kernels
