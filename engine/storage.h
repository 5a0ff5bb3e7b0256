// For the engine itself: the memory behind tensors, and every way of writing it that is not a kernel.
#pragma once

#include <flatland/engine/tensor.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

namespace flatland::detail {

// Rows of another tensor, in the order of an int64 index.
struct RowsOf {
  Tensor all, index;
};

// A block of device memory from the pool, 64-byte aligned. Shared by reshaped and detached tensors.
class Storage {
 public:
  Storage(Device device, std::size_t bytes);
  // The values of the rows, fetched when they are first asked for.
  Storage(RowsOf rows, std::size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device() const { return device_; }
  void* data() const {
    void* const data = data_.load(std::memory_order_acquire);
    return data != nullptr || !rows_ ? data : fetched();
  }
  // The rows that have not been fetched yet, else null.
  const RowsOf* rows() const {
    return rows_ && data_.load(std::memory_order_acquire) == nullptr ? &*rows_ : nullptr;
  }

  // All values are 1 and stay so: writing them is an Error.
  bool ones() const { return ones_; }
  void keep_ones() { ones_ = true; }

 private:
  void* fetched() const;

  Device device_;
  std::size_t bytes_;
  std::optional<RowsOf> rows_;
  mutable std::mutex fetching_;
  mutable std::atomic<void*> data_;
  bool ones_ = false;
};

// Writes the rows, one behind the other. Error: an index that is no row.
void gather_values(const RowsOf& rows, void* dst);

// A (rows, cols) block of values of `value_size` bytes, `ld` values a row apart.
struct RawMatrix {
  void* data = nullptr;
  std::int64_t ld = 0;
};

// Copies between devices or within one.
void copy_bytes(Device to, void* dst, Device from, const void* src, std::size_t bytes);
// Copies a block of rows within a device.
void copy_rows(Device device, RawMatrix dst, RawMatrix src, std::int64_t rows, std::int64_t cols,
               std::size_t value_size);
void fill_values(Device device, Dtype dtype, void* dst, std::int64_t n, double value);
void convert_values(Device device, Dtype to, void* dst, Dtype from, const void* src, std::int64_t n);

}  // namespace flatland::detail
