#include <flatland/engine/dispatch.h>
#include <flatland/engine/pool.h>
#include <flatland/engine/storage.h>
#include <flatland/kernels/elementwise.h>

#include <algorithm>
#include <cstring>

namespace flatland::detail {

Storage::Storage(Device device, std::size_t bytes)
    : device_(device), bytes_(bytes), data_(pool_allocate(device, bytes)) {}

Storage::~Storage() {
  pool_free(device_, data_, bytes_);
}

namespace {
void need_cpu(Device device, const char* who) {
  FLATLAND_CHECK(device == Device::cpu, who, ": this build has no CUDA; use device cpu");
}
}  // namespace

void copy_bytes(Device to, void* dst, Device from, const void* src, std::size_t bytes) {
  need_cpu(to, "copy");
  need_cpu(from, "copy");
  if (bytes > 0) std::memcpy(dst, src, bytes);
}

void copy_rows(Device device, RawMatrix dst, RawMatrix src, std::int64_t rows, std::int64_t cols,
               std::size_t value_size) {
  need_cpu(device, "copy");
  const std::size_t row_bytes = static_cast<std::size_t>(cols) * value_size;
  const std::size_t dst_step = static_cast<std::size_t>(dst.ld) * value_size;
  const std::size_t src_step = static_cast<std::size_t>(src.ld) * value_size;
  auto* to = static_cast<std::byte*>(dst.data);
  const auto* from = static_cast<const std::byte*>(src.data);
  if (row_bytes == 0) return;
  for (std::int64_t i = 0; i < rows; ++i, to += dst_step, from += src_step) std::memcpy(to, from, row_bytes);
}

void fill_values(Device device, Dtype dtype, void* dst, std::int64_t n, double value) {
  const auto count = static_cast<std::size_t>(n);
  dispatch_any(dtype, [&]<class T>(std::type_identity<T>) {
    const std::span<T> values(static_cast<T*>(dst), count);
    if constexpr (std::is_same_v<T, std::int32_t>) {
      need_cpu(device, "fill");
      std::fill(values.begin(), values.end(), static_cast<T>(value));
    } else {
      kernels::fill<T>(current_exec(device), static_cast<T>(value), values);
    }
  });
}

void convert_values(Device device, Dtype to, void* dst, Dtype from, const void* src, std::int64_t n) {
  need_cpu(device, "convert");
  dispatch_any(to, [&]<class To>(std::type_identity<To>) {
    dispatch_any(from, [&]<class From>(std::type_identity<From>) {
      std::transform(static_cast<const From*>(src), static_cast<const From*>(src) + n, static_cast<To*>(dst),
                     [](From x) { return static_cast<To>(x); });
    });
  });
}

}  // namespace flatland::detail
