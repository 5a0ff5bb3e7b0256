#include <flatland/kernels/knn_graph_simd.h>
#include <flatland/kernels/lane_sum_simd.h>
#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

namespace {

constexpr float k_infinity = __builtin_inff();

// --- lists --------------------------------------------------------------------------------------------

template <Isa I>
FLATLAND_HD IntVec<float, I> load_items(const std::int32_t* p) {
  IntVec<float, I> v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

template <Isa I>
FLATLAND_HD bool has_item(const std::int32_t* items, std::int64_t width, std::int32_t item) {
  unsigned found = 0;
  for (std::int64_t j = 0; j < width; j += lanes<float, I>)
    found |= mask_bits<I, float>((load_items<I>(items + j) & INT32_MAX) == item);
  return found != 0;
}

// Puts an item in the place of the worst unless the row has it. Needs dist < worst.
template <Isa I>
FLATLAND_HD bool take(const NeighborLists& lists, std::int64_t row, float dist, std::int32_t item) {
  constexpr int w = lanes<float, I>;
  float* dists = lists.dist + row * lists.width;
  std::int32_t* items = lists.item + row * lists.width;
  if (has_item<I>(items, lists.width, item)) return false;
  const Vec<float, I> worst = broadcast<I>(lists.worst[row]);
  std::int64_t at = 0;
  for (unsigned here = 0; here == 0; at += w) {
    here = mask_bits<I, float>(load<I>(dists + at) == worst);
    if (here != 0) {
      at += __builtin_ctz(here);
      break;
    }
  }
  dists[at] = dist;
  items[at] = item | k_unseen;
  Vec<float, I> largest = load<I>(dists);
  for (std::int64_t j = w; j < lists.width; j += w) largest = max(load<I>(dists + j), largest);
  lists.worst[row] = fold_lanes<I, float>(largest, [](auto a, auto b) { return max(a, b); });
  return true;
}

// --- distances ----------------------------------------------------------------------------------------

template <Isa I>
using Quad = Vec<float, Isa::v1>;

// The sums of the lanes of four vectors.
template <Isa I>
FLATLAND_HD Quad<I> sum_quad(const Vec<float, I> (&v)[4]) {
  using Four = detail::VecType<float, 16>::type;
  Four sum[4];
  FLATLAND_UNROLL for (int r = 0; r < 4; ++r) {
    Four part[vec_bytes<I> / 16];
    __builtin_memcpy(part, &v[r], sizeof(v[r]));
    if constexpr (vec_bytes<I> == 64)
      sum[r] = (part[0] + part[2]) + (part[1] + part[3]);
    else if constexpr (vec_bytes<I> == 32)
      sum[r] = part[0] + part[1];
    else
      sum[r] = part[0];
  }
  const Four low = __builtin_shufflevector(sum[0], sum[1], 0, 4, 1, 5) +
                   __builtin_shufflevector(sum[0], sum[1], 2, 6, 3, 7);
  const Four high = __builtin_shufflevector(sum[2], sum[3], 0, 4, 1, 5) +
                    __builtin_shufflevector(sum[2], sum[3], 2, 6, 3, 7);
  return __builtin_shufflevector(low, high, 0, 1, 4, 5) + __builtin_shufflevector(low, high, 2, 3, 6, 7);
}

// out[r] = sum of term(x[k], z[item[r],k]) four rows at a time; room
// for a multiple of four.
template <Isa I, class Term>
FLATLAND_HD void for_rows(MatView<const float> z, const float* x, const std::int32_t* item, std::int64_t n,
                          float* out, const Term& term) {
  constexpr int w = lanes<float, I>;
  constexpr std::int64_t ahead = 8;
  for (std::int64_t j = 0; j < n; j += 4) {
    const float* row[4];
    const float* later[4];
    Vec<float, I> sum[4] = {};
    FLATLAND_UNROLL for (int r = 0; r < 4; ++r) {
      row[r] = z.row(item[j + r < n ? j + r : n - 1]);
      later[r] = z.row(item[j + r + ahead < n ? j + r + ahead : n - 1]);
    }
    for (std::int64_t k = 0; k < z.ld; k += k_graph_pad) {
      FLATLAND_UNROLL for (int r = 0; r < 4; ++r) __builtin_prefetch(later[r] + k);
      FLATLAND_UNROLL for (std::int64_t v = 0; v < k_graph_pad; v += w) {
        const Vec<float, I> xs = load<I>(x + k + v);
        FLATLAND_UNROLL for (int r = 0; r < 4; ++r) sum[r] = term(xs, load<I>(row[r] + k + v), sum[r]);
      }
    }
    store<Isa::v1>(out + j, sum_quad<I>(sum));
  }
}

// Squared distances to a row.
template <Isa I>
FLATLAND_HD void row_distances(MatView<const float> z, std::int64_t row, const std::int32_t* item,
                               std::int64_t n, float* out) {
  for_rows<I>(z, z.row(row), item, n, out, [](auto x, auto y, auto sum) {
    const auto d = x - y;
    return fma<I>(d, d, sum);
  });
}

// Calls f(j) for the values below a limit, which may fall on the way.
template <Isa I, class F>
FLATLAND_HD void for_smaller(const float* values, std::int64_t n, const float& limit, const F& f) {
  constexpr int w = lanes<float, I>;
  for (std::int64_t j = 0; j < n; j += w) {
    unsigned smaller = mask_bits<I, float>(load<I>(values + j) < limit);
    if (n - j < w) smaller &= (1u << (n - j)) - 1;
    for (; smaller != 0; smaller &= smaller - 1) {
      const std::int64_t at = j + __builtin_ctz(smaller);
      if (values[at] < limit) f(at);
    }
  }
}

}  // namespace

template <Isa I>
void project_rows(MatView<const float> z, const float* direction, const std::int32_t* item, std::int64_t n,
                  float* out) {
  for_rows<I>(z, direction, item, n, out, [](auto x, auto y, auto sum) { return fma<I>(x, y, sum); });
}

template <Isa I>
GraphWork join_leaf(const NeighborLists& lists, MatView<const float> z, const std::int32_t* item,
                    std::int64_t n, float* room) {
  constexpr int w = lanes<float, I>;
  const std::int64_t ld = z.ld;
  const std::int64_t padded = (n + gemm_panel<I, float> - 1) / gemm_panel<I, float> * gemm_panel<I, float>;
  float* packed = room;
  float* products = packed + padded * ld;
  float* norm = products + n * padded;
  float* rows = norm + padded;
  // Less one of the rows: what remains is of the size of the distances that are looked for.
  const float* centre = z.row(item[0]);
  for (std::int64_t i = 0; i < n; ++i) {
    Vec<float, I> sum{};
    for (std::int64_t k = 0; k < ld; k += w) {
      const Vec<float, I> v = load<I>(z.row(item[i]) + k) - load<I>(centre + k);
      store<I>(rows + i * ld + k, v);
      sum = fma<I>(v, v, sum);
    }
    norm[i] = add_lanes<I, float>(sum);
  }
  for (std::int64_t i = n; i < padded; ++i) norm[i] = k_infinity;
  gemm_pack_rows<I, float>(rows, ld, n, z.cols, packed);
  gemm_rows<I, float>(rows, ld, n, packed, n, z.cols, products, padded);
  GraphWork work;
  work.distances = n * (n - 1) / 2;
  for (std::int64_t i = 0; i < n; ++i) {
    const Vec<float, I> own = broadcast<I>(norm[i]);
    for (std::int64_t j = 0; j < n; j += w) {
      const Vec<float, I> dist = max(
          fma<I>(broadcast<I>(-2.f), load_part<I>(products + i * padded + j, n - j), own + load<I>(norm + j)),
          Vec<float, I>{});
      unsigned near = mask_bits<I, float>(dist < lists.worst[item[i]]);
      if (i >= j && i < j + w) near &= ~(1u << (i - j));
      if (near == 0) continue;
      float lane[w];
      store<I>(lane, dist);
      for (; near != 0; near &= near - 1) {
        const int l = __builtin_ctz(near);
        if (lane[l] < lists.worst[item[i]]) work.changes += take<I>(lists, item[i], lane[l], item[j + l]);
      }
    }
  }
  return work;
}

namespace {
// What the neighbours of a row know.
FLATLAND_HD void prefetch_meetings(const Meetings& m, std::int64_t row) {
  for (const int old : {0, 1})
    for (std::int64_t j = 0; j < m.counted(row, old); ++j) {
      const std::int64_t via = m.items(row, old)[j];
      __builtin_prefetch(m.count + 2 * via);
      for (std::int64_t k = 0; k < 2 * m.size; k += 16) __builtin_prefetch(m.items(via, 0) + k);
    }
}
}  // namespace

template <Isa I>
GraphWork join_rows(const NeighborLists& lists, MatView<const float> z, const Meetings& meetings,
                    std::int64_t first, std::int64_t last, std::int32_t* room) {
  constexpr std::int64_t chunk = 256;
  std::int32_t* met = room;  // the item that was met last of those that share a place
  std::int32_t* found = room + k_met;
  float dist[chunk];
  GraphWork work;
  for (std::int64_t i = first; i < last; ++i) {
    for (std::int64_t m = 0; m < k_met; ++m) met[m] = -1;
    const auto own = static_cast<std::int32_t>(i);
    std::int64_t n = 0;
    const auto meet = [&](const std::int32_t* items, std::int64_t count) {
      for (std::int64_t j = 0; j < count; ++j) {
        const std::int32_t item = items[j];
        std::int32_t& last_met = met[item % k_met];
        found[n] = item;
        n += (last_met != item) & (item != own);
        last_met = item;
      }
    };
    if (i + 1 < last) prefetch_meetings(meetings, i + 1);
    for (std::int64_t j = 0; j < lists.width; ++j)
      met[(lists.item[i * lists.width + j] & INT32_MAX) % k_met] =
          lists.item[i * lists.width + j] & INT32_MAX;
    for (const int old : {0, 1})
      for (std::int64_t j = 0; j < meetings.counted(i, old); ++j) {
        const std::int64_t via = meetings.items(i, old)[j];
        meet(meetings.items(via, 0), meetings.counted(via, 0));
        if (!old) meet(meetings.items(via, 1), meetings.counted(via, 1));
      }
    work.distances += n;
    for (std::int64_t begin = 0; begin < n; begin += chunk) {
      const std::int64_t count = begin + chunk < n ? chunk : n - begin;
      row_distances<I>(z, i, found + begin, count, dist);
      for_smaller<I>(dist, count, lists.worst[i],
                     [&](std::int64_t j) { work.changes += take<I>(lists, i, dist[j], found[begin + j]); });
    }
  }
  return work;
}

template void project_rows<this_isa>(MatView<const float>, const float*, const std::int32_t*, std::int64_t,
                                     float*);
template GraphWork join_leaf<this_isa>(const NeighborLists&, MatView<const float>, const std::int32_t*,
                                       std::int64_t, float*);
template GraphWork join_rows<this_isa>(const NeighborLists&, MatView<const float>, const Meetings&,
                                       std::int64_t, std::int64_t, std::int32_t*);

}  // namespace flatland::kernels
