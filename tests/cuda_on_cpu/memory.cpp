#include "memory.h"

#include "scheduler.h"

#include <cuda_on_cpu/control.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>

namespace cuda_on_cpu {

namespace {

constexpr std::size_t k_alignment = 256;
constexpr std::size_t k_guard_bytes = 512;
// Opening and closing a range costs time for every page of it, so these are large where the system has such.
constexpr std::size_t k_page = std::size_t{2} << 20;
constexpr std::size_t k_kept_bytes = std::size_t{16} << 20;
// Addresses, not memory.
constexpr std::size_t k_reserved = std::size_t{64} << 30;
// As float and as double a NaN, as an integer neither 0 nor -1.
constexpr std::uint32_t k_guard_word = 0xfff5a5a5u;

// The device's addresses are one range that is closed to the host. Blocks lie between guard zones.
class DeviceMemory {
 public:
  static DeviceMemory& instance() {
    static auto& memory = *new DeviceMemory;  // other static objects may still free
    return memory;
  }

  struct Block {
    std::size_t bytes;
    int number;  // of its allocation
  };
  using Blocks = std::map<std::byte*, Block>;

  std::byte* allocate(std::size_t bytes) {
    if (bytes > total - std::min(total, used_)) return nullptr;
    const std::size_t need = room(bytes);
    std::byte* place = base_;
    for (const auto& [p, block] : blocks_) {
      std::byte* const begin = p - k_guard_bytes;
      if (static_cast<std::size_t>(begin - place) >= need) break;
      place = begin + room(block.bytes);
    }
    if (place + need > base_ + k_reserved) return nullptr;
    if (const std::size_t end = end_of_pages(place + need); end > high_) grow(end);
    const DeviceAccess access;
    std::byte* const p = place + k_guard_bytes;
    blocks_[p] = {bytes, ++numbers_};
    used_ += bytes;
    std::memset(p, 0xff, bytes);
    write_guards(p, bytes);
    return p;
  }

  bool free(std::byte* p) {
    const auto found = blocks_.find(p);
    if (found == blocks_.end()) return false;
    const DeviceAccess access;
    std::memset(p, 0xff, found->second.bytes);
    used_ -= found->second.bytes;
    blocks_.erase(found);
    shrink();
    return true;
  }

  void open() {
    if (open_++ > 0) return;
    watch_faults();
    if (protect_) set_access(true);
  }
  void close() {
    if (--open_ == 0 && protect_) set_access(false);
  }

  bool contains(const void* p) const { return p >= base_ && p < base_ + k_reserved; }
  // The block that p points into or to the end of; the last block before it otherwise.
  Blocks::const_iterator block_before(const void* p) const {
    auto next = blocks_.upper_bound(const_cast<std::byte*>(static_cast<const std::byte*>(p)));
    return next == blocks_.begin() ? blocks_.end() : --next;
  }
  const Blocks& blocks() const { return blocks_; }
  std::size_t used() const { return used_; }
  static std::size_t padded(std::size_t bytes) {
    return (bytes + k_alignment - 1) / k_alignment * k_alignment;
  }

  // The byte nearest to the block that differs, counted from its end (>= 0) or back from its beginning (< 0).
  static bool find_damage(const std::byte* p, std::size_t bytes, std::ptrdiff_t& where) {
    const std::byte* const end = p + padded(bytes) + k_guard_bytes;
    for (const std::byte* q = p + bytes; q < end; ++q)
      if (*q != guard_byte(q)) return where = q - (p + bytes), true;
    for (const std::byte* q = p; q-- > p - k_guard_bytes;)
      if (*q != guard_byte(q)) return where = q - p, true;
    return false;
  }
  static bool intact(const std::byte* p, std::size_t bytes) {
    const std::byte* const tail = p + padded(bytes);
    if (std::memcmp(p - k_guard_bytes, guard(), k_guard_bytes) != 0) return false;
    if (std::memcmp(tail, guard(), k_guard_bytes) != 0) return false;
    return std::memcmp(p + bytes, guard() + bytes % 4, static_cast<std::size_t>(tail - (p + bytes))) == 0;
  }
  static void write_guards(std::byte* p, std::size_t bytes) {
    std::byte* const tail = p + padded(bytes);
    std::memcpy(p - k_guard_bytes, guard(), k_guard_bytes);
    std::memcpy(tail, guard(), k_guard_bytes);
    std::memcpy(p + bytes, guard() + bytes % 4, static_cast<std::size_t>(tail - (p + bytes)));
  }

  std::size_t total = std::size_t{4} << 30;

 private:
  DeviceMemory() {
    void* p =
        mmap(nullptr, k_reserved + k_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw Error("cuda_on_cpu: no room for the device's addresses");
    std::size_t room = k_reserved + k_page;
    base_ = static_cast<std::byte*>(std::align(k_page, k_reserved, p, room));
    madvise(base_, k_reserved, MADV_HUGEPAGE);
    const char* text = std::getenv("FLATLAND_CUDA_PROTECT");
    protect_ = text == nullptr || std::strcmp(text, "0") != 0;
    if (protect_) key_ = pkey_alloc(0, PKEY_DISABLE_ACCESS);
  }

  static std::size_t room(std::size_t bytes) { return padded(bytes) + 2 * k_guard_bytes; }
  static const std::byte* guard() {
    static const auto words = [] {
      std::array<std::uint32_t, k_guard_bytes / 4 + 1> words;
      words.fill(k_guard_word);
      return words;
    }();
    return reinterpret_cast<const std::byte*>(words.data());
  }
  static std::byte guard_byte(const std::byte* at) {
    return guard()[reinterpret_cast<std::uintptr_t>(at) % 4];
  }
  std::size_t end_of_pages(const std::byte* end) const {
    return (static_cast<std::size_t>(end - base_) + k_page - 1) / k_page * k_page;
  }

  // Pages in use are closed to the host by a protection key, or one by one where the machine has no keys.
  void grow(std::size_t end) {
    const int access = PROT_READ | PROT_WRITE;
    if (key_ >= 0) {
      pkey_mprotect(base_ + high_, end - high_, access, key_);
    } else if (open_ > 0 || !protect_) {
      mprotect(base_ + high_, end - high_, access);
    }
    high_ = end;
  }
  // Much memory behind the last block goes back to the system.
  void shrink() {
    const auto last = blocks_.rbegin();
    const std::size_t end =
        last == blocks_.rend() ? 0 : end_of_pages(last->first + padded(last->second.bytes) + k_guard_bytes);
    if (high_ - end < k_kept_bytes) return;
    madvise(base_ + end, high_ - end, MADV_DONTNEED);
    mprotect(base_ + end, high_ - end, PROT_NONE);
    high_ = end;
  }
  void set_access(bool on) {
    if (key_ >= 0) {
      pkey_set(key_, on ? 0 : PKEY_DISABLE_ACCESS);
    } else if (high_ > 0) {
      mprotect(base_, high_, on ? PROT_READ | PROT_WRITE : PROT_NONE);
    }
  }

  std::byte* base_ = nullptr;
  std::size_t high_ = 0;  // bytes from base_ on that have pages
  int key_ = -1;
  std::size_t used_ = 0;
  int open_ = 0;
  int numbers_ = 0;
  bool protect_ = true;
  Blocks blocks_;
};

auto& pinned = *new std::map<const std::byte*, std::size_t>;

std::string describe(const DeviceMemory::Blocks::value_type& block) {
  std::ostringstream text;
  text << "a block of " << block.second.bytes << " bytes at " << static_cast<const void*>(block.first)
       << " (cudaMalloc number " << block.second.number << ")";
  return text.str();
}

}  // namespace

DeviceAccess::DeviceAccess() {
  DeviceMemory::instance().open();
}
DeviceAccess::~DeviceAccess() {
  DeviceMemory::instance().close();
}

void* allocate_device(std::size_t bytes) {
  return DeviceMemory::instance().allocate(bytes);
}
bool free_device(void* p) {
  return DeviceMemory::instance().free(static_cast<std::byte*>(p));
}

void* allocate_pinned(std::size_t bytes) {
  void* const p = std::malloc(std::max<std::size_t>(bytes, 1));
  if (p != nullptr) pinned[static_cast<std::byte*>(p)] = bytes;
  return p;
}
bool free_pinned(void* p) {
  if (pinned.erase(static_cast<std::byte*>(p)) == 0) return false;
  std::free(p);
  return true;
}

MemorySize memory_size() {
  const DeviceMemory& memory = DeviceMemory::instance();
  return {memory.total - std::min(memory.total, memory.used()), memory.total};
}
void set_memory(std::size_t bytes) {
  DeviceMemory::instance().total = bytes;
}

Place place_of(const void* p) {
  if (DeviceMemory::instance().contains(p)) return Place::device;
  const auto next = pinned.upper_bound(static_cast<const std::byte*>(p));
  if (next == pinned.begin()) return Place::host;
  const auto& [begin, bytes] = *std::prev(next);
  return p <= begin + bytes ? Place::pinned : Place::host;
}

void check_device_range(const void* p, std::size_t bytes, const std::string& who) {
  if (bytes == 0) return;
  const DeviceMemory& memory = DeviceMemory::instance();
  std::ostringstream text;
  text << who << ' ' << p << " (" << bytes << " bytes)";
  if (!memory.contains(p)) throw Error(text.str() + " is not device memory");
  const auto block = memory.block_before(p);
  if (block == memory.blocks().end() || p >= block->first + block->second.bytes)
    throw Error(text.str() + " is no live block of device memory");
  const std::size_t rest =
      static_cast<std::size_t>(block->first + block->second.bytes - static_cast<const std::byte*>(p));
  if (bytes > rest)
    throw Error(text.str() + " ends " + std::to_string(bytes - rest) + " bytes behind " + describe(*block));
}

void check_kernel_pointer(const void* p, const void* kernel) {
  if (p == nullptr) return;
  const Place place = place_of(p);
  if (place == Place::pinned) return;
  const DeviceMemory& memory = DeviceMemory::instance();
  const auto block = memory.block_before(p);
  if (place == Place::device && block != memory.blocks().end() && p <= block->first + block->second.bytes)
    return;
  std::ostringstream text;
  text << "kernel " << kernel_name(kernel) << " is given " << p << ", which is ";
  if (place == Place::host) throw Error(text.str() + "memory of the host; a kernel needs device memory");
  throw Error(text.str() + "in no live block of device memory (freed?)");
}

void check_guards(const void* kernel) {
  const DeviceAccess access;
  for (const auto& entry : DeviceMemory::instance().blocks()) {
    const auto& [p, block] = entry;
    if (DeviceMemory::intact(p, block.bytes)) continue;
    std::ptrdiff_t where = 0;
    DeviceMemory::find_damage(p, block.bytes, where);
    DeviceMemory::write_guards(p, block.bytes);
    std::ostringstream text;
    text << "kernel " << kernel_name(kernel) << " wrote " << (where < 0 ? -where : where) << " bytes "
         << (where < 0 ? "before the begin" : "behind the end") << " of " << describe(entry);
    throw Error(text.str());
  }
}

}  // namespace cuda_on_cpu
