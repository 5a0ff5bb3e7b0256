// A set of column numbers that gives them back in ascending order: sorts the few entries of a sparse row
// without comparing.
#pragma once

#include <flatland/kernels/size.h>

#include <bit>
#include <cstdint>

namespace flatland::kernels {

// A bit a column, and a bit a word of them that is not zero. Insertion costs two writes, draining one step an
// entry and one for each 4,096 columns.
class ColumnSet {
 public:
  // Words of memory for columns 0 .. n - 1; all zero at first, and again after each drain.
  static std::int64_t room(std::int64_t n) { return words(n) + ceil_div(words(n), 64); }
  ColumnSet(std::uint64_t* memory, std::int64_t n)
      : bits_(memory), used_(memory + words(n)), used_words_(ceil_div(words(n), 64)) {}

  void insert(std::int32_t col) {
    bits_[col >> 6] |= std::uint64_t{1} << (col & 63);
    used_[col >> 12] |= std::uint64_t{1} << ((col >> 6) & 63);
  }
  // Calls take(col) for each column, ascending, and empties the set.
  template <class Take>
  void drain(const Take& take) {
    for (std::int64_t u = 0; u < used_words_; ++u) {
      for (std::uint64_t rest = used_[u]; rest != 0; rest &= rest - 1) {
        const std::int64_t word = u * 64 + std::countr_zero(rest);
        for (std::uint64_t bits = bits_[word]; bits != 0; bits &= bits - 1)
          take(static_cast<std::int32_t>(word * 64 + std::countr_zero(bits)));
        bits_[word] = 0;
      }
      used_[u] = 0;
    }
  }

 private:
  static std::int64_t words(std::int64_t n) { return ceil_div(n, 64); }
  std::uint64_t* bits_;
  std::uint64_t* used_;
  std::int64_t used_words_;
};

}  // namespace flatland::kernels
