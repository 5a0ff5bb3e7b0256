// Checked shared memory. Every element remembers who read and wrote it since the last barrier.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace cuda_on_cpu {

// The thread that runs now, as the checks need it. `epoch` grows at each block barrier and at each block's
// start. `known[l]`: accesses of lane l of this warp before this time are ordered before what this thread
// does now.
struct Now {
  std::uint64_t epoch = 1, first_epoch_of_block = 1;
  int warp = 0, lane = 0;
  std::uint32_t time = 0;  // of the warp; grows at each __syncwarp
  const std::uint32_t* known = nullptr;
};
extern Now now;

// Accesses to one element in one epoch, by lanes of one warp (or by `many` warps).
struct Accesses {
  static constexpr std::int16_t many = -1;
  std::uint64_t epoch = 0;
  std::uint32_t lanes = 0;
  std::uint32_t time = 0;
  std::int16_t warp = 0;
  bool atomic = false;

  bool ordered_before_now() const {
    if (epoch != now.epoch) return true;
    if (warp != now.warp) return false;
    for (std::uint32_t rest = lanes & ~(1u << now.lane); rest != 0; rest &= rest - 1)
      if (now.known[__builtin_ctz(rest)] <= time) return false;
    return true;
  }
  void set() { *this = {now.epoch, 1u << now.lane, now.time, static_cast<std::int16_t>(now.warp), false}; }
  void add() {
    if (ordered_before_now()) return set();
    if (warp != now.warp) warp = many;
    lanes |= 1u << now.lane;
    time = now.time;
  }
};

enum class SharedFault { index, unwritten, read_race, write_race, write_after_read };

class SharedMemory {
 public:
  SharedMemory(const void* key, const char* name, std::size_t count, std::size_t element_bytes);

  const void* key() const { return key_; }
  std::size_t element_bytes() const { return element_bytes_; }
  std::size_t bytes() const { return shadow_.size() * element_bytes_; }

  const std::byte* read(std::int64_t i) {
    Shadow& s = shadow_at(i);
    if (s.written.epoch < now.first_epoch_of_block) fault(SharedFault::unwritten, i);
    if (!s.written.ordered_before_now()) fault(SharedFault::read_race, i);
    s.read.add();
    return at(i);
  }
  std::byte* write(std::int64_t i) {
    Shadow& s = shadow_at(i);
    if (!s.written.ordered_before_now()) fault(SharedFault::write_race, i);
    if (!s.read.ordered_before_now()) fault(SharedFault::write_after_read, i);
    s.written.set();
    return at(i);
  }
  std::byte* update(std::int64_t i) {
    Shadow& s = shadow_at(i);
    if (s.written.epoch < now.first_epoch_of_block) fault(SharedFault::unwritten, i);
    const bool among_atomics = s.written.atomic && s.written.epoch == now.epoch;
    if (!among_atomics && !s.written.ordered_before_now()) fault(SharedFault::write_race, i);
    if (!s.read.ordered_before_now()) fault(SharedFault::write_after_read, i);
    if (among_atomics) {
      s.written.add();
    } else {
      s.written.set();
    }
    s.written.atomic = true;
    return at(i);
  }

 private:
  struct Shadow {
    Accesses written, read;
  };

  Shadow& shadow_at(std::int64_t i) {
    if (static_cast<std::size_t>(i) >= shadow_.size()) fault(SharedFault::index, i);
    return shadow_[static_cast<std::size_t>(i)];
  }
  std::byte* at(std::int64_t i) { return data_.get() + static_cast<std::size_t>(i) * element_bytes_; }
  [[noreturn]] void fault(SharedFault kind, std::int64_t i) const;

  const void* key_;
  std::string name_;
  std::size_t element_bytes_;
  std::vector<Shadow> shadow_;
  std::unique_ptr<std::byte[]> data_;
};

// The running block's array of that name; made at its first use in a launch.
SharedMemory& static_shared(const void* key, const char* name, std::size_t count, std::size_t element_bytes);
SharedMemory& dynamic_shared(const char* name, std::size_t element_bytes);

template <class T>
class SharedPointer;

// What name[i] gives: reads and writes go through the checks.
template <class T>
class SharedElement {
 public:
  SharedElement(SharedMemory& memory, std::int64_t i) : memory_(memory), i_(i) {}
  SharedElement(const SharedElement&) = delete;

  // Only a fresh name[i] converts: `auto v = name[i]` would be no copy, and does not compile where v is used.
  operator T() && { return load(); }
  T operator=(T v) && { return store(v); }
  T operator=(SharedElement&& other) && { return store(other.load()); }
  T operator+=(T v) && { return store(static_cast<T>(load() + v)); }
  T operator-=(T v) && { return store(static_cast<T>(load() - v)); }
  T operator*=(T v) && { return store(static_cast<T>(load() * v)); }
  T operator/=(T v) && { return store(static_cast<T>(load() / v)); }
  T operator|=(T v) && { return store(static_cast<T>(load() | v)); }
  T operator&=(T v) && { return store(static_cast<T>(load() & v)); }
  T operator^=(T v) && { return store(static_cast<T>(load() ^ v)); }
  T operator++() && { return store(static_cast<T>(load() + 1)); }
  T operator--() && { return store(static_cast<T>(load() - 1)); }
  T operator++(int) && {
    const T old = load();
    store(static_cast<T>(old + 1));
    return old;
  }
  T operator--(int) && {
    const T old = load();
    store(static_cast<T>(old - 1));
    return old;
  }
  SharedPointer<T> operator&() && { return {memory_, i_}; }

  template <class F>
  T update(F f) && {
    std::byte* p = memory_.update(i_);
    T old;
    std::memcpy(&old, p, sizeof(T));
    const T changed = f(old);
    std::memcpy(p, &changed, sizeof(T));
    return old;
  }

 private:
  T load() const {
    T v;
    std::memcpy(&v, memory_.read(i_), sizeof(T));
    return v;
  }
  T store(const T& v) const {
    std::memcpy(memory_.write(i_), &v, sizeof(T));
    return v;
  }

  SharedMemory& memory_;
  std::int64_t i_;
};

// A shared array, and a pointer into one.
template <class T>
class SharedPointer {
  static_assert(std::is_trivially_copyable_v<T>, "shared memory holds plain values");

 public:
  SharedPointer(SharedMemory& memory, std::int64_t first) : memory_(&memory), first_(first) {}

  template <class I>
  SharedElement<T> operator[](I i) const {
    return {*memory_, first_ + static_cast<std::int64_t>(i)};
  }
  SharedElement<T> operator*() const { return {*memory_, first_}; }
  SharedPointer operator+(std::int64_t n) const { return {*memory_, first_ + n}; }

 private:
  SharedMemory* memory_;
  std::int64_t first_;
};

}  // namespace cuda_on_cpu

// FLATLAND_SHARED(float, tile, 32 * 33);  tile[i] = x;
#define FLATLAND_SHARED(T, name, count)           \
  static char name##_key;                         \
  constexpr ::std::size_t name##_count = (count); \
  const ::cuda_on_cpu::SharedPointer<T> name(     \
      ::cuda_on_cpu::static_shared(&name##_key, #name, name##_count, sizeof(T)), 0)
// As many elements as the launch gave bytes for; one type a kernel.
#define FLATLAND_DYNAMIC_SHARED(T, name) \
  const ::cuda_on_cpu::SharedPointer<T> name(::cuda_on_cpu::dynamic_shared(#name, sizeof(T)), 0)
