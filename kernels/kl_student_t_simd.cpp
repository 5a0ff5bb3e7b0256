#include <flatland/kernels/kl_student_t_formulas.h>
#include <flatland/kernels/kl_student_t_simd.h>
#include <flatland/kernels/lane_sum_simd.h>
#include <flatland/kernels/range_simd.h>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_terms = 128;  // a float lane adds so many before they go to double

// 1 / x for finite x >= 1. AVX-512 divides 16 floats in 16 cycles, but estimates and refines them in 4 (error
// below 2 ulp).
template <Isa I, class V>
FLATLAND_HD V inverse(V x) {
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4 && sizeof(scalar_of<V>) == 4) {
    const V r = (V)_mm512_maskz_rcp14_ps(__mmask16(-1), (__m512)x);
    return fma(r, fma(-x, r, splat<V>(1)), r);
  }
#endif
  return scalar_of<V>(1) / x;
}

// Lane numbers 0, 1, 2, ... as floating-point values.
template <Isa I, class T>
FLATLAND_HD Vec<T, I> lane_numbers() {
  T lane[lanes<T, I>];
  for (int i = 0; i < lanes<T, I>; ++i) lane[i] = static_cast<T>(i);
  return load<I>(lane);
}

// Rows in the lanes: G vectors of them meet one item after the other, so nothing is summed across lanes.
template <Isa I, class T, int D, int G, class Kernel>
struct RowGroup {
  using V = Vec<T, I>;
  static constexpr std::int64_t rows = G * lanes<T, I>;
  V y[G][D];
  LaneSum<T, I> weight[G];
  LaneSum<T, I> force[G][D];

  FLATLAND_HD RowGroup(const PairItems<T>& items, std::int64_t first) {
    for (int g = 0; g < G; ++g)
      for (int c = 0; c < D; ++c) y[g][c] = load<I>(items.y + c * items.stride + first + g * lanes<T, I>);
  }

  // Adds the items begin .. end - 1, at most k_terms. `own` is the row number of the first of them within the
  // group; with_self tells that they are among the rows, and a row does not meet itself.
  template <bool with_self>
  FLATLAND_HD void meet(const Kernel& kernel, const PairItems<T>& items, std::int64_t begin, std::int64_t end,
                        std::int64_t own) {
    V w_sum[G] = {};
    V f_sum[G][D] = {};
    for (std::int64_t j = begin; j < end; ++j) {
      V other[D];
      for (int c = 0; c < D; ++c) other[c] = broadcast<I>(items.y[c * items.stride + j]);
      for (int g = 0; g < G; ++g) {
        V diff[D];
        V base = splat<V>(T(1));
        for (int c = 0; c < D; ++c) {
          diff[c] = y[g][c] - other[c];
          base = fma(diff[c], diff[c], base);
        }
        const V inv = inverse<I>(base);
        V w = kernel.weight_at(base, inv);
        const V fall = kernel.fall(w, inv);
        if constexpr (with_self) {
          const T row = static_cast<T>(own + (j - begin) - g * lanes<T, I>);
          w = select(lane_numbers<I, T>() == row, V{}, w);
        }
        w_sum[g] += w;
        for (int c = 0; c < D; ++c) f_sum[g][c] = fma(fall, diff[c], f_sum[g][c]);
      }
    }
    for (int g = 0; g < G; ++g) {
      weight[g].add(w_sum[g]);
      for (int c = 0; c < D; ++c) force[g][c].add(f_sum[g][c]);
    }
  }
};

template <Isa I, int D, int G, class T, class Kernel>
double repulse(const Kernel& kernel, const PairItems<T>& items, std::int64_t first, double* force) {
  using Group = RowGroup<I, T, D, G, Kernel>;
  constexpr std::int64_t k_lanes = lanes<T, I>;
  double sum = 0;
  for (std::int64_t i = first; i < first + k_pair_tile && i < items.n; i += Group::rows) {
    Group group(items, i);
    const std::int64_t past = i + Group::rows < items.n ? i + Group::rows : items.n;
    for (std::int64_t j = 0; j < i; j += k_terms)
      group.template meet<false>(kernel, items, j, j + k_terms < i ? j + k_terms : i, 0);
    group.template meet<true>(kernel, items, i, past, 0);
    for (std::int64_t j = past; j < items.n; j += k_terms)
      group.template meet<false>(kernel, items, j, j + k_terms < items.n ? j + k_terms : items.n, 0);
    double weight[Group::rows];
    for (int g = 0; g < G; ++g) {
      group.weight[g].store(weight + g * k_lanes);
      for (int c = 0; c < D; ++c) group.force[g][c].store(force + c * items.stride + i + g * k_lanes);
    }
    for (std::int64_t r = 0; r < past - i; ++r) sum += weight[r];
  }
  return sum;
}

// Any number of dimensions: the sums stay in memory, the differences are taken twice.
template <Isa I, class T, class Kernel>
double repulse_wide(const Kernel& kernel, const PairItems<T>& items, std::int64_t first, double* force,
                    double* work) {
  using V = Vec<T, I>;
  constexpr std::int64_t k_lanes = lanes<T, I>;
  double sum = 0;
  T* f_sum = reinterpret_cast<T*>(work);
  for (std::int64_t i = first; i < first + k_pair_tile && i < items.n; i += k_lanes) {
    LaneSum<T, I> weight;
    for (std::int64_t c = 0; c < items.d; ++c)
      for (std::int64_t l = 0; l < k_lanes; ++l) force[c * items.stride + i + l] = 0;
    for (std::int64_t begin = 0; begin < items.n; begin += k_terms) {
      V w_sum{};
      for (std::int64_t c = 0; c < items.d * k_lanes; ++c) f_sum[c] = 0;
      for (std::int64_t j = begin; j < begin + k_terms && j < items.n; ++j) {
        V base = splat<V>(T(1));
        for (std::int64_t c = 0; c < items.d; ++c) {
          const V diff = load<I>(items.y + c * items.stride + i) - items.y[c * items.stride + j];
          base = fma(diff, diff, base);
        }
        const V inv = inverse<I>(base);
        V w = kernel.weight_at(base, inv);
        const V fall = kernel.fall(w, inv);
        if (j >= i && j < i + k_lanes) w = select(lane_numbers<I, T>() == static_cast<T>(j - i), V{}, w);
        w_sum += w;
        for (std::int64_t c = 0; c < items.d; ++c) {
          const V diff = load<I>(items.y + c * items.stride + i) - items.y[c * items.stride + j];
          store<I>(f_sum + c * k_lanes, fma(fall, diff, load<I>(f_sum + c * k_lanes)));
        }
      }
      weight.add(w_sum);
      for (std::int64_t c = 0; c < items.d; ++c)
        for (std::int64_t l = 0; l < k_lanes; ++l)
          force[c * items.stride + i + l] += static_cast<double>(f_sum[c * k_lanes + l]);
    }
    double lane[k_lanes];
    weight.store(lane);
    for (std::int64_t l = 0; l < k_lanes && i + l < items.n; ++l) sum += lane[l];
  }
  return sum;
}

template <Isa I, class T, class Kernel>
double repulse_any(const Kernel& kernel, const PairItems<T>& items, std::int64_t first, double* force,
                   double* work) {
  constexpr bool many_registers = I == Isa::v4;
  if (items.d == 1) return repulse < I, 1, many_registers ? 4 : 2 > (kernel, items, first, force);
  if (items.d == 2) return repulse < I, 2, many_registers ? 4 : 2 > (kernel, items, first, force);
  if (items.d == 3) return repulse < I, 3, many_registers ? 2 : 1 > (kernel, items, first, force);
  return repulse_wide<I>(kernel, items, first, force, work);
}

// y[col[e]] for the first `width` lanes; the other lanes get `rest`.
template <Isa I, class T>
FLATLAND_HD Vec<T, I> gather(const T* y, const std::int32_t* col, std::int64_t width, T rest) {
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4 && sizeof(T) == 4) {
    const __mmask16 mask = static_cast<__mmask16>((1U << width) - 1);
    const __m512i at = _mm512_maskz_loadu_epi32(mask, col);
    return (Vec<T, I>)_mm512_mask_i32gather_ps((__m512)broadcast<I>(rest), mask, at, y, 4);
  }
#endif
  T lane[lanes<T, I>];
  for (int l = 0; l < lanes<T, I>; ++l) lane[l] = l < width ? y[col[l]] : rest;
  return load<I>(lane);
}
// The affinities of a vector of entries, 0 for the row's own item.
template <Isa I, class T>
FLATLAND_HD Vec<T, I> affinities(const T* p, const std::int32_t* col, std::int64_t width, std::int64_t row) {
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4 && sizeof(T) == 4) {
    const __mmask16 mask = static_cast<__mmask16>((1U << width) - 1);
    const __mmask16 others = _mm512_mask_cmpneq_epi32_mask(mask, _mm512_maskz_loadu_epi32(mask, col),
                                                           _mm512_set1_epi32(static_cast<int>(row)));
    return (Vec<T, I>)_mm512_maskz_loadu_ps(others, p);
  }
#endif
  T lane[lanes<T, I>];
  for (int l = 0; l < lanes<T, I>; ++l) lane[l] = l < width && col[l] != row ? p[l] : T(0);
  return load<I>(lane);
}

template <Isa I, int D, class T, class Kernel>
AttractSums attract(const Kernel& kernel, const PairItems<T>& items, const SparseRows<T>& p, T eps, T scale,
                    std::int64_t first, double* force) {
  using V = Vec<T, I>;
  LaneSum<T, I> loss;
  LaneSum<T, I> share;
  for (std::int64_t i = first; i < first + k_pair_tile && i < items.n; ++i) {
    LaneSum<T, I> sum[D];
    const std::int64_t begin = p.begin[i];
    for_vectors<T, I>(p.end[i] - begin, [&](std::int64_t e, std::int64_t width) {
      const std::int32_t* col = p.col + begin + e;
      V diff[D];
      V base = splat<V>(T(1));
      for (int c = 0; c < D; ++c) {
        const T* y = items.y + c * items.stride;
        diff[c] = y[i] - gather<I>(y, col, width, y[i]);
        base = fma(diff[c], diff[c], base);
      }
      const V pe = affinities<I>(p.value + begin + e, col, width, i);
      const Attraction<V> a = attraction(kernel, base, inverse<I>(base), pe, scale, eps);
      loss.add(a.loss);
      share.add(a.share);
      for (int c = 0; c < D; ++c) sum[c].add(a.strength * diff[c]);
    });
    for (int c = 0; c < D; ++c) force[c * items.stride + i] = sum[c].total();
  }
  return {loss.total(), share.total()};
}

// Any number of dimensions, one entry at a time.
template <Isa I, class T, class Kernel>
AttractSums attract_wide(const Kernel& kernel, const PairItems<T>& items, const SparseRows<T>& p, T eps,
                         T scale, std::int64_t first, double* force) {
  AttractSums sums;
  for (std::int64_t i = first; i < first + k_pair_tile && i < items.n; ++i) {
    for (std::int64_t c = 0; c < items.d; ++c) force[c * items.stride + i] = 0;
    for (std::int64_t e = p.begin[i]; e < p.end[i]; ++e) {
      const std::int64_t j = p.col[e];
      if (j == i) continue;
      T base = 1;
      for (std::int64_t c = 0; c < items.d; ++c) {
        const T diff = items.y[c * items.stride + i] - items.y[c * items.stride + j];
        base = fma(diff, diff, base);
      }
      const Attraction<T> a = attraction(kernel, base, T(1) / base, p.value[e], scale, eps);
      sums.loss += static_cast<double>(a.loss);
      sums.share += static_cast<double>(a.share);
      const double strength = static_cast<double>(a.strength);
      for (std::int64_t c = 0; c < items.d; ++c)
        force[c * items.stride + i] +=
            strength * static_cast<double>(items.y[c * items.stride + i] - items.y[c * items.stride + j]);
    }
  }
  return sums;
}

template <Isa I, class T, class Kernel>
AttractSums attract_any(const Kernel& kernel, const PairItems<T>& items, const SparseRows<T>& p, T eps,
                        T scale, std::int64_t first, double* force) {
  if (items.d == 1) return attract<I, 1>(kernel, items, p, eps, scale, first, force);
  if (items.d == 2) return attract<I, 2>(kernel, items, p, eps, scale, first, force);
  if (items.d == 3) return attract<I, 3>(kernel, items, p, eps, scale, first, force);
  return attract_wide<I>(kernel, items, p, eps, scale, first, force);
}

}  // namespace

template <Isa I, class T>
double repulse_tile(const PairItems<T>& items, std::int64_t first, double* force, double* work) {
  if (items.alpha == 1) return repulse_any<I>(StudentT<T, true>(1), items, first, force, work);
  return repulse_any<I>(StudentT<T, false>(items.alpha), items, first, force, work);
}

template <Isa I, class T>
AttractSums attract_tile(const PairItems<T>& items, const SparseRows<T>& p, double eps, T scale,
                         std::int64_t first, double* force) {
  const T e = static_cast<T>(eps);
  if (items.alpha == 1) return attract_any<I>(StudentT<T, true>(1), items, p, e, scale, first, force);
  return attract_any<I>(StudentT<T, false>(items.alpha), items, p, e, scale, first, force);
}

#define FLATLAND_KL_STUDENT_T(T)                                                                       \
  template double repulse_tile<this_isa, T>(const PairItems<T>&, std::int64_t, double*, double*);      \
  template AttractSums attract_tile<this_isa, T>(const PairItems<T>&, const SparseRows<T>&, double, T, \
                                                 std::int64_t, double*);
FLATLAND_KL_STUDENT_T(float)
FLATLAND_KL_STUDENT_T(double)

}  // namespace flatland::kernels
