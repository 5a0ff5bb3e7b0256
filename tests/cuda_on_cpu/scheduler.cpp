#include "scheduler.h"

#include <cuda_on_cpu/control.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <numeric>
#include <optional>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_on_cpu {

Now now;

namespace {

// SplitMix64, to shuffle with.
struct Random {
  std::uint64_t state;
  std::uint64_t below(std::uint64_t n) {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % n;
  }
};

template <class Int>
void put_in_order(std::vector<Int>& order, std::uint64_t n) {
  const auto [kind, seed] = cuda_on_cpu::order();
  order.resize(n);
  std::iota(order.begin(), order.end(), Int{0});
  if (kind == Order::reverse) std::reverse(order.begin(), order.end());
  if (kind != Order::shuffled) return;
  Random random{seed};
  for (std::uint64_t i = n; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
}

Order order_of_environment() {
  const char* text = std::getenv("FLATLAND_CUDA_ORDER");
  if (text == nullptr || *text == 0) return {};
  if (std::string(text) == "reverse") return {Order::reverse, 0};
  char* end = nullptr;
  const std::uint64_t seed = std::strtoull(text, &end, 10);
  if (*end != 0) throw Error("FLATLAND_CUDA_ORDER is " + std::string(text) + "; give 'reverse' or a number");
  return {Order::shuffled, seed};
}

std::optional<Order> chosen_order;

}  // namespace

void set_order(Order order) {
  chosen_order = order;
}

Order order() {
  if (!chosen_order) chosen_order = order_of_environment();
  return *chosen_order;
}

Scheduler& Scheduler::instance() {
  static auto& scheduler = *new Scheduler;
  return scheduler;
}

void Scheduler::prepare(const Launch& launch) {
  const dim3 block = launch.block, grid = launch.grid;
  blockDim = block;
  gridDim = grid;
  n_ = static_cast<int>(block.x * block.y * block.z);
  threads_.resize(static_cast<std::size_t>(n_));
  for (unsigned i = 0; i < threads_.size(); ++i)
    threads_[i].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
  warps_.resize((threads_.size() + 31) / 32);
  put_in_order(order_, threads_.size());
  shared_.clear();
  dynamic_ = nullptr;
}

void Scheduler::run(const Launch& launch) {
  if (launch_ != nullptr) fail("launches a kernel");
  prepare(launch);
  launch_ = &launch;
  struct Finish {
    Scheduler& scheduler;
    ~Finish() { scheduler.launch_ = nullptr; }
  } finish{*this};

  const std::uint64_t x = launch.grid.x, y = launch.grid.y, blocks = x * y * launch.grid.z;
  const Order::Kind kind = order().kind;
  std::vector<std::uint64_t> shuffled;
  if (kind == Order::shuffled) put_in_order(shuffled, blocks);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::uint64_t b = kind == Order::shuffled  ? shuffled[i]
                            : kind == Order::reverse ? blocks - 1 - i
                                                     : i;
    blockIdx = {static_cast<unsigned>(b % x), static_cast<unsigned>(b / x % y),
                static_cast<unsigned>(b / x / y)};
    run_block();
  }
}

void Scheduler::run_block() {
  next_ = 0;
  live_ = n_;
  now.first_epoch_of_block = ++now.epoch;
  for (std::size_t w = 0; w < warps_.size(); ++w) {
    const int lanes = std::min(32, n_ - static_cast<int>(32 * w));
    warps_[w].exited = lanes == 32 ? 0 : ~0u << lanes;
    if (warps_[w].time != 0) warps_[w].known = {};
    warps_[w].time = 0;
  }
  running_ = next_fiber();
  if (running_ != nullptr) running_->resume();
  if (!error_ && live_ == 0) return;
  const std::exception_ptr error =
      error_ ? std::exchange(error_, nullptr) : std::make_exception_ptr(Error(deadlock()));
  abandon();
  std::rethrow_exception(error);
}

// Whose turn it is: a thread's that may go on, else a free one's, to give other threads their first turn.
// None: after an error, and when all are at their end or wait.
Fiber* Scheduler::next_fiber() {
  if (error_) return nullptr;
  if (ready_first_ != ready_end_) {
    Thread& thread = threads_[static_cast<std::size_t>(ready_[ready_first_++ % ready_.size()])];
    return std::exchange(thread.fiber, nullptr);
  }
  if (next_ >= n_) return nullptr;
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>([] {
      Scheduler& scheduler = instance();
      while (true) {
        scheduler.work();
        scheduler.idle_.push_back(scheduler.running_);
        scheduler.leave_fiber();
      }
    }));
    idle_.push_back(fibers_.back().get());
  }
  Fiber* const fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

// On a fiber: straight to the next one, or to the host when there is none.
void Scheduler::leave_fiber() {
  Fiber* const own = running_;
  running_ = next_fiber();
  if (running_ != nullptr) {
    own->switch_to(*running_);
  } else {
    own->suspend();
  }
}

// On a fiber: gives threads their first turn, one after another, as long as none of them waits.
void Scheduler::work() {
  try {
    while (next_ < n_ && ready_first_ == ready_end_) {
      enter(order_[static_cast<std::size_t>(next_++)]);
      launch_->thread();
      exit_thread();
    }
  } catch (...) {
    error_ = std::current_exception();
  }
}

void Scheduler::enter(int thread) {
  current_ = thread;
  threadIdx = threads_[static_cast<std::size_t>(thread)].index;
  const Warp& warp = warps_[static_cast<std::size_t>(thread / 32)];
  now.warp = thread / 32;
  now.lane = thread % 32;
  now.time = warp.time;
  now.known = warp.known[static_cast<std::size_t>(now.lane)].data();
}

void Scheduler::wait() {
  const int thread = current_;
  threads_[static_cast<std::size_t>(thread)].fiber = running_;
  leave_fiber();
  enter(thread);
}

void Scheduler::push_ready(int thread) {
  ready_[ready_end_++ % ready_.size()] = thread;
}

void Scheduler::exit_thread() {
  --live_;
  if (!at_barrier_.empty() && static_cast<int>(at_barrier_.size()) == live_) release_barrier();
  Warp& warp = warps_[static_cast<std::size_t>(current_ / 32)];
  warp.exited |= 1u << (current_ % 32);
  for (std::size_t g = warp.groups.size(); g-- > 0;)
    if (complete(warp, warp.groups[g])) release_group(current_ / 32, g);
}

int Scheduler::block_barrier(Barrier kind, bool predicate, const Where& where) {
  if (at_barrier_.empty()) {
    barrier_kind_ = kind;
    barrier_count_ = 0;
  } else {
    const int first = at_barrier_.front();
    const Where& other = threads_[static_cast<std::size_t>(first)].where;
    const bool same =
        other.line == where.line && (other.file == where.file || std::strcmp(other.file, where.file) == 0);
    if (!same)
      fail("waits at another barrier (line " + std::to_string(where.line) + ") than " + thread_name(first) +
           " (line " + std::to_string(other.line) + "); all threads of a block must reach the same one");
  }
  threads_[static_cast<std::size_t>(current_)].where = where;
  at_barrier_.push_back(current_);
  barrier_count_ += predicate;
  if (static_cast<int>(at_barrier_.size()) == live_) {
    at_barrier_.pop_back();
    release_barrier();
    enter(current_);
  } else {
    wait();
  }
  return static_cast<int>(threads_[static_cast<std::size_t>(current_)].value);
}

// All that are alive have arrived: those that wait, and the calling thread unless it has exited.
void Scheduler::release_barrier() {
  const int count = barrier_count_;
  const int result = barrier_kind_ == Barrier::any   ? count > 0
                     : barrier_kind_ == Barrier::all ? count == live_
                                                     : count;
  for (int thread : at_barrier_) {
    threads_[static_cast<std::size_t>(thread)].value = static_cast<std::uint64_t>(result);
    push_ready(thread);
  }
  threads_[static_cast<std::size_t>(current_)].value = static_cast<std::uint64_t>(result);
  at_barrier_.clear();
  ++now.epoch;
}

bool Scheduler::complete(const Warp& warp, const Group& group) const {
  return (group.mask & ~warp.exited) == group.arrived;
}

std::uint64_t Scheduler::warp_wait(WarpOp op, unsigned mask, std::uint64_t value, int source,
                                   const Where& where) {
  const int w = current_ / 32;
  const unsigned bit = 1u << (current_ % 32);
  Warp& warp = warps_[static_cast<std::size_t>(w)];
  Thread& thread = threads_[static_cast<std::size_t>(current_)];
  thread.where = where;
  thread.value = value;
  thread.source = source;
  if ((mask & bit) == 0) fail("is not in the mask that it gives");
  std::size_t g = 0;
  while (g < warp.groups.size() && (warp.groups[g].op != op || warp.groups[g].mask != mask)) ++g;
  if (g == warp.groups.size()) warp.groups.push_back({op, mask, 0});
  warp.groups[g].arrived |= bit;
  if (complete(warp, warp.groups[g])) {
    release_group(w, g);
    enter(current_);
  } else {
    wait();
  }
  return thread.value;
}

// The calling thread goes on by itself where it is one of them.
void Scheduler::release_group(int w, std::size_t g) {
  Warp& warp = warps_[static_cast<std::size_t>(w)];
  const Group group = warp.groups[g];
  warp.groups.erase(warp.groups.begin() + static_cast<std::ptrdiff_t>(g));
  if (group.op == WarpOp::sync) {
    order_memory(warp, group.arrived);
  } else {
    exchange(w, group);
  }
  for (unsigned rest = group.arrived; rest != 0; rest &= rest - 1)
    if (const int thread = 32 * w + std::countr_zero(rest); thread != current_) push_ready(thread);
}

void Scheduler::exchange(int w, const Group& group) {
  Thread* lanes = &threads_[static_cast<std::size_t>(32 * w)];
  const bool shuffles = group.op >= WarpOp::shfl;
  std::array<std::uint64_t, 32> given{};
  std::uint64_t votes = 0;
  for (unsigned rest = group.arrived; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<unsigned>(std::countr_zero(rest));
    given[lane] = lanes[lane].value;
    if (given[lane] != 0) votes |= 1u << lane;
  }
  for (unsigned rest = group.arrived; rest != 0; rest &= rest - 1) {
    Thread& thread = lanes[std::countr_zero(rest)];
    const auto source = static_cast<unsigned>(thread.source);
    if (shuffles && (source > 31 || (group.arrived >> source & 1) == 0)) {
      current_ = 32 * w + std::countr_zero(rest);
      fail("shuffles from lane " + std::to_string(thread.source) + ", which does not take part (line " +
           std::to_string(thread.where.line) + "); the value is undefined");
    }
    thread.value = shuffles ? given[source] : votes;
  }
}

// __syncwarp: what these lanes did so far, and what they knew of others, all of them now know.
void Scheduler::order_memory(Warp& warp, unsigned lanes) {
  ++warp.time;
  std::array<std::uint32_t, 32> all{};
  for (unsigned rest = lanes; rest != 0; rest &= rest - 1) {
    const auto& known = warp.known[static_cast<std::size_t>(std::countr_zero(rest))];
    for (std::size_t q = 0; q < 32; ++q) all[q] = std::max(all[q], known[q]);
  }
  for (std::size_t q = 0; q < 32; ++q)
    if (lanes >> q & 1) all[q] = warp.time;
  for (std::size_t p = 0; p < 32; ++p)
    if (lanes >> p & 1) warp.known[p] = all;
}

// After an error: what still waits will never go on.
void Scheduler::abandon() {
  for (Thread& thread : threads_) {
    if (thread.fiber == nullptr) continue;
    thread.fiber->restart();
    idle_.push_back(std::exchange(thread.fiber, nullptr));
  }
  for (Warp& warp : warps_) warp.groups.clear();
  at_barrier_.clear();
  ready_first_ = ready_end_ = 0;
}

SharedMemory& Scheduler::shared(const void* key, const char* name, std::size_t count,
                                std::size_t element_bytes) {
  for (const auto& memory : shared_)
    if (memory->key() == key) return *memory;
  shared_.push_back(std::make_unique<SharedMemory>(key, name, count, element_bytes));
  std::size_t total = 0;
  for (const auto& memory : shared_)
    if (memory->key() != nullptr) total += memory->bytes();
  if (total > k_shared_bytes)
    fail("has " + std::to_string(total) + " bytes of static shared memory; 49152 is the limit");
  if (total + launch_->shared_bytes > k_shared_bytes_optin)
    fail("has " + std::to_string(total) + " bytes of static and " + std::to_string(launch_->shared_bytes) +
         " of dynamic shared memory; 232448 is the limit of both");
  return *shared_.back();
}

SharedMemory& Scheduler::dynamic_shared(const char* name, std::size_t element_bytes) {
  if (dynamic_ == nullptr) {
    SharedMemory& memory = shared(nullptr, name, launch_->shared_bytes / element_bytes, element_bytes);
    dynamic_ = &memory;
  }
  if (dynamic_->element_bytes() != element_bytes)
    fail("takes dynamic shared memory as elements of " + std::to_string(dynamic_->element_bytes()) +
         " and of " + std::to_string(element_bytes) + " bytes; one type a kernel");
  return *dynamic_;
}

int block_barrier(Barrier kind, bool predicate, const Where& where) {
  return Scheduler::instance().block_barrier(kind, predicate, where);
}
std::uint64_t warp_wait(WarpOp op, unsigned mask, std::uint64_t value, int source, const Where& where) {
  return Scheduler::instance().warp_wait(op, mask, value, source, where);
}
SharedMemory& static_shared(const void* key, const char* name, std::size_t count, std::size_t element_bytes) {
  return Scheduler::instance().shared(key, name, count, element_bytes);
}
SharedMemory& dynamic_shared(const char* name, std::size_t element_bytes) {
  return Scheduler::instance().dynamic_shared(name, element_bytes);
}

}  // namespace cuda_on_cpu
