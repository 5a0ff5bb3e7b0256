#include <flatland/kernels/exec_cuda.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/with_cuda.h>

#include <cstring>
#include <new>

namespace flatland::kernels {

namespace {

constexpr std::align_val_t k_alignment{64};

void copy(void* dst, const void* src, std::size_t bytes) {
  if (bytes > 0) std::memcpy(dst, src, bytes);
}

}  // namespace

void* allocate_memory(Device device, std::size_t bytes) {
  check_usable(device);
  if constexpr (with_cuda)
    if (device == Device::cuda) return cuda::allocate(bytes);
  return ::operator new(bytes, k_alignment, std::nothrow);
}

void fail_out_of_memory(const std::string& who, Device device, std::size_t bytes) {
  throw OutOfMemory(who + ": " + std::string(name(device)) + " has no " + std::to_string(bytes) +
                    " bytes left; use smaller batches or fewer items");
}

void free_memory(Device device, void* block) noexcept {
  if constexpr (with_cuda)
    if (device == Device::cuda) return cuda::release(block);
  ::operator delete(block, k_alignment);
}

void copy_to_host(const Exec& exec, void* dst, const void* src, std::size_t bytes) {
  FLATLAND_ON_CUDA(exec) return cuda::copy_to_host(exec, dst, src, bytes);
  copy(dst, src, bytes);
}

void copy_to_device(const Exec& exec, void* dst, const void* src, std::size_t bytes) {
  FLATLAND_ON_CUDA(exec) return cuda::copy_to_device(exec, dst, src, bytes);
  copy(dst, src, bytes);
}

void copy_within(const Exec& exec, void* dst, const void* src, std::size_t bytes) {
  FLATLAND_ON_CUDA(exec) return cuda::copy_within(exec, dst, src, bytes);
  copy(dst, src, bytes);
}

void copy_rows(const Exec& exec, void* dst, std::size_t dst_step, const void* src, std::size_t src_step,
               std::size_t row_bytes, std::int64_t rows) {
  FLATLAND_ON_CUDA(exec) return cuda::copy_rows(exec, dst, dst_step, src, src_step, row_bytes, rows);
  auto* to = static_cast<std::byte*>(dst);
  const auto* from = static_cast<const std::byte*>(src);
  for (std::int64_t i = 0; i < rows; ++i, to += dst_step, from += src_step) copy(to, from, row_bytes);
}

}  // namespace flatland::kernels
