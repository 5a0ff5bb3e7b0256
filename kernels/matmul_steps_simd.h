// Which steps along k a block of rows takes in a matrix product, for matmul_simd.cpp.
#pragma once

#include <flatland/kernels/rows_view.h>
#include <flatland/kernels/simd.h>

#include <bit>
#include <cstdint>
#include <span>

namespace flatland::kernels {

// op(a): value (i, k) stands in row i at k, or in row k at i where transposed.
template <class T>
struct Left {
  RowsView<T> values;
  bool transposed;
  std::int64_t i = 0, k = 0;  // its first value

  FLATLAND_HD Left at(std::int64_t di, std::int64_t dk) const { return {values, transposed, i + di, k + dk}; }
};

// Panels of this many k stay in the second-level cache.
inline constexpr std::int64_t k_panel_height = 512;
// A block's steps along k, ascending. A step at which all its rows of op(a) are 0 may be left out: it adds 0.
using Step = std::uint16_t;

// Writes first + i for each bit i of the mask and gives their end; behind it up to 16 values are lost.
template <Isa I>
Step* append_steps(Step* to, std::int64_t first, unsigned mask) {
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4) {
    const __m512i all =
        _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first)),
                         _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    const __m512i set = _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), all);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_maskz_cvtepi32_epi16(__mmask16(-1), set));
    return to + std::popcount(mask);
  }
#endif
  for (; mask != 0; mask &= mask - 1) *to++ = static_cast<Step>(first + std::countr_zero(mask));
  return to;
}

// The steps below k at which one of `rows` rows of a is not 0; with room for 16 more.
template <Isa I, class T, int rows>
[[gnu::noinline]] std::span<const Step> nonzero_steps(const Left<T>& a, std::int64_t k, Step* const steps) {
  Step* end = steps;
  for (std::int64_t l = 0; l < k; l += lanes<T, I>) {
    bits_of<Vec<T, I>> any{};
    for (int i = 0; i < rows; ++i) any |= to_bits(load_part<I>(a.values.row(a.i + i) + a.k + l, k - l));
    end = append_steps<I>(end, l, mask_bits<I, T>(any != 0));
  }
  return {steps, end};
}

// The same for columns of a, which are looked at once for up to k_looked_at rows of op(a).
inline constexpr std::int64_t k_looked_at = 48;
// Bit i of nonzero[l] says that row i of op(a) is not 0 at step l.
template <Isa I, class T>
[[gnu::noinline]] void look_at_columns(const Left<T>& a, std::int64_t rows, std::int64_t k,
                                       std::uint64_t* nonzero) {
  for (std::int64_t l = 0; l < k; ++l) {
    const T* const column = a.values.row(a.k + l) + a.i;
    nonzero[l] = 0;
    for (std::int64_t i = 0; i < rows; i += lanes<T, I>)
      nonzero[l] |= std::uint64_t{mask_bits<I, T>(to_bits(load_part<I>(column + i, rows - i)) != 0)} << i;
  }
}
template <Isa I>
std::span<const Step> nonzero_steps(const std::uint64_t* nonzero, std::int64_t i, int rows, std::int64_t k,
                                    Step* const steps) {
  const std::uint64_t wanted = ((std::uint64_t{1} << rows) - 1) << i;
  Step* end = steps;
  for (std::int64_t l = 0; l < k; ++l) {
    *end = static_cast<Step>(l);
    end += (nonzero[l] & wanted) != 0;
  }
  return {steps, end};
}

}  // namespace flatland::kernels
