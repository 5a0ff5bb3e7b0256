// A training step on CUDA, recorded once and replayed with one call.
#pragma once

#include <flatland/kernels/exec.h>

#include <functional>
#include <memory>

namespace flatland::kernels {

// The kernels and copies that a function queued, without running them. Their arguments are kept by value:
// memory they use must stay where it is as long as the graph lives, and what changes between replays must lie
// in that memory.
class Graph {
 public:
  Graph() = default;  // empty: launching it does nothing
  // Records what `body` queues on exec, which must be on CUDA. Body may allocate, but neither wait nor read
  // back; an Error of it is rethrown, and nothing was recorded then. It has run before, so that exec's
  // scratch memory needs not grow, and while the graph lives exec serves nothing that takes more.
  static Graph record(Exec& exec, const std::function<void()>& body);

  explicit operator bool() const { return impl_ != nullptr; }
  // Queues everything recorded on exec.
  void launch(const Exec& exec) const;
  int kernels() const;  // how many kernels it holds

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace flatland::kernels
