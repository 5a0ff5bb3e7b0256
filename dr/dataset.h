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

  std::int64_t size() const;
  bool empty() const { return entries_.empty(); }
  bool contains(std::string_view key) const;
  // Error: an unknown key (lists the known ones).
  const Tensor& operator[](std::string_view key) const;
  // Adds or replaces. Errors: another length, NaN or infinity (names key, row, column and how many).
  void set(std::string key, Tensor value);
  std::vector<std::string> keys() const;

  // Rows [begin, end), and the first n; clipped to the data set never: Error when out of range.
  Dataset slice(std::int64_t begin, std::int64_t end) const;
  Dataset first(std::int64_t n) const { return slice(0, n); }
  Dataset rows(const Tensor& index) const;
  Dataset to(Device device) const;

 private:
  std::vector<std::pair<std::string, Tensor>> entries_;
};

}  // namespace flatland
