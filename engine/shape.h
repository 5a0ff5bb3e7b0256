// Shapes of up to four dimensions.
#pragma once

#include <flatland/kernels/size.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

namespace flatland {

class Shape {
 public:
  Shape() = default;  // a scalar
  Shape(std::initializer_list<std::int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const std::int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
    FLATLAND_CHECK(sizes.size() <= 4, "Shape: ", sizes.size(), " dimensions; at most 4 are supported");
    for (int i = 0; i < rank_; ++i) {
      sizes_[i] = sizes[static_cast<std::size_t>(i)];
      FLATLAND_CHECK(sizes_[i] >= 0, "Shape: dimension ", i, " is ", sizes_[i], "; sizes are 0 or more");
      numel_ = checked_mul(numel_, sizes_[i]);
    }
  }

  int rank() const { return rank_; }
  std::int64_t numel() const { return numel_; }
  // dim may count from the end: -1 is the last.
  std::int64_t operator[](int dim) const { return sizes_[checked_dim(dim)]; }
  int checked_dim(int dim) const {
    FLATLAND_CHECK(dim >= -rank_ && dim < rank_, "Shape: dimension ", dim, " of ", *this, " does not exist");
    return dim < 0 ? dim + rank_ : dim;
  }
  bool operator==(const Shape& other) const { return rank_ == other.rank_ && sizes_ == other.sizes_; }

  friend std::ostream& operator<<(std::ostream& os, const Shape& s) {
    os << '(';
    for (int i = 0; i < s.rank_; ++i) os << (i ? ", " : "") << s.sizes_[i];
    return os << ')';
  }

 private:
  int rank_ = 0;
  std::int64_t numel_ = 1;
  std::array<std::int64_t, 4> sizes_{};
};

}  // namespace flatland
