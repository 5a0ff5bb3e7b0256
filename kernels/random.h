// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// 2011). A draw is a function of (seed, stream, index) alone, so it is the same for any number of threads and
// any device.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/hd.h>

#include <cstdint>
#include <span>

namespace flatland::kernels {

// 128 random bits as four words.
struct RandomBits {
  std::uint32_t word[4];
  FLATLAND_HD std::uint32_t operator[](int i) const { return word[i]; }
};

namespace detail {
// Low 32 bits of x times m, as 64 bits.
struct PhiloxMultiply {
  FLATLAND_HD std::uint64_t operator()(std::uint64_t x, std::uint32_t m) const {
    return (x & 0xffffffffu) * std::uint64_t{m};
  }
};
// Ten rounds over a counter whose four words stand in the low halves of 64-bit words (scalars, or vectors of
// them). The high halves are ignored, and hold anything afterwards.
template <class Word, class Multiply>
FLATLAND_HD void philox_rounds(Word (&counter)[4], std::uint32_t key0, std::uint32_t key1,
                               Multiply multiply) {
  for (int round = 0; round < 10; ++round) {
    const Word a = multiply(counter[0], 0xD2511F53u);
    const Word b = multiply(counter[2], 0xCD9E8D57u);
    counter[0] = (b >> 32) ^ counter[1] ^ std::uint64_t{key0};
    counter[1] = b;
    counter[2] = (a >> 32) ^ counter[3] ^ std::uint64_t{key1};
    counter[3] = a;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}
}  // namespace detail

// The block cipher: ten rounds over a 128-bit counter with a 64-bit key.
FLATLAND_HD RandomBits philox4x32(RandomBits counter, std::uint32_t key0, std::uint32_t key1) {
  std::uint64_t c[4] = {counter.word[0], counter.word[1], counter.word[2], counter.word[3]};
  detail::philox_rounds(c, key0, key1, detail::PhiloxMultiply{});
  return {{static_cast<std::uint32_t>(c[0]), static_cast<std::uint32_t>(c[1]),
           static_cast<std::uint32_t>(c[2]), static_cast<std::uint32_t>(c[3])}};
}

// The leading 53 of 64 random bits as a number in [0, 1).
FLATLAND_HD double uniform_of(std::uint64_t bits) {
  return static_cast<double>(static_cast<std::int64_t>(bits >> 11)) * 0x1p-53;
}

// 64 random bits as an integer in [0, n), n > 0: the high half of a 64 x 64 bit product (bias below n /
// 2^64).
FLATLAND_HD std::uint64_t below_of(std::uint64_t x, std::uint64_t n) {
  const std::uint64_t xl = x & 0xffffffffu, xh = x >> 32, nl = n & 0xffffffffu, nh = n >> 32;
  const std::uint64_t mid = xh * nl + ((xl * nl) >> 32);
  return xh * nh + (mid >> 32) + ((xl * nh + (mid & 0xffffffffu)) >> 32);
}

// A seed and a stream number name one endless sequence of draws. Draw `index` takes counter (index, stream).
struct RandomStream {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;

  // 128 random bits of draw `index`.
  FLATLAND_HD RandomBits bits(std::uint64_t index) const {
    return philox4x32({{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                        static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}},
                      static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  }
  FLATLAND_HD std::uint64_t bits64(std::uint64_t index) const {
    const RandomBits b = bits(index);
    return std::uint64_t{b.word[1]} << 32 | b.word[0];
  }
  // Uniform in [0, 1), 53 bits.
  FLATLAND_HD double uniform(std::uint64_t index) const { return uniform_of(bits64(index)); }
  // Uniform integer in [0, n), n > 0.
  FLATLAND_HD std::uint64_t below(std::uint64_t index, std::uint64_t n) const {
    return below_of(bits64(index), n);
  }
};

// y[i] = low + (high - low) u_i with the draws first, first + 1, ... of the stream; computed in double, then
// rounded to T (so a float can be `high` itself). Error: low or high not finite.
template <class T>
void fill_uniform(const Exec& exec, RandomStream random, double low, double high, std::span<T> y,
                  std::uint64_t first = 0);
// y[i] normal with the given mean and deviation: Box-Muller on the two halves of draw first + i, computed in
// double with IEEE's basic operations alone (random_formulas.h), so that every machine finds the same bits;
// rounded to T. Error: numbers not finite, deviation negative.
template <class T>
void fill_normal(const Exec& exec, RandomStream random, double mean, double deviation, std::span<T> y,
                 std::uint64_t first = 0);
// A random permutation of 0..n-1: sorts by 64 random bits a position, ties by position, so that any device
// finds the same one. Draws first .. first + n - 1 of the stream.
void random_permutation(const Exec& exec, RandomStream random, std::span<std::int64_t> permutation,
                        std::uint64_t first = 0);

}  // namespace flatland::kernels
