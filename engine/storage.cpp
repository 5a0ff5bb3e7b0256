#include <flatland/engine/dispatch.h>
#include <flatland/engine/pool.h>
#include <flatland/engine/storage.h>
#include <flatland/kernels/elementwise.h>
#include <flatland/kernels/memory.h>

#include <algorithm>

namespace flatland::detail {

Storage::Storage(Device device, std::size_t bytes)
    : device_(device), bytes_(bytes), data_(pool_allocate(device, bytes)) {}

Storage::~Storage() {
  pool_free(device_, data_, bytes_);
}

namespace {
void need_cpu(Device device, const char* who) {
  FLATLAND_CHECK(device == Device::cpu, who, ": not on cuda yet; do it on the CPU and bring the result over");
}
}  // namespace

void copy_bytes(Device to, void* dst, Device from, const void* src, std::size_t bytes) {
  if (to == from) return kernels::copy_within(current_exec(to), dst, src, bytes);
  if (to == Device::cpu) return kernels::copy_to_host(current_exec(from), dst, src, bytes);
  kernels::copy_to_device(current_exec(to), dst, src, bytes);
}

void copy_rows(Device device, RawMatrix dst, RawMatrix src, std::int64_t rows, std::int64_t cols,
               std::size_t value_size) {
  kernels::copy_rows(current_exec(device), dst.data, static_cast<std::size_t>(dst.ld) * value_size, src.data,
                     static_cast<std::size_t>(src.ld) * value_size,
                     static_cast<std::size_t>(cols) * value_size, rows);
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
