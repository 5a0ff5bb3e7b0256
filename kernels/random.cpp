#include <flatland/kernels/check.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/random.h>
#include <flatland/kernels/random_cuda.h>
#include <flatland/kernels/random_simd.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_random_tile = 8192;

// Positions to be sorted by (bits64(first + position), position). A word has the high bits of the draw above
// the position, so that comparing words nearly always decides.
class PositionSort {
 public:
  PositionSort(RandomStream random, std::uint64_t first, std::int64_t n)
      : random_(random),
        first_(first),
        n_(n),
        position_mask_((std::uint64_t{1} << std::bit_width(static_cast<std::uint64_t>(n - 1))) - 1) {}

  std::uint64_t word(std::uint64_t bits, std::int64_t position) const {
    return (bits & ~position_mask_) | static_cast<std::uint64_t>(position);
  }
  std::int64_t position(std::uint64_t word) const { return static_cast<std::int64_t>(word & position_mask_); }

  // Sorts `words` with the help of `other` and returns which of the two holds the result.
  // Radix passes over the leading bits leave some n / 64 pairs out of order; an insertion sort ends it.
  std::uint64_t* sort(std::uint64_t* words, std::uint64_t* other, std::uint32_t* counts) const {
    const int bits = std::bit_width(static_cast<std::uint64_t>(n_)) + 5;
    const int passes = (bits + k_max_digit - 1) / k_max_digit;
    const int digit = (bits + passes - 1) / passes;
    for (int pass = 0; pass < passes; ++pass) {
      radix_pass(words, other, counts, 64 - digit * (passes - pass), digit);
      std::swap(words, other);
    }
    insertion_sort(words);
    return words;
  }

  static constexpr int k_max_digit = 11;

 private:
  void radix_pass(const std::uint64_t* in, std::uint64_t* out, std::uint32_t* counts, int shift,
                  int digit) const {
    const std::uint64_t mask = (std::uint64_t{1} << digit) - 1;
    std::fill_n(counts, mask + 1, 0u);
    for (std::int64_t i = 0; i < n_; ++i) ++counts[(in[i] >> shift) & mask];
    std::uint32_t begin = 0;
    for (std::uint64_t d = 0; d <= mask; ++d) begin += std::exchange(counts[d], begin);
    for (std::int64_t i = 0; i < n_; ++i) out[counts[(in[i] >> shift) & mask]++] = in[i];
  }
  void insertion_sort(std::uint64_t* words) const {
    for (std::int64_t i = 1; i < n_; ++i) {
      const std::uint64_t word = words[i];
      std::int64_t j = i;
      for (; j > 0 && less(word, words[j - 1]); --j) words[j] = words[j - 1];
      words[j] = word;
    }
  }
  bool less(std::uint64_t a, std::uint64_t b) const {
    if ((a ^ b) > position_mask_) [[likely]]
      return a < b;
    const std::uint64_t bits_a = random_.bits64(first_ + static_cast<std::uint64_t>(position(a)));
    const std::uint64_t bits_b = random_.bits64(first_ + static_cast<std::uint64_t>(position(b)));
    return bits_a != bits_b ? bits_a < bits_b : a < b;
  }

  RandomStream random_;
  std::uint64_t first_;
  std::int64_t n_;
  std::uint64_t position_mask_;
};

}  // namespace

template <class T>
void fill_uniform(const Exec& exec, RandomStream random, double low, double high, std::span<T> y,
                  std::uint64_t first) {
  FLATLAND_CHECK(std::isfinite(low) && std::isfinite(high), "fill_uniform: the range is ", low, " to ", high,
                 "; give finite numbers");
  FLATLAND_ON_CUDA(exec) return cuda::fill_uniform<T>(exec, random, low, high - low, y, first);
  const auto tile = with_isa([](auto isa) { return &uniform_tile<isa, T>; });
  for_tiles(exec, std::ssize(y), k_random_tile, [&](std::int64_t begin, std::int64_t count) {
    tile(random, first + static_cast<std::uint64_t>(begin), count, low, high - low, y.data() + begin);
  });
}

template <class T>
void fill_normal(const Exec& exec, RandomStream random, double mean, double deviation, std::span<T> y,
                 std::uint64_t first) {
  FLATLAND_CHECK(std::isfinite(mean) && std::isfinite(deviation) && deviation >= 0, "fill_normal: mean ",
                 mean, " and deviation ", deviation, "; give finite numbers and a deviation of 0 or more");
  FLATLAND_ON_CUDA(exec) return cuda::fill_normal<T>(exec, random, mean, deviation, y, first);
  const auto tile = with_isa([](auto isa) { return &normal_tile<isa, T>; });
  for_tiles(exec, std::ssize(y), k_random_tile, [&](std::int64_t begin, std::int64_t count) {
    tile(random, first + static_cast<std::uint64_t>(begin), count, mean, deviation, y.data() + begin);
  });
}

void random_permutation(const Exec& exec, RandomStream random, std::span<std::int64_t> permutation,
                        std::uint64_t first) {
  const std::int64_t n = std::ssize(permutation);
  FLATLAND_CHECK(n < std::int64_t{1} << 32, "random_permutation: ", n, " items; at most 2^32 - 1");
  if (n == 0) return;
  FLATLAND_ON_CUDA(exec) return cuda::random_permutation(exec, random, permutation, first);
  const PositionSort order(random, first, n);
  const ScratchArray<std::uint64_t> words(exec, n);
  const ScratchArray<std::uint64_t> other(exec, n);
  const ScratchArray<std::uint32_t> counts(exec, std::int64_t{1} << PositionSort::k_max_digit);
  const auto draw = with_isa([](auto isa) { return &philox_bits64<isa>; });
  for_tiles(exec, n, k_random_tile, [&](std::int64_t begin, std::int64_t count) {
    draw(random, first + static_cast<std::uint64_t>(begin), count, &words[begin]);
    for (std::int64_t i = begin; i < begin + count; ++i) words[i] = order.word(words[i], i);
  });
  const std::uint64_t* sorted = order.sort(words.data(), other.data(), counts.data());
  for (std::int64_t i = 0; i < n; ++i) {
    permutation[static_cast<std::size_t>(i)] = order.position(sorted[i]);
  }
}

template void fill_uniform<float>(const Exec&, RandomStream, double, double, std::span<float>, std::uint64_t);
template void fill_uniform<double>(const Exec&, RandomStream, double, double, std::span<double>,
                                   std::uint64_t);
template void fill_normal<float>(const Exec&, RandomStream, double, double, std::span<float>, std::uint64_t);
template void fill_normal<double>(const Exec&, RandomStream, double, double, std::span<double>,
                                  std::uint64_t);

}  // namespace flatland::kernels
