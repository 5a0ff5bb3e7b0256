#include <flatland/kernels/neighbor_ranks_simd.h>
#include <flatland/kernels/simd.h>

namespace flatland::kernels {

namespace {

// Limits [0, G) at once, so that each value is computed once for all of them.
template <Isa I, int G>
FLATLAND_HD void count_group(const float* product, const float* norm, std::int64_t n, const float* limit,
                             std::int32_t* counts) {
  constexpr std::int64_t width = lanes<float, I>;
  const Vec<float, I> minus_two = broadcast<I>(-2.f);
  Vec<float, I> limits[G];
  IntVec<float, I> below[G];
  FLATLAND_UNROLL
  for (int g = 0; g < G; ++g) {
    limits[g] = broadcast<I>(limit[g]);
    below[g] = IntVec<float, I>{};
  }
  for (std::int64_t l = 0; l < n; l += width) {
    const Vec<float, I> value =
        fma<I>(minus_two, load_part<I>(product + l, n - l), load_part<I>(norm + l, n - l, __builtin_inff()));
    FLATLAND_UNROLL
    for (int g = 0; g < G; ++g) below[g] -= value < limits[g];
  }
  for (int g = 0; g < G; ++g) {
    counts[g] = 0;
    for (std::int64_t lane = 0; lane < width; ++lane) counts[g] += below[g][lane];
  }
}

}  // namespace

template <Isa I>
void count_below(const float* product, const float* norm, std::int64_t n, const float* limit, std::int64_t k,
                 std::int32_t* counts) {
  constexpr int group = 8;
  std::int64_t a = 0;
  for (; a + group <= k; a += group) count_group<I, group>(product, norm, n, limit + a, counts + a);
  for (; a < k; ++a) count_group<I, 1>(product, norm, n, limit + a, counts + a);
}

template <Isa I>
std::int64_t find_open(const float* product, const float* low, const float* high, std::int64_t n, float may,
                       float must, std::int32_t* found) {
  constexpr std::int64_t width = lanes<float, I>;
  const Vec<float, I> minus_two = broadcast<I>(-2.f), may_be = broadcast<I>(may),
                      must_be = broadcast<I>(must);
  std::int64_t count = 0;
  for (std::int64_t l = 0; l < n; l += width) {
    const Vec<float, I> p = load_part<I>(product + l, n - l);
    const Vec<float, I> lower = fma<I>(minus_two, p, load_part<I>(low + l, n - l, __builtin_inff()));
    const Vec<float, I> upper = fma<I>(minus_two, p, load_part<I>(high + l, n - l, __builtin_inff()));
    unsigned bits = mask_bits<I, float>((lower < may_be) & (upper >= must_be));
    for (; bits != 0; bits &= bits - 1) found[count++] = static_cast<std::int32_t>(l + __builtin_ctz(bits));
  }
  return count;
}

template void count_below<this_isa>(const float*, const float*, std::int64_t, const float*, std::int64_t,
                                    std::int32_t*);
template std::int64_t find_open<this_isa>(const float*, const float*, const float*, std::int64_t, float,
                                          float, std::int32_t*);

}  // namespace flatland::kernels
