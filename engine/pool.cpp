#include <flatland/engine/pool.h>
#include <flatland/kernels/memory.h>

#include <array>
#include <bit>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define FLATLAND_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FLATLAND_ASAN 1
#endif
#endif
#ifdef FLATLAND_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace flatland {

namespace {

constexpr std::size_t k_alignment = 64;
constexpr std::size_t k_linear_limit = 1024;  // multiples of 64 up to here, then four classes an octave
constexpr int k_linear_classes = static_cast<int>(k_linear_limit / k_alignment);
constexpr std::size_t k_largest_kept = std::size_t{256} << 20;  // larger blocks go back at once

struct SizeClass {
  int index;
  std::size_t size;
};

// At most a quarter of a block is wasted above the linear part.
constexpr SizeClass size_class(std::size_t bytes) {
  const std::size_t last = bytes > 0 ? bytes - 1 : 0;
  if (last < k_linear_limit) {
    const std::size_t i = last / k_alignment;
    return {static_cast<int>(i), (i + 1) * k_alignment};
  }
  const int octave = std::bit_width(last) - 1;
  const std::size_t step = std::size_t{1} << (octave - 2);
  const std::size_t quarter = (last - (std::size_t{1} << octave)) / step;
  return {k_linear_classes + (octave - 10) * 4 + static_cast<int>(quarter),
          (std::size_t{1} << octave) + (quarter + 1) * step};
}
static_assert(size_class(1024).index == 15 && size_class(1025).index == 16 && size_class(1280).size == 1280);
static_assert(size_class(1281).size == 1536 && size_class(2048).index == 19 && size_class(2049).index == 20);

constexpr int k_classes = size_class(k_largest_kept).index + 1;

// Under AddressSanitizer only the bytes asked for, and only while they live, may be touched.
void forbid([[maybe_unused]] Device device, [[maybe_unused]] void* p, [[maybe_unused]] std::size_t size) {
#ifdef FLATLAND_ASAN
  if (device == Device::cpu) __asan_poison_memory_region(p, size);
#endif
}
void permit([[maybe_unused]] Device device, [[maybe_unused]] void* p, [[maybe_unused]] std::size_t size) {
#ifdef FLATLAND_ASAN
  if (device == Device::cpu) __asan_unpoison_memory_region(p, size);
#endif
}

using detail::GraphMemory;

class Pool {
 public:
  explicit Pool(Device device) : device_(device) {}

  void* allocate(std::size_t bytes) {
    const SizeClass c = size_class(bytes);
    const std::lock_guard lock(mutex_);
    void* block = nullptr;
    if (c.index < k_classes && !free_blocks(c).empty()) {
      block = free_blocks(c).back();
      free_blocks(c).pop_back();
      if (!records()) cached_ -= c.size;
    } else {
      block = fresh(c, bytes);
    }
    in_use_ += c.size;
    permit(device_, block, bytes);
    return block;
  }

  void free(void* block, std::size_t bytes) noexcept {
    const SizeClass c = size_class(bytes);
    const std::lock_guard lock(mutex_);
    in_use_ -= c.size;
    if (c.index >= k_classes) {
      permit(device_, block, c.size);
      --large_;
      if (records()) return recorded_.large.push_back(block);  // room was reserved when the block was made
      return kernels::free_memory(device_, block);
    }
    forbid(device_, block, c.size);
    free_blocks(c).push_back(block);  // room was reserved when the block was made
    if (!records()) cached_ += c.size;
  }

  // One recording at a time holds this.
  std::mutex& recording() { return recording_; }
  // While a graph is recorded, what its thread frees stays where it is: the graph uses it again.
  void begin_recording() {
    const std::lock_guard lock(mutex_);
    recorded_.classes.resize(k_classes);
    for (std::size_t i = 0; i < k_classes; ++i) recorded_.classes[i].reserve(classes_[i].made);
    recorded_.large.reserve(large_);
    recorder_ = std::this_thread::get_id();
  }
  // What the graph is to keep.
  GraphMemory::Blocks end_recording() {
    const std::lock_guard lock(mutex_);
    recorder_ = {};
    return std::exchange(recorded_, {});
  }
  void take_back(GraphMemory::Blocks& blocks) noexcept {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < blocks.classes.size(); ++i) {
      for (void* block : blocks.classes[i]) classes_[i].free.push_back(block);
      cached_ += blocks.classes[i].size() * classes_[i].size;
    }
    for (void* block : blocks.large) kernels::free_memory(device_, block);
    blocks = {};
  }

  std::size_t release() {
    const std::lock_guard lock(mutex_);
    return release_locked();
  }

  MemoryUse use() {
    const std::lock_guard lock(mutex_);
    return {in_use_, cached_, system_allocations_};
  }

 private:
  struct Class {
    std::vector<void*> free;
    std::size_t made = 0;  // living and free blocks
    std::size_t size = 0;
  };
  static std::size_t at(SizeClass c) { return static_cast<std::size_t>(c.index); }

  // Is this the thread that records a graph? It has free blocks of its own.
  bool records() const { return recorder_ == std::this_thread::get_id(); }
  std::vector<void*>& free_blocks(SizeClass c) {
    return records() ? recorded_.classes[at(c)] : classes_[at(c)].free;
  }
  static void make_room(std::vector<void*>& blocks, std::size_t count) {
    if (blocks.capacity() < count) blocks.reserve(2 * count + 8);
  }

  void* fresh(SizeClass c, std::size_t bytes) {
    if (c.index < k_classes) {
      Class& kept = classes_[at(c)];
      kept.size = c.size;
      make_room(kept.free, kept.made + 1);
      if (recorder_ != std::thread::id()) make_room(recorded_.classes[at(c)], kept.made + 1);
    } else if (recorder_ != std::thread::id()) {
      make_room(recorded_.large, large_ + recorded_.large.size() + 1);
    }
    void* block = kernels::allocate_memory(device_, c.size);
    if (!block) {
      release_locked();
      block = kernels::allocate_memory(device_, c.size);
    }
    if (!block) {
      kernels::fail_out_of_memory("memory (" + std::to_string(in_use_) + " bytes are in use)", device_,
                                  bytes);
    }
    ++(c.index < k_classes ? classes_[at(c)].made : large_);
    ++system_allocations_;
    forbid(device_, block, c.size);
    return block;
  }

  std::size_t release_locked() {
    const std::size_t released = cached_;
    for (Class& c : classes_) {
      for (void* block : c.free) {
        permit(device_, block, c.size);
        kernels::free_memory(device_, block);
      }
      c.made -= c.free.size();
      c.free.clear();
    }
    cached_ = 0;
    return released;
  }

  Device device_;
  std::mutex mutex_;
  std::array<Class, k_classes> classes_;
  std::size_t large_ = 0;  // living blocks above all classes
  std::mutex recording_;
  std::thread::id recorder_;      // none while no graph is recorded
  GraphMemory::Blocks recorded_;  // what its thread freed
  std::size_t in_use_ = 0;
  std::size_t cached_ = 0;
  std::uint64_t system_allocations_ = 0;
};

// Never destroyed: tensors of static storage duration may outlive any order of destruction.
Pool& pool(Device device) {
  static Pool& cpu = *new Pool(Device::cpu);
  static Pool& cuda = *new Pool(Device::cuda);
  return device == Device::cpu ? cpu : cuda;
}

}  // namespace

std::size_t release_cached_memory(Device device) {
  return pool(device).release();
}

MemoryUse memory_use(Device device) {
  return pool(device).use();
}

namespace detail {

void* pool_allocate(Device device, std::size_t bytes) {
  return pool(device).allocate(bytes);
}

void pool_free(Device device, void* block, std::size_t bytes) noexcept {
  pool(device).free(block, bytes);
}

void GraphMemory::record(const std::function<void()>& body) {
  Pool& memory = pool(device_);
  const std::lock_guard one(memory.recording());
  memory.begin_recording();
  const auto finish = [&] { kept_ = memory.end_recording(); };
  try {
    body();
  } catch (...) {
    finish();
    throw;
  }
  finish();
}

GraphMemory::~GraphMemory() {
  pool(device_).take_back(kept_);
}

}  // namespace detail
}  // namespace flatland
