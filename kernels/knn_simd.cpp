#include <flatland/kernels/knn_simd.h>

namespace flatland::kernels {

namespace {

constexpr float k_infinity = __builtin_inff();

// --- exact keys ---------------------------------------------------------------------------------------

template <Isa I>
inline constexpr int k_parts = static_cast<int>(k_key_lanes) / lanes<double, I>;

// Eight values, a vector or more of them.
template <Isa I>
struct Eight {
  Vec<double, I> part[k_parts<I>];
};

template <Isa I>
FLATLAND_HD Vec<double, I> load_double(const double* p) {
  return load<I>(p);
}
template <Isa I>
FLATLAND_HD Vec<double, I> load_double(const float* p) {
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4) return (Vec<double, I>)_mm512_maskz_cvtps_pd(__mmask8(-1), _mm256_loadu_ps(p));
#endif
#if defined(__AVX__)
  if constexpr (I == Isa::v3) return (Vec<double, I>)_mm256_cvtps_pd(_mm_loadu_ps(p));
#endif
  double lane[lanes<double, I>];
  FLATLAND_UNROLL for (int l = 0; l < lanes<double, I>; ++l) lane[l] = static_cast<double>(p[l]);
  return load<I>(lane);
}

// A row of y: as it is, or as a unit row.
template <class T>
struct KeySource {
  const T* x;
  double shift;
  double scale;
};

template <Isa I, bool unit, class T>
FLATLAND_HD Eight<I> key_values(const KeySource<T>& y, std::int64_t k) {
  Eight<I> result;
  FLATLAND_UNROLL for (int v = 0; v < k_parts<I>; ++v) {
    result.part[v] = load_double<I>(y.x + k + v * lanes<double, I>);
    if constexpr (unit) result.part[v] = (result.part[v] - broadcast<I>(y.shift)) * broadcast<I>(y.scale);
  }
  return result;
}
// The last ones: those past the end come out as zeros.
template <Isa I, bool unit, class T>
FLATLAND_HD Eight<I> last_key_values(const KeySource<T>& y, std::int64_t k, std::int64_t d) {
  double rest[k_key_lanes];
  for (std::int64_t l = 0; l < k_key_lanes; ++l) {
    rest[l] = k + l < d ? static_cast<double>(y.x[k + l]) : 0;
    if (unit && k + l < d) rest[l] = (rest[l] - y.shift) * y.scale;
  }
  Eight<I> result;
  FLATLAND_UNROLL for (int v = 0; v < k_parts<I>; ++v) result.part[v] = load<I>(rest + v * lanes<double, I>);
  return result;
}

template <Isa I, Term term>
FLATLAND_HD double combine(const Eight<I>& sums) {
  double lane[k_key_lanes];
  FLATLAND_UNROLL for (int v = 0; v < k_parts<I>; ++v) store<I>(lane + v * lanes<double, I>, sums.part[v]);
  return combined_key<term>(lane);
}

// Adds eight coordinates, k and following, of R rows less S rows.
template <Isa I, Term term, int R, int S>
FLATLAND_HD void add_eight(const KeyRow* rows, std::int64_t k, const Eight<I>* y, Eight<I> (&sum)[R][S]) {
  FLATLAND_UNROLL for (int r = 0; r < R; ++r) {
    FLATLAND_UNROLL for (int v = 0; v < k_parts<I>; ++v) {
      const Vec<double, I> x = load<I>(rows[r].values + k + v * lanes<double, I>);
      FLATLAND_UNROLL for (int s = 0; s < S; ++s) {
        sum[r][s].part[v] = add_key_term<term>(sum[r][s].part[v], x - y[s].part[v]);
      }
    }
  }
}

// R rows against the S rows of y at[0], ...: keys[r * step + s]. Rows come from everywhere; those of the next
// call, next[0], ..., are fetched meanwhile.
template <Isa I, class T, Term term, bool unit, int R, int S>
FLATLAND_HD void key_block(const KeyRow* rows, const KeyRows<T>& y, const std::int64_t* at,
                           const std::int64_t* next, double* keys, std::int64_t step) {
  Eight<I> sum[R][S] = {};
  Eight<I> values[S];
  KeySource<T> source[S];
  const T* fetched[S];
  FLATLAND_UNROLL for (int s = 0; s < S; ++s) {
    fetched[s] = y.x.row(next[s]);
    source[s] = {y.x.row(at[s]), unit ? y.units[at[s]].shift : 0, unit ? y.units[at[s]].scale : 0};
  }
  const std::int64_t d = y.x.cols;
  std::int64_t k = 0;
  for (; k + k_key_lanes <= d; k += k_key_lanes) {
    FLATLAND_UNROLL for (int s = 0; s < S; ++s) {
      __builtin_prefetch(fetched[s] + k);
      values[s] = key_values<I, unit, T>(source[s], k);
    }
    add_eight<I, term>(rows, k, values, sum);
  }
  if (k < d) {
    FLATLAND_UNROLL for (int s = 0; s < S; ++s) values[s] = last_key_values<I, unit, T>(source[s], k, d);
    add_eight<I, term>(rows, k, values, sum);
  }
  FLATLAND_UNROLL for (int r = 0; r < R; ++r) {
    FLATLAND_UNROLL for (int s = 0; s < S; ++s) {
      double key = combine<I, term>(sum[r][s]);
      if constexpr (unit) key = add_key_term<term>(key, rows[r].zero - y.units[at[s]].zero());
      keys[r * step + s] = ordered_key(key);
    }
  }
}

template <Isa I, class T>
FLATLAND_HD double power_key(double p, const double* x, const KeyRows<T>& y, std::int64_t j) {
  return kernels::power_key(
      p, y.x.cols, [=](std::int64_t k) { return x[k]; }, [&](std::int64_t k) { return y.value(j, k); });
}

template <Isa I, class T, Term term, bool unit = false>
FLATLAND_HD void list_keys(KeyRow row, const KeyRows<T>& y, const std::int32_t* index, std::int64_t n,
                           double* keys) {
  std::int64_t j = 0;
  for (; j + 4 <= n; j += 4) {
    const std::int64_t at[4] = {index[j], index[j + 1], index[j + 2], index[j + 3]};
    const std::int32_t* after = index + (j + 8 <= n ? j + 4 : j);
    const std::int64_t next[4] = {after[0], after[1], after[2], after[3]};
    key_block<I, T, term, unit, 1, 4>(&row, y, at, next, keys + j, n);
  }
  for (; j < n; ++j) {
    const std::int64_t at = index[j];
    key_block<I, T, term, unit, 1, 1>(&row, y, &at, &at, keys + j, n);
  }
}

template <Isa I, class T, Term term, bool unit = false>
FLATLAND_HD void range_keys(const KeyRow* rows, const KeyRows<T>& y, std::int64_t first, std::int64_t n,
                            double* keys) {
  for (std::int64_t j = 0; j < n; ++j) {
    const std::int64_t at = first + j;
    key_block<I, T, term, unit, k_key_group, 1>(rows, y, &at, &at, keys + j, n);
  }
}

// --- candidates ---------------------------------------------------------------------------------------

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

// Keeps the k nearest: those within `limit`, of which some go if they are too many, as equal ones may be.
template <Isa I>
FLATLAND_HD std::int64_t keep_nearest(const Candidates& c, float* lower, std::int32_t* index, std::int64_t n,
                                      float limit) {
  const std::int64_t kept = keep_at_most<I>(lower, index, n, limit);
  if (kept <= c.k + (c.capacity - c.k) / 8) return kept;
  std::int64_t nearer = 0, at = 0;
  for (std::int64_t i = 0; i < kept; ++i) nearer += lower[i] < limit;
  for (std::int64_t i = 0, equal = nearer; i < kept; ++i) {
    if (lower[i] == limit && ++equal > c.k) continue;
    lower[at] = lower[i];
    index[at++] = index[i];
  }
  return at;
}

template <Isa I>
FLATLAND_HD void append(const Candidates& c, std::int64_t row, float lower, std::int64_t item) {
  const std::int32_t at = c.count[row]++;
  c.lower[row * c.capacity + at] = lower;
  c.index[row * c.capacity + at] = static_cast<std::int32_t>(item);
  if (at + 1 == c.capacity) tighten<I>(c, row, true);
}

// Appends the lanes that are set, items first, first + 1, ..., to a row.
template <Isa I>
FLATLAND_HD void append_to_row(const Candidates& c, std::int64_t row, Vec<float, I> lower, unsigned set,
                               std::int64_t first) {
#if defined(__AVX512F__)
  if constexpr (I == Isa::v4) {
    const std::int32_t at = c.count[row];
    if (at + 16 < c.capacity) {
      const __m512i item =
          _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first)),
                           _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
      const auto keep = static_cast<__mmask16>(set);
      _mm512_storeu_ps(c.lower + row * c.capacity + at, _mm512_maskz_compress_ps(keep, (__m512)lower));
      _mm512_storeu_si512(c.index + row * c.capacity + at, _mm512_maskz_compress_epi32(keep, item));
      c.count[row] = at + __builtin_popcount(set);
      return;
    }
  }
#endif
  float lane[lanes<float, I>];
  store<I>(lane, lower);
  for (; set != 0; set &= set - 1) {
    const int l = __builtin_ctz(set);
    // An earlier lane may have lowered the threshold.
    if (lane[l] <= c.threshold[row]) append<I>(c, row, lane[l], first + l);
  }
}

// Appends a row to the items first, first + 1, ... of the lanes that are set.
template <Isa I>
FLATLAND_HD void append_to_columns(const Candidates& c, std::int64_t row, Vec<float, I> lower, unsigned set,
                                   std::int64_t first) {
  float lane[lanes<float, I>];
  store<I>(lane, lower);
  for (; set != 0; set &= set - 1) {
    const int l = __builtin_ctz(set);
    append<I>(c, first + l, lane[l], row);
  }
}

template <Isa I, bool symmetric>
FLATLAND_HD void scan(const Candidates& c, const ProductTile& tile) {
  constexpr int w = lanes<float, I>;
  const float* thresholds = c.threshold + tile.col0;
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const std::int64_t row = tile.row_list != nullptr ? tile.row_list[i] : tile.row0 + i;
    const std::int64_t self = tile.self + row - tile.col0;
    const float* product = tile.product + i * tile.ld;
    const Vec<float, I> norm = broadcast<I>(tile.row_norm[i]);
    for (std::int64_t j = 0; j < tile.cols; j += w) {
      const Vec<float, I> lower =
          fma(broadcast<I>(-2.f), load<I>(product + j), norm + load<I>(tile.col_norm + j));
      unsigned for_row = mask_bits<I, float>(lower <= broadcast<I>(c.threshold[row]));
      if (for_row != 0) {
        if (!symmetric && self >= j && self < j + w) for_row &= ~(1u << (self - j));
        append_to_row<I>(c, row, lower, for_row, tile.col0 + j);
      }
      if constexpr (symmetric) {
        const unsigned for_column = mask_bits<I, float>(lower <= load<I>(thresholds + j));
        if (for_column != 0) append_to_columns<I>(c, row, lower, for_column, tile.col0 + j);
      }
    }
  }
}

}  // namespace

template <Isa I, class T>
void keys_of_list(const DistanceForm& form, KeyRow row, const KeyRows<T>& y, const std::int32_t* index,
                  std::int64_t n, double* keys) {
  switch (form.term) {
    case Term::squares:
      if (form.unit_rows) return list_keys<I, T, Term::squares, true>(row, y, index, n, keys);
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
      if (form.unit_rows) return range_keys<I, T, Term::squares, true>(rows, y, first, n, keys);
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
  const float limit = select_limit<I>(lower, padded, c.k, candidate_spare(c));
  if (c.own_norm == nullptr) {
    c.count[row] = static_cast<std::int32_t>(keep_nearest<I>(c, lower, index, padded, limit));
    c.threshold[row] = limit < c.threshold[row] ? limit : c.threshold[row];
    return;
  }
  const auto bound_for = [&](float norm) {
    return upper_bound(limit, c.slack, c.slack_absolute, c.own_norm[row], norm);
  };
  float upper = bound_for(c.largest_norm);  // often does
  if (count_at_most<I>(lower, padded, upper) > c.k + (c.capacity - c.k) / 8) {
    float largest = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const float norm = c.other_norm[index[i]];
      largest = lower[i] <= limit && norm > largest ? norm : largest;
    }
    upper = bound_for(largest);
  }
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
