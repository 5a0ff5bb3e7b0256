#include <flatland/engine/tensor.h>

#include <array>
#include <memory>
#include <utility>

namespace flatland {

namespace {

// What the ops of a thread run on, a device.
struct ThreadExec {
  kernels::Exec* current = nullptr;
  std::unique_ptr<kernels::Exec> own;
};

ThreadExec& thread_exec(Device device) {
  thread_local std::array<ThreadExec, 2> execs;
  return execs[static_cast<std::size_t>(device)];
}

}  // namespace

kernels::Exec& current_exec(Device device) {
  ThreadExec& exec = thread_exec(device);
  if (exec.current) return *exec.current;
  if (!exec.own) exec.own = std::make_unique<kernels::Exec>(device);
  return *exec.own;
}

ExecScope::ExecScope(kernels::Exec& exec)
    : device_(exec.device()), previous_(std::exchange(thread_exec(device_).current, &exec)) {}

ExecScope::~ExecScope() {
  thread_exec(device_).current = previous_;
}

}  // namespace flatland
