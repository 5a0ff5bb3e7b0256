#include <flatland/engine/dispatch.h>
#include <flatland/engine/pool.h>
#include <flatland/engine/storage.h>
#include <flatland/kernels/elementwise.h>
#include <flatland/kernels/gather.h>
#include <flatland/kernels/memory.h>

namespace flatland::detail {

Storage::Storage(Device device, std::size_t bytes)
    : device_(device), bytes_(bytes), data_(pool_allocate(device, bytes)) {}

Storage::Storage(RowsOf rows, std::size_t bytes)
    : device_(rows.all.device()), bytes_(bytes), rows_(std::move(rows)), data_(nullptr) {}

Storage::~Storage() {
  if (void* const data = data_.load(std::memory_order_relaxed)) pool_free(device_, data, bytes_);
}

void* Storage::fetched() const {
  const std::lock_guard lock(fetching_);
  void* data = data_.load(std::memory_order_relaxed);
  if (data != nullptr) return data;
  data = pool_allocate(device_, bytes_);
  try {
    gather_values(*rows_, data);
  } catch (...) {
    pool_free(device_, data, bytes_);
    throw;
  }
  data_.store(data, std::memory_order_release);
  return data;
}

void gather_values(const RowsOf& rows, void* dst) {
  const Tensor& all = rows.all;
  const std::int64_t count = rows.index.numel();
  const std::int64_t cols = all.size(0) == 0 ? 0 : all.numel() / all.size(0);
  dispatch_any(all.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::gather_rows<T>(current_exec(all.device()), {all.data<T>(), all.size(0), cols},
                            {rows.index.data<std::int64_t>(), static_cast<std::size_t>(count)},
                            {static_cast<T*>(dst), count, cols});
  });
}

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
  dispatch_any(dtype, [&]<class T>(std::type_identity<T>) {
    kernels::fill<T>(current_exec(device), static_cast<T>(value),
                     {static_cast<T*>(dst), static_cast<std::size_t>(n)});
  });
}

void convert_values(Device device, Dtype to, void* dst, Dtype from, const void* src, std::int64_t n) {
  const auto count = static_cast<std::size_t>(n);
  dispatch_any(to, [&]<class To>(std::type_identity<To>) {
    dispatch_any(from, [&]<class From>(std::type_identity<From>) {
      kernels::convert<To, From>(current_exec(device), {static_cast<const From*>(src), count},
                                 {static_cast<To*>(dst), count});
    });
  });
}

}  // namespace flatland::detail
