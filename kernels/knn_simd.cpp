#include <flatland/kernels/knn_simd.h>
#include <flatland/kernels/pairwise_formulas.h>

namespace flatland::kernels {

namespace {

constexpr float k_infinity = __builtin_inff();

// --- exact keys ---------------------------------------------------------------------------------------

template <Isa I>
inline constexpr int k_parts = static_cast<int>(k_key_lanes) / lanes<double, I>;

// Eight partial sums.
template <Isa I>
struct Eight {
  Vec<double, I> part[k_parts<I>];
};

template <Isa I>
FLATLAND_HD Eight<I> load_eight(const double* p) {
  Eight<I> result;
  for (int v = 0; v < k_parts<I>; ++v) result.part[v] = load<I>(p + v * lanes<double, I>);
  return result;
}
template <Isa I>
FLATLAND_HD Eight<I> load_eight(const float* p) {
  using Few = typename detail::VecType<float, 4 * lanes<double, I>>::unaligned;
  Eight<I> result;
  for (int v = 0; v < k_parts<I>; ++v)
    result.part[v] =
        __builtin_convertvector(*reinterpret_cast<const Few*>(p + v * lanes<double, I>), Vec<double, I>);
  return result;
}

// Coordinates k, ..., k + 7 of row j as the keys see them; zeros past the end.
template <Isa I, class T>
FLATLAND_HD Eight<I> key_values(const KeyRows<T>& y, std::int64_t j, std::int64_t k) {
  const std::int64_t d = y.x.cols;
  Eight<I> result;
  if (k + k_key_lanes <= d) {
    result = load_eight<I>(y.x.row(j) + k);
  } else {
    T rest[k_key_lanes];
    for (std::int64_t l = 0; l < k_key_lanes; ++l) rest[l] = k + l < d ? y.x(j, k + l) : T(0);
    result = load_eight<I>(static_cast<const T*>(rest));
  }
  if (y.units == nullptr) return result;
  double inside[k_key_lanes];
  for (std::int64_t l = 0; l < k_key_lanes; ++l) inside[l] = k + l < d ? y.units[j].scale : 0;
  const Eight<I> scale = load_eight<I>(inside);
  const Vec<double, I> shift = broadcast<I>(y.units[j].shift);
  for (int v = 0; v < k_parts<I>; ++v) result.part[v] = (result.part[v] - shift) * scale.part[v];
  return result;
}

template <Term term, class V>
FLATLAND_HD V add_key_term(V sum, V d) {
  if constexpr (term == Term::squares) return sum + d * d;
  return add_term<term>(sum, d);
}

template <Isa I, Term term>
FLATLAND_HD double combine(const Eight<I>& sums) {
  double lane[k_key_lanes];
  for (int v = 0; v < k_parts<I>; ++v) store<I>(lane + v * lanes<double, I>, sums.part[v]);
  for (int width = k_key_lanes / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) {
      if constexpr (term == Term::maximum)
        lane[l] = lane[l] > lane[l + width] ? lane[l] : lane[l + width];
      else
        lane[l] += lane[l + width];
    }
  return lane[0];
}

FLATLAND_HD double ordered_key(double key) {
  return key < __builtin_inf() ? key : __builtin_inf();
}

// R rows against the S rows of y at[0], ...: keys[r * step + s].
template <Isa I, class T, Term term, int R, int S>
FLATLAND_HD void key_block(const KeyRow* rows, const KeyRows<T>& y, const std::int64_t* at, double* keys,
                           std::int64_t step) {
  Eight<I> sum[R][S] = {};
  for (std::int64_t k = 0; k < y.x.cols; k += k_key_lanes) {
    Eight<I> x[R];
    for (int r = 0; r < R; ++r) x[r] = load_eight<I>(rows[r].values + k);
    for (int s = 0; s < S; ++s) {
      const Eight<I> values = key_values<I, T>(y, at[s], k);
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < k_parts<I>; ++v)
          sum[r][s].part[v] = add_key_term<term>(sum[r][s].part[v], x[r].part[v] - values.part[v]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int s = 0; s < S; ++s) {
      const double last = rows[r].zero - (y.units != nullptr ? y.units[at[s]].zero() : 0);
      keys[r * step + s] = ordered_key(add_key_term<term>(combine<I, term>(sum[r][s]), last));
    }
}

template <Isa I, class T>
double power_key(double p, const double* x, const KeyRows<T>& y, std::int64_t j) {
  double largest = 0;
  for (std::int64_t k = 0; k < y.x.cols; ++k) largest = max(abs(x[k] - y.value(j, k)), largest);
  if (largest == 0) return 0;
  double sum = 0;
  for (std::int64_t k = 0; k < y.x.cols; ++k) sum += __builtin_pow(abs(x[k] - y.value(j, k)) / largest, p);
  return ordered_key(largest * __builtin_pow(sum, 1 / p));
}

template <Isa I, class T, Term term>
FLATLAND_HD void list_keys(KeyRow row, const KeyRows<T>& y, const std::int32_t* index, std::int64_t n,
                           double* keys) {
  std::int64_t j = 0;
  for (; j + 4 <= n; j += 4) {
    const std::int64_t at[4] = {index[j], index[j + 1], index[j + 2], index[j + 3]};
    key_block<I, T, term, 1, 4>(&row, y, at, keys + j, n);
  }
  for (; j < n; ++j) {
    const std::int64_t at = index[j];
    key_block<I, T, term, 1, 1>(&row, y, &at, keys + j, n);
  }
}

template <Isa I, class T, Term term>
FLATLAND_HD void range_keys(const KeyRow* rows, const KeyRows<T>& y, std::int64_t first, std::int64_t n,
                            double* keys) {
  for (std::int64_t j = 0; j < n; ++j) {
    const std::int64_t at = first + j;
    key_block<I, T, term, k_key_group, 1>(rows, y, &at, keys + j, n);
  }
}

// --- candidates ---------------------------------------------------------------------------------------

// Integers in the order of the floats, and back.
FLATLAND_HD std::int32_t to_ordered(float x) {
  const std::int32_t bits = to_bits(x);
  return bits >= 0 ? bits : bits ^ 0x7fffffff;
}
FLATLAND_HD float from_ordered(std::int32_t x) {
  return from_bits<float>(x >= 0 ? x : x ^ 0x7fffffff);
}

template <Isa I>
FLATLAND_HD std::int64_t count_at_most(const float* values, std::int64_t n, float limit) {
  constexpr int w = lanes<float, I>;
  const Vec<float, I> most = broadcast<I>(limit);
  IntVec<float, I> count = {};
  for (std::int64_t i = 0; i < n; i += w) count -= load<I>(values + i) <= most;
  std::int64_t total = 0;
  for (int l = 0; l < w; ++l) total += count[l];
  return total;
}

// A limit that at least k and, where values differ, at most k + spare of the n values keep.
template <Isa I>
FLATLAND_HD float select_limit(const float* values, std::int64_t n, std::int64_t k, std::int64_t spare) {
  constexpr int w = lanes<float, I>;
  Vec<float, I> least = load<I>(values);
  Vec<float, I> most = broadcast<I>(-k_infinity);
  for (std::int64_t i = 0; i < n; i += w) {
    const Vec<float, I> v = load<I>(values + i);
    least = min(v, least);
    most = max(select(v < k_infinity, v, -k_infinity), most);
  }
  std::int64_t low = to_ordered(-max_lanes<I, float>(-least));
  std::int64_t high = to_ordered(max_lanes<I, float>(most));
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    const std::int64_t count = count_at_most<I>(values, n, from_ordered(static_cast<std::int32_t>(middle)));
    if (count < k) {
      low = middle + 1;
    } else {
      high = middle;
      if (count <= k + spare) break;
    }
  }
  return from_ordered(static_cast<std::int32_t>(high));
}

// Keeps values[i] <= limit and what stands beside them, in order.
template <Isa I>
FLATLAND_HD std::int64_t keep_at_most(float* values, std::int32_t* index, std::int64_t n, float limit) {
  std::int64_t kept = 0;
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4) {
    for (std::int64_t i = 0; i < n; i += 16) {
      const __m512 v = _mm512_loadu_ps(values + i);
      const __m512i at = _mm512_loadu_si512(index + i);
      const __mmask16 keep = _mm512_cmp_ps_mask(v, _mm512_set1_ps(limit), _CMP_LE_OQ);
      _mm512_storeu_ps(values + kept, _mm512_maskz_compress_ps(keep, v));
      _mm512_storeu_si512(index + kept, _mm512_maskz_compress_epi32(keep, at));
      kept += __builtin_popcount(keep);
    }
    return kept;
  }
#endif
  for (std::int64_t i = 0; i < n; ++i) {
    const float v = values[i];
    const std::int32_t at = index[i];
    values[kept] = v;
    index[kept] = at;
    kept += v <= limit;
  }
  return kept;
}

template <Isa I>
FLATLAND_HD void append(const Candidates& c, std::int64_t row, float lower, std::int64_t item) {
  const std::int32_t at = c.count[row]++;
  c.lower[row * c.capacity + at] = lower;
  c.index[row * c.capacity + at] = static_cast<std::int32_t>(item);
  if (at + 1 == c.capacity) tighten<I>(c, row, true);
}

// Appends the lanes that are set: columns j, j + 1, ... of a tile's row.
template <Isa I>
[[gnu::noinline]] void append_lanes(const Candidates& c, const ProductTile& tile, std::int64_t i,
                                    std::int64_t j, Vec<float, I> lower, unsigned for_row,
                                    unsigned for_column) {
  float lane[lanes<float, I>];
  store<I>(lane, lower);
  const std::int64_t row = tile.row0 + i;
  const std::int64_t column = tile.col0 + j;
  for (; for_row != 0; for_row &= for_row - 1) {
    const int l = __builtin_ctz(for_row);
    // An earlier lane may have lowered the threshold.
    if (lane[l] <= c.threshold[row] && !(tile.diagonal && row == column + l))
      append<I>(c, row, lane[l], column + l);
  }
  for (; for_column != 0; for_column &= for_column - 1) {
    const int l = __builtin_ctz(for_column);
    append<I>(c, column + l, lane[l], row);
  }
}

template <Isa I, bool symmetric>
FLATLAND_HD void scan(const Candidates& c, const ProductTile& tile) {
  constexpr int w = lanes<float, I>;
  const float* norms = c.other_norm + tile.col0;
  const float* thresholds = c.threshold + tile.col0;
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const float* product = tile.product + i * tile.ld;
    const Vec<float, I> norm = broadcast<I>(c.own_norm[tile.row0 + i]);
    for (std::int64_t j = 0; j < tile.cols; j += w) {
      const std::int64_t rest = tile.cols - j;
      const unsigned inside = rest >= w ? ~0u : (1u << rest) - 1;
      const Vec<float, I> lower =
          fma(broadcast<I>(-2.f), load_part<I>(product + j, rest), norm + load<I>(norms + j));
      const Vec<float, I> limit = broadcast<I>(c.threshold[tile.row0 + i]);
      const unsigned for_row = mask_bits<I, float>(lower <= limit) & inside;
      unsigned for_column = 0;
      if constexpr (symmetric) for_column = mask_bits<I, float>(lower <= load<I>(thresholds + j)) & inside;
      if ((for_row | for_column) != 0) append_lanes<I>(c, tile, i, j, lower, for_row, for_column);
    }
  }
}

}  // namespace

template <Isa I, class T>
void keys_of_list(const DistanceForm& form, KeyRow row, const KeyRows<T>& y, const std::int32_t* index,
                  std::int64_t n, double* keys) {
  switch (form.term) {
    case Term::squares:
      return list_keys<I, T, Term::squares>(row, y, index, n, keys);
    case Term::absolutes:
      return list_keys<I, T, Term::absolutes>(row, y, index, n, keys);
    case Term::maximum:
      return list_keys<I, T, Term::maximum>(row, y, index, n, keys);
    case Term::powers:
      for (std::int64_t j = 0; j < n; ++j) keys[j] = power_key<I, T>(form.p, row.values, y, index[j]);
  }
}

template <Isa I, class T>
void keys_of_range(const DistanceForm& form, const KeyRow* rows, const KeyRows<T>& y, std::int64_t first,
                   std::int64_t n, double* keys) {
  switch (form.term) {
    case Term::squares:
      return range_keys<I, T, Term::squares>(rows, y, first, n, keys);
    case Term::absolutes:
      return range_keys<I, T, Term::absolutes>(rows, y, first, n, keys);
    case Term::maximum:
      return range_keys<I, T, Term::maximum>(rows, y, first, n, keys);
    case Term::powers:
      for (int r = 0; r < k_key_group; ++r)
        for (std::int64_t j = 0; j < n; ++j)
          keys[r * n + j] = power_key<I, T>(form.p, rows[r].values, y, first + j);
  }
}

template <Isa I>
void tighten(const Candidates& c, std::int64_t row, bool may_give_up) {
  float* lower = c.lower + row * c.capacity;
  std::int32_t* index = c.index + row * c.capacity;
  const std::int64_t n = c.count[row];
  const std::int64_t padded = (n + k_candidate_pad - 1) / k_candidate_pad * k_candidate_pad;
  for (std::int64_t i = n; i < padded; ++i) {
    lower[i] = k_infinity;
    index[i] = 0;
  }
  const float limit = select_limit<I>(lower, padded, c.k, (c.capacity - c.k) / 16);
  // At least k items have their true distance below the largest upper bound among those within the limit;
  // whatever has its lower bound above that is none of the k nearest.
  float largest_norm = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const float norm = c.other_norm[index[i]];
    largest_norm = lower[i] <= limit && norm > largest_norm ? norm : largest_norm;
  }
  const float upper = limit + (c.slack * (c.own_norm[row] + largest_norm) + c.slack_absolute);
  const std::int64_t kept = keep_at_most<I>(lower, index, padded, upper);
  const bool gives_up = may_give_up && kept > c.capacity - (c.capacity - c.k) / 8;
  c.count[row] = gives_up ? 0 : static_cast<std::int32_t>(kept);
  const float before = c.threshold[row];
  c.threshold[row] = gives_up ? -k_infinity : upper < before ? upper : before;
}

template <Isa I>
void scan_tile(const Candidates& candidates, const ProductTile& tile) {
  if (tile.symmetric)
    scan<I, true>(candidates, tile);
  else
    scan<I, false>(candidates, tile);
}

#define FLATLAND_INSTANTIATE(T)                                                                   \
  template void keys_of_list<this_isa, T>(const DistanceForm&, KeyRow, const KeyRows<T>&,         \
                                          const std::int32_t*, std::int64_t, double*);            \
  template void keys_of_range<this_isa, T>(const DistanceForm&, const KeyRow*, const KeyRows<T>&, \
                                           std::int64_t, std::int64_t, double*);
FLATLAND_INSTANTIATE(float)
FLATLAND_INSTANTIATE(double)
#undef FLATLAND_INSTANTIATE
template void tighten<this_isa>(const Candidates&, std::int64_t, bool);
template void scan_tile<this_isa>(const Candidates&, const ProductTile&);

}  // namespace flatland::kernels
