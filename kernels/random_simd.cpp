#include <flatland/kernels/random_simd.h>
#include <flatland/kernels/simd.h>

namespace flatland::kernels {

namespace {

template <Isa I>
using Words = typename detail::VecType<std::uint64_t, vec_bytes<I>>::type;

template <Isa I>
struct MultiplyWords {
  FLATLAND_HD Words<I> operator()(Words<I> x, std::uint32_t m) const {
    const Words<I> factor = std::uint64_t{m} - Words<I>{};
#if defined(__AVX512F__)
    if constexpr (I == Isa::v4) return (Words<I>)_mm512_maskz_mul_epu32(0xff, (__m512i)x, (__m512i)factor);
#endif
#if defined(__AVX2__)
    if constexpr (I == Isa::v3) return (Words<I>)_mm256_mul_epu32((__m256i)x, (__m256i)factor);
#endif
#if defined(__SSE2__)
    if constexpr (I == Isa::v1) return (Words<I>)_mm_mul_epu32((__m128i)x, (__m128i)factor);
#endif
    return (x & std::uint64_t{0xffffffffu}) * factor;
  }
};

constexpr std::int64_t k_chunk = 512;

}  // namespace

template <Isa I>
void philox_bits64(RandomStream random, std::uint64_t first, std::int64_t n, std::uint64_t* out) {
  constexpr int width = vec_bytes<I> / 8;
  Words<I> lane;
  for (int k = 0; k < width; ++k) lane[k] = static_cast<std::uint64_t>(k);
  const Words<I> zero{};
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    const Words<I> index = lane + (first + static_cast<std::uint64_t>(i));
    Words<I> c[4] = {index, index >> 32, zero + random.stream, zero + (random.stream >> 32)};
    detail::philox_rounds(c, static_cast<std::uint32_t>(random.seed),
                          static_cast<std::uint32_t>(random.seed >> 32), MultiplyWords<I>{});
    store<I>(out + i, Words<I>((c[0] & std::uint64_t{0xffffffffu}) | (c[1] << 32)));
  }
  for (; i < n; ++i) out[i] = random.bits64(first + static_cast<std::uint64_t>(i));
}

template <Isa I, class T>
void uniform_tile(RandomStream random, std::uint64_t first, std::int64_t n, double low, double width, T* y) {
  std::uint64_t bits[k_chunk];
  for (std::int64_t begin = 0; begin < n; begin += k_chunk) {
    const std::int64_t count = n - begin < k_chunk ? n - begin : k_chunk;
    philox_bits64<I>(random, first + static_cast<std::uint64_t>(begin), count, bits);
    for (std::int64_t i = 0; i < count; ++i) {
      const double u = static_cast<double>(static_cast<std::int64_t>(bits[i] >> 11)) * 0x1p-53;
      y[begin + i] = static_cast<T>(low + width * u);
    }
  }
}

template void philox_bits64<this_isa>(RandomStream, std::uint64_t, std::int64_t, std::uint64_t*);
template void uniform_tile<this_isa, float>(RandomStream, std::uint64_t, std::int64_t, double, double,
                                            float*);
template void uniform_tile<this_isa, double>(RandomStream, std::uint64_t, std::int64_t, double, double,
                                             double*);

}  // namespace flatland::kernels
