#include <flatland/kernels/exec_cuda.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace flatland {

std::string_view name(Device device) {
  return device == Device::cpu ? "cpu" : "cuda";
}

Device best_device() {
  if constexpr (kernels::with_cuda)
    if (kernels::cuda::unusable().empty()) return Device::cuda;
  return Device::cpu;
}

void check_usable(Device device) {
  if (device == Device::cpu) return;
  std::string reason = "this build has no CUDA; configure with -DFLATLAND_CUDA=ON";
  if constexpr (kernels::with_cuda) reason = kernels::cuda::unusable();
  FLATLAND_CHECK(reason.empty(), "device cuda cannot be used (", reason, "); use device cpu");
}

namespace kernels {

namespace {
constexpr std::size_t k_alignment = 64;
constexpr std::size_t k_first_chunk = std::size_t{1} << 16;

struct Chunk {
  std::byte* data;
  std::size_t size;
};
}  // namespace

// Chunks never move while something lives in them. Once all is given back, several chunks become one that
// holds their total, so that the next round needs one chunk only.
struct Scratch::Impl {
  Device device;
  std::vector<Chunk> chunks = {};
  std::size_t used = 0;       // position in the concatenation of all chunks
  std::size_t last_base = 0;  // where the last chunk begins in it

  void add_chunk(std::size_t size) {
    void* block = allocate_memory(device, size);
    if (!block) fail_out_of_memory("scratch memory", device, size);
    chunks.push_back({static_cast<std::byte*>(block), size});
  }
  void free_chunks() {
    for (const Chunk& chunk : chunks) free_memory(device, chunk.data);
    chunks.clear();
  }
};

Scratch::Scratch(Device device) : impl_(std::make_unique<Impl>(Impl{device})) {}
Scratch::~Scratch() {
  impl_->free_chunks();
}

void* Scratch::take(std::size_t bytes) {
  Impl& s = *impl_;
  const std::size_t rounded = (bytes + k_alignment - 1) / k_alignment * k_alignment;
  if (s.chunks.empty() || s.used - s.last_base + rounded > s.chunks.back().size) {
    const std::size_t base = s.chunks.empty() ? 0 : s.last_base + s.chunks.back().size;
    s.add_chunk(std::max({rounded, k_first_chunk, base}));
    s.last_base = base;
    s.used = base;
  }
  void* block = s.chunks.back().data + (s.used - s.last_base);
  s.used += rounded;
  return block;
}

std::size_t Scratch::mark() const {
  return impl_->used;
}

void Scratch::release(std::size_t mark) {
  Impl& s = *impl_;
  if (mark == 0 && s.chunks.size() > 1) {
    const std::size_t total = s.last_base + s.chunks.back().size;
    s.free_chunks();
    s.last_base = 0;
    s.add_chunk(total);
  }
  // A mark inside an earlier chunk: the last chunk stays in use from its beginning.
  s.used = std::max(mark, s.last_base);
}

Exec::Exec(Device device, int threads)
    : device_(device),
      threads_(threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))),
      scratch_(std::make_unique<Scratch>(device)) {
  FLATLAND_CHECK(threads >= 0, "Exec: ", threads, " threads; give 1 or more, or 0 for all the machine has");
  check_usable(device);
  FLATLAND_ON_CUDA(*this) cuda_ = cuda::make_context();
}
Exec::~Exec() = default;
Exec::Exec(Exec&&) noexcept = default;
Exec& Exec::operator=(Exec&&) noexcept = default;

void Exec::wait() const {
  FLATLAND_ON_CUDA(*this) cuda::wait(*this);
}

}  // namespace kernels
}  // namespace flatland
