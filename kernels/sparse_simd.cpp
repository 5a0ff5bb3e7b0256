#include <flatland/kernels/lane_sum_simd.h>
#include <flatland/kernels/range_simd.h>
#include <flatland/kernels/sparse_simd.h>

namespace flatland::kernels {

namespace {

// One entry at a time, without a branch on the outcome: about one column in ten has a position, at random.
template <class T>
std::int64_t scan_from(const std::int32_t* col, const T* value, std::int64_t begin, std::int64_t n,
                       const std::int32_t* position, std::int32_t* found, T* found_value,
                       std::int64_t count) {
  for (std::int64_t e = begin; e < n; ++e) {
    const std::int32_t at = position[col[e]];
    found[count] = at;
    found_value[count] = value[e];
    count += at >= 0;
  }
  return count;
}

#if defined(__AVX512F__)
// Sixteen entries at a time: gather the positions, press the hits together. Stores whole vectors.
// (The masked gather: gcc 12 takes the plain one for a read of an uninitialised value.)
std::int64_t scan_sixteens(const std::int32_t* col, const float* value, std::int64_t n,
                           const std::int32_t* position, std::int32_t* found, float* found_value) {
  std::int64_t count = 0;
  for (std::int64_t e = 0; e + 16 <= n; e += 16) {
    const __m512i at = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), __mmask16(-1),
                                                   _mm512_loadu_si512(col + e), position, 4);
    const __mmask16 hit = _mm512_cmpge_epi32_mask(at, _mm512_setzero_si512());
    _mm512_storeu_si512(found + count, _mm512_maskz_compress_epi32(hit, at));
    _mm512_storeu_ps(found_value + count, _mm512_maskz_compress_ps(hit, _mm512_loadu_ps(value + e)));
    count += __builtin_popcount(hit);
  }
  return count;
}
#endif

// One column of x: y[i] is a dot product, summed in double.
template <class T>
void times_column(const SparseRows<T>& m, In<T> x, Out<T> y, std::int64_t first, std::int64_t last) {
  for (std::int64_t i = first; i < last; ++i) {
    double sum[4] = {};
    std::int64_t e = m.begin[i];
    for (; e + 4 <= m.end[i]; e += 4)
      for (int u = 0; u < 4; ++u)
        sum[u] += static_cast<double>(m.value[e + u]) * static_cast<double>(x.data[m.col[e + u] * x.ld]);
    for (; e < m.end[i]; ++e)
      sum[0] += static_cast<double>(m.value[e]) * static_cast<double>(x.data[m.col[e] * x.ld]);
    y.data[i * y.ld] = static_cast<T>((sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
}

}  // namespace

template <Isa I, class T>
ScanResult scan_row(const std::int32_t* col, const T* value, std::int64_t n, const std::int32_t* position,
                    std::int32_t* found, T* found_value) {
  std::int64_t size = 0;
  std::int64_t scanned = 0;
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4 && sizeof(T) == sizeof(float)) {
    size = scan_sixteens(col, value, n, position, found, found_value);
    scanned = n / 16 * 16;
  }
#endif
  size = scan_from(col, value, scanned, n, position, found, found_value, size);
  LaneSum<T, I> sum;
  for_vectors<T, I>(
      size, [&](std::int64_t e, std::int64_t width) { sum.add(load_part<I>(found_value + e, width, T(0))); });
  return {size, sum.total()};
}

template <Isa I, class T>
void sparse_times_dense_rows(const SparseRows<T>& m, In<T> x, Out<T> y, std::int64_t first,
                             std::int64_t last) {
  if (x.cols == 1) return times_column(m, x, y, first, last);
  constexpr std::int64_t k_lanes = lanes<T, I>;
  for (std::int64_t i = first; i < last; ++i)
    for (std::int64_t c = 0; c < x.cols; c += k_lanes) {
      const std::int64_t width = x.cols - c < k_lanes ? x.cols - c : k_lanes;
      Vec<T, I> sum{};
      for (std::int64_t e = m.begin[i]; e < m.end[i]; ++e) {
        const T* xs = x.data + m.col[e] * x.ld + c;
        sum =
            fma<I>(broadcast<I>(m.value[e]), width == k_lanes ? load<I>(xs) : load_first<I>(xs, width), sum);
      }
      store_first<I>(y.data + i * y.ld + c, sum, width);
    }
}

#define FLATLAND_SPARSE(T)                                                                              \
  template ScanResult scan_row<this_isa, T>(const std::int32_t*, const T*, std::int64_t,                \
                                            const std::int32_t*, std::int32_t*, T*);                    \
  template void sparse_times_dense_rows<this_isa, T>(const SparseRows<T>&, In<T>, Out<T>, std::int64_t, \
                                                     std::int64_t);
FLATLAND_SPARSE(float)
FLATLAND_SPARSE(double)

}  // namespace flatland::kernels
