#include <flatland/kernels/random_formulas.h>
#include <flatland/kernels/random_simd.h>
#include <flatland/kernels/simd.h>

namespace flatland::kernels {

namespace {

template <Isa I>
using Words = typename detail::VecType<std::uint64_t, vec_bytes<I>>::type;

template <Isa I>
constexpr int word_lanes = vec_bytes<I> / 8;

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

// Draws index, index + 1, ... in the lanes; the high halves of the words hold anything.
template <Isa I>
FLATLAND_HD void draw(RandomStream random, std::uint64_t index, Words<I> (&words)[4]) {
  constexpr std::uint64_t ramp[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  const Words<I> zero{}, indices = load<I>(ramp) + index;
  words[0] = indices;
  words[1] = indices >> 32;
  words[2] = zero + random.stream;
  words[3] = zero + (random.stream >> 32);
  detail::philox_rounds(words, static_cast<std::uint32_t>(random.seed),
                        static_cast<std::uint32_t>(random.seed >> 32), MultiplyWords<I>{});
}

template <Isa I>
FLATLAND_HD Words<I> join(Words<I> low, Words<I> high) {
  return (low & std::uint64_t{0xffffffffu}) | (high << 32);
}

// uniform_of in every lane.
template <Isa I>
FLATLAND_HD Vec<double, I> uniforms(Words<I> bits) {
  return __builtin_convertvector((IntVec<double, I>)(bits >> 11), Vec<double, I>) * 0x1p-53;
}

template <Isa I>
FLATLAND_HD void store_as(std::uint64_t* p, Words<I> value) {
  store<I>(p, value);
}
template <Isa I>
FLATLAND_HD void store_as(double* p, Vec<double, I> value) {
  store<I>(p, value);
}
template <Isa I>
FLATLAND_HD void store_as(float* p, Vec<double, I> value) {
  using Half = typename detail::VecType<float, vec_bytes<I> / 2>;
  *reinterpret_cast<typename Half::unaligned*>(p) = __builtin_convertvector(value, typename Half::type);
}

// y[i] = T(f(words of draw first + i)).
template <Isa I, class T, class F>
FLATLAND_HD void map_draws(RandomStream random, std::uint64_t first, std::int64_t n, T* y, F f) {
  constexpr int W = word_lanes<I>;
  for (std::int64_t i = 0; i < n; i += W) {
    Words<I> words[4];
    draw<I>(random, first + static_cast<std::uint64_t>(i), words);
    if (i + W <= n) {
      store_as<I>(y + i, f(words));
    } else {
      T last[W];
      store_as<I>(last, f(words));
      for (std::int64_t k = 0; i + k < n; ++k) y[i + k] = last[k];
    }
  }
}

}  // namespace

template <Isa I>
void philox_bits64(RandomStream random, std::uint64_t first, std::int64_t n, std::uint64_t* out) {
  map_draws<I>(random, first, n, out, [](const Words<I>(&words)[4]) { return join<I>(words[0], words[1]); });
}

template <Isa I, class T>
void uniform_tile(RandomStream random, std::uint64_t first, std::int64_t n, double low, double width, T* y) {
  map_draws<I>(random, first, n, y, [=](const Words<I>(&words)[4]) {
    return low + width * uniforms<I>(join<I>(words[0], words[1]));
  });
}

template <Isa I, class T>
void normal_tile(RandomStream random, std::uint64_t first, std::int64_t n, double mean, double deviation,
                 T* y) {
  map_draws<I>(random, first, n, y, [=](const Words<I>(&words)[4]) {
    const Vec<double, I> u = 1.0 - uniforms<I>(join<I>(words[0], words[1]));
    return mean + deviation * box_muller(u, uniforms<I>(join<I>(words[2], words[3])));
  });
}

template void philox_bits64<this_isa>(RandomStream, std::uint64_t, std::int64_t, std::uint64_t*);
template void uniform_tile<this_isa, float>(RandomStream, std::uint64_t, std::int64_t, double, double,
                                            float*);
template void uniform_tile<this_isa, double>(RandomStream, std::uint64_t, std::int64_t, double, double,
                                             double*);
template void normal_tile<this_isa, float>(RandomStream, std::uint64_t, std::int64_t, double, double, float*);
template void normal_tile<this_isa, double>(RandomStream, std::uint64_t, std::int64_t, double, double,
                                            double*);

}  // namespace flatland::kernels
