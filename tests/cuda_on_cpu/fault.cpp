// Says why the program faults: the host touched device memory, or a thread's stack is too small.
#include "memory.h"
#include "scheduler.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>

namespace cuda_on_cpu {

namespace {

struct sigaction previous;

void say(const char* text) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
}

// Then leaves the fault to whoever had it before.
void on_fault(int, siginfo_t* info, void*) {
  const Scheduler& scheduler = Scheduler::instance();
  if (scheduler.running()) {
    say("cuda_on_cpu: ");
    say(scheduler.place().c_str());
    say(scheduler.stack_overflowed_at(info->si_addr) ? ": its stack of 256 KiB overflowed\n"
        : info->si_addr == nullptr                   ? ": it uses a null pointer\n"
                                                     : ": it uses an address where no memory is\n");
  } else if (place_of(info->si_addr) == Place::device) {
    say("cuda_on_cpu: the host touches device memory; use cudaMemcpy (FLATLAND_CUDA_PROTECT=0 allows it)\n");
  }
  sigaction(SIGSEGV, &previous, nullptr);
}

}  // namespace

// Test programs change the handler from test to test.
void watch_faults() {
  struct sigaction now {};
  sigaction(SIGSEGV, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_fault) return;
  previous = now;
  struct sigaction ours {};
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &ours, nullptr);
}

bool Scheduler::stack_overflowed_at(const void* p) const {
  for (const auto& fiber : fibers_)
    if (fiber->overflowed_at(p)) return true;
  return false;
}

}  // namespace cuda_on_cpu
