#include "fiber.h"

#include <sys/mman.h>
#include <boost/context/detail/fcontext.hpp>

#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define CUDA_ON_CPU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDA_ON_CPU_ASAN 1
#endif
#endif

#ifdef CUDA_ON_CPU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
namespace {
void __sanitizer_start_switch_fiber(void**, const void*, std::size_t) {}
void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*) {}
void __asan_unpoison_memory_region(const void*, std::size_t) {}
}  // namespace
#endif

namespace cuda_on_cpu {

namespace context = boost::context::detail;

namespace {
constexpr std::size_t k_guard_bytes = 4096;
// Only the pages that a kernel touches cost memory.
constexpr std::size_t k_stack_bytes = std::size_t{256} << 10;
// Stacks begin at different places of a page, so that their hot ends share no cache set.
constexpr std::size_t k_cache_line = 64;
std::size_t stagger() {
  static std::size_t fibers = 0;
  return fibers++ * 9 % 64 * k_cache_line;
}

std::byte* stack_of(void* memory) {
  return static_cast<std::byte*>(memory) + k_guard_bytes;
}

// Where resume was called, and the fiber that is being entered for the first time.
struct Host {
  void* context = nullptr;
  void* fake = nullptr;
  const void* stack = nullptr;
  std::size_t stack_bytes = 0;
} host;
Fiber* entered = nullptr;
}  // namespace

Fiber::Fiber(void (*entry)()) : entry_(entry), stack_bytes_(k_stack_bytes - stagger()) {
  memory_ = mmap(nullptr, k_guard_bytes + k_stack_bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory_ == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory_, k_guard_bytes, PROT_NONE);
  restart();
}

Fiber::~Fiber() {
  __asan_unpoison_memory_region(stack_of(memory_), stack_bytes_);
  munmap(memory_, k_guard_bytes + k_stack_bytes);
}

void Fiber::restart() {
  __asan_unpoison_memory_region(stack_of(memory_), stack_bytes_);
  own_fake_ = nullptr;
  own_ = context::make_fcontext(stack_of(memory_) + stack_bytes_, stack_bytes_, [](context::transfer_t from) {
    Fiber& self = *entered;
    self.arrive(from.data, from.fctx);
    self.entry_();
  });
}

// On the fiber, coming from another stack: `left` is where the context of that one is kept.
void Fiber::arrive(void* left, void* context) {
  *static_cast<void**>(left) = context;
  const bool from_host = left == &host.context;
  __sanitizer_finish_switch_fiber(own_fake_, from_host ? &host.stack : nullptr,
                                  from_host ? &host.stack_bytes : nullptr);
}

void Fiber::resume() {
  __sanitizer_start_switch_fiber(&host.fake, stack_of(memory_), stack_bytes_);
  entered = this;
  const context::transfer_t from = context::jump_fcontext(own_, &host.context);
  *static_cast<void**>(from.data) = from.fctx;
  __sanitizer_finish_switch_fiber(host.fake, nullptr, nullptr);
}

void Fiber::suspend() {
  __sanitizer_start_switch_fiber(&own_fake_, host.stack, host.stack_bytes);
  const context::transfer_t from = context::jump_fcontext(host.context, &own_);
  arrive(from.data, from.fctx);
}

void Fiber::switch_to(Fiber& other) {
  __sanitizer_start_switch_fiber(&own_fake_, stack_of(other.memory_), other.stack_bytes_);
  entered = &other;
  const context::transfer_t from = context::jump_fcontext(other.own_, &own_);
  arrive(from.data, from.fctx);
}

bool Fiber::overflowed_at(const void* p) const {
  const std::byte* guard = static_cast<std::byte*>(memory_);
  return p >= guard && p < guard + k_guard_bytes;
}

}  // namespace cuda_on_cpu
