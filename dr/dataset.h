// Named tensors of equal length.
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flatland {

// Every entry has N items along its first dimension. Floating entries must be finite. An int64 entry
// "indices" (0 .. N-1) is always there.
//   Dataset data = x;                             // stored under "main"
//   Dataset data{{"main", x}, {"labels", y}};
class Dataset {
 public:
  Dataset() = default;
  Dataset(Tensor main);
  Dataset(std::initializer_list<std::pair<std::string, Tensor>> entries);

  std::int64_t size() const;  // N; 0 when empty
  bool empty() const { return entries_.empty(); }
  bool contains(std::string_view key) const;
  // Error: an unknown key (lists the known ones).
  const Tensor& operator[](std::string_view key) const;
  // Adds or replaces. Errors: an undefined tensor, a single value, no rows, another length, NaN or infinity
  // (names key, row, column and how many).
  void set(std::string key, Tensor value);
  std::vector<std::string> keys() const;
  std::size_t entry_count() const { return entries_.size(); }

  // Rows [begin, end), and the first n; Error when out of range (a range is never clipped).
  Dataset slice(std::int64_t begin, std::int64_t end) const;
  Dataset first(std::int64_t n) const { return slice(0, n); }
  // The given rows (int64 (n), on any device), in that order. "indices" counts the new rows unless it was
  // given by the user.
  Dataset rows(const Tensor& index) const;
  Dataset to(Device device) const;
  // Floating entries in another floating type.
  Dataset to(Dtype dtype) const;

 private:
  const Tensor* find(std::string_view key) const;
  void put(std::string key, Tensor value);

  std::vector<std::pair<std::string, Tensor>> entries_;
  bool own_indices_ = true;  // "indices" is ours, not the user's
};

// Error when x holds NaN or infinity: "<who>: 3 values are NaN or infinite, the first in row 4, column 2
// (nan, counted from 0); ...".
void check_finite(std::string_view who, const Tensor& x);

}  // namespace flatland
