#include <flatland/kernels/check.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/sample_edges.h>
#include <flatland/kernels/sample_edges_cuda.h>
#include <flatland/kernels/sample_edges_formulas.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_draw_tile = 256;  // draws of a task

void check_table(const char* who, std::size_t threshold, std::size_t alias) {
  FLATLAND_CHECK(threshold == alias && threshold > 0, who, ": a table of ", threshold, " thresholds and ",
                 alias, " aliases; there must be as many, at least 1, see alias_table");
}

template <class Draw>
void for_draws(const Exec& exec, std::int64_t n, const Draw& draw) {
  for_tiles(exec, n, k_draw_tile, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t i = first; i < first + count; ++i) draw(i);
  });
}

}  // namespace

template <class T>
void alias_table(InSpan<T> weight, std::span<float> threshold, std::span<std::int32_t> alias) {
  const std::size_t n = weight.size();
  check_table("alias_table", threshold.size(), alias.size());
  FLATLAND_CHECK(n == threshold.size(), "alias_table: ", n, " weights for a table of ", threshold.size());
  FLATLAND_CHECK(n <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()), "alias_table: ", n,
                 " weights; a table has at most 2147483647");
  double total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    FLATLAND_CHECK(std::isfinite(weight[i]) && weight[i] >= 0, "alias_table: weight ", i, " is ", weight[i],
                   "; weights are finite and not negative");
    total += static_cast<double>(weight[i]);
  }
  FLATLAND_CHECK(total > 0 && std::isfinite(total), "alias_table: the ", n, " weights add up to ", total,
                 "; at least one must be above 0, and the sum finite");
  // Buckets with less than their share are filled up from one with more, which may then have less itself. One
  // array holds both kinds: those with less from its beginning, those with more from its end.
  std::vector<double> share(n);
  std::vector<std::int32_t> bucket(n);
  std::size_t less = 0, more = n;
  for (std::size_t i = 0; i < n; ++i) {
    share[i] = static_cast<double>(weight[i]) / total * static_cast<double>(n);
    bucket[share[i] < 1 ? less++ : --more] = static_cast<std::int32_t>(i);
  }
  while (less > 0 && more < n) {
    const std::int32_t large = bucket[more];
    const auto s = static_cast<std::size_t>(bucket[--less]), l = static_cast<std::size_t>(large);
    threshold[s] = static_cast<float>(share[s]);
    alias[s] = large;
    share[l] -= 1 - share[s];
    if (share[l] >= 1) continue;
    ++more;
    bucket[less++] = large;
  }
  // What is left has its share but for rounding. A weight of 0 must not be drawn for all that.
  const auto heaviest = static_cast<std::int32_t>(std::ranges::max_element(weight) - weight.begin());
  const auto settle = [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      const auto at = static_cast<std::size_t>(bucket[i]);
      threshold[at] = weight[at] > 0 ? 1.0f : 0.0f;
      alias[at] = weight[at] > 0 ? bucket[i] : heaviest;
    }
  };
  settle(0, less);
  settle(more, n);
}

void sample_items(const Exec& exec, RandomStream random, std::uint64_t first, InSpan<float> threshold,
                  InSpan<std::int32_t> alias, std::span<std::int64_t> out) {
  check_table("sample_items", threshold.size(), alias.size());
  FLATLAND_ON_CUDA(exec) return cuda::sample_items(exec, random, first, threshold, alias, out);
  for_draws(exec, std::ssize(out), [&](std::int64_t i) {
    out[static_cast<std::size_t>(i)] = alias_draw(random.bits(first + static_cast<std::uint64_t>(i)),
                                                  threshold.data(), alias.data(), std::ssize(threshold));
  });
}

void sample_edges(const Exec& exec, RandomStream random, std::uint64_t first, const EdgeTable& edges,
                  int rate, std::span<std::int64_t> source, std::span<std::int64_t> target) {
  check_table("sample_edges", edges.threshold.size(), edges.alias.size());
  FLATLAND_CHECK(edges.col.size() == edges.threshold.size() && edges.row_offset.size() >= 2,
                 "sample_edges: ", edges.col.size(), " edges in ", edges.row_offset.size(),
                 " row offsets, with a table of ", edges.threshold.size(),
                 "; the table needs one entry an edge");
  FLATLAND_CHECK(rate >= 0, "sample_edges: rate is ", rate, "; it must be 0 or more");
  const std::int64_t places = std::int64_t{rate} + 1;
  FLATLAND_CHECK(std::ssize(target) == checked_mul(std::ssize(source), places),
                 "sample_edges: ", source.size(), " sources and ", target.size(), " targets at rate ", rate,
                 "; it needs rate + 1 targets a source");
  FLATLAND_ON_CUDA(exec) return cuda::sample_edges(exec, random, first, edges, rate, source, target);
  const std::int64_t items = std::ssize(edges.row_offset) - 1;
  for_draws(exec, std::ssize(source), [&](std::int64_t p) {
    const std::uint64_t draw = first + static_cast<std::uint64_t>(p * places);
    const std::int64_t edge = alias_draw(random.bits(draw), edges.threshold.data(), edges.alias.data(),
                                         std::ssize(edges.threshold));
    source[static_cast<std::size_t>(p)] = row_of_entry(edges.row_offset.data(), items, edge);
    target[static_cast<std::size_t>(p * places)] = edges.col[static_cast<std::size_t>(edge)];
    for (std::int64_t r = 1; r < places; ++r)
      target[static_cast<std::size_t>(p * places + r)] = static_cast<std::int64_t>(
          random.below(draw + static_cast<std::uint64_t>(r), static_cast<std::uint64_t>(items)));
  });
}

void distinct_items(const Exec& exec, std::span<const std::int64_t> item, std::int64_t count,
                    std::span<std::int64_t> distinct, std::span<std::int64_t> place, std::int64_t* found) {
  FLATLAND_CHECK(distinct.size() == item.size() && place.size() == item.size(),
                 "distinct_items: ", item.size(), " items but distinct holds ", distinct.size(),
                 " and place ", place.size(), " values; they must hold as many");
  FLATLAND_ON_CUDA(exec) return cuda::distinct_items(exec, item, count, distinct, place, found);
  const std::int64_t words = ceil_div(count, 64);
  const ScratchArray<std::uint64_t> bits(exec, words);
  const ScratchArray<std::int64_t> before(exec, words);
  std::fill_n(bits.data(), words, std::uint64_t{0});
  for (std::size_t i = 0; i < item.size(); ++i) {
    FLATLAND_CHECK(item[i] >= 0 && item[i] < count, "distinct_items: item[", i, "] is ", item[i],
                   " but there are ", count, " items");
    bits[item[i] / 64] |= std::uint64_t{1} << (item[i] % 64);
  }
  std::size_t n = 0;
  for (std::int64_t w = 0; w < words; ++w) {
    before[w] = static_cast<std::int64_t>(n);
    for (std::uint64_t rest = bits[w]; rest != 0; rest &= rest - 1)
      distinct[n++] = w * 64 + std::countr_zero(rest);
  }
  *found = static_cast<std::int64_t>(n);
  std::fill(distinct.begin() + *found, distinct.end(), item.empty() ? 0 : distinct[0]);
  for (std::size_t i = 0; i < item.size(); ++i) {
    const std::uint64_t below = bits[item[i] / 64] & ((std::uint64_t{1} << (item[i] % 64)) - 1);
    place[i] = before[item[i] / 64] + std::popcount(below);
  }
}

template void alias_table<float>(InSpan<float>, std::span<float>, std::span<std::int32_t>);
template void alias_table<double>(InSpan<double>, std::span<float>, std::span<std::int32_t>);

}  // namespace flatland::kernels
