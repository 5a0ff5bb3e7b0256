#include <flatland/kernels/sample_edges_cuda.h>
#include <flatland/kernels/sample_edges_formulas.h>
#include <flatland/kernels/cuda.cuh>

namespace flatland::kernels::cuda {

namespace {

__global__ void items_kernel(RandomStream random, std::uint64_t first, const float* threshold,
                             const std::int32_t* alias, std::int64_t buckets, std::int64_t* out,
                             std::int64_t n) {
  for (std::int64_t i = thread_index(); i < n; i += thread_count())
    out[i] = alias_draw(random.bits(first + static_cast<std::uint64_t>(i)), threshold, alias, buckets);
}

// The table as pointers.
struct Edges {
  const std::int64_t* row_offset;
  const std::int32_t* col;
  const float* threshold;
  const std::int32_t* alias;
  std::int64_t items, count;
};

// A thread a target; that of an edge writes its source too.
__global__ void edges_kernel(RandomStream random, std::uint64_t first, Edges edges, std::int64_t places,
                             std::int64_t n, std::int64_t* source, std::int64_t* target) {
  for (std::int64_t at = thread_index(); at < n; at += thread_count()) {
    const std::uint64_t draw = first + static_cast<std::uint64_t>(at);
    if (at % places > 0) {
      target[at] = static_cast<std::int64_t>(random.below(draw, static_cast<std::uint64_t>(edges.items)));
      continue;
    }
    const std::int64_t edge = alias_draw(random.bits(draw), edges.threshold, edges.alias, edges.count);
    source[at / places] = row_of_entry(edges.row_offset, edges.items, edge);
    target[at] = edges.col[edge];
  }
}

constexpr int k_block = 1024;

// One block: items as bits, counts of the bits before each word, and from them all places.
__global__ void __launch_bounds__(k_block)
    distinct_kernel(const std::int64_t* item, std::int64_t n, std::int64_t count, unsigned* bits,
                    unsigned* before, std::int64_t* distinct, std::int64_t* place, std::int64_t* found) {
  FLATLAND_SHARED(unsigned, sums, k_block);
  const int t = static_cast<int>(threadIdx.x);
  const std::int64_t words = (count + 31) / 32;
  const auto known = [&](std::int64_t i) { return item[i] >= 0 && item[i] < count; };
  for (std::int64_t w = t; w < words; w += k_block) bits[w] = 0;
  __syncthreads();
  for (std::int64_t i = t; i < n; i += k_block)
    if (known(i)) atomicOr(bits + item[i] / 32, 1u << (item[i] % 32));
  __syncthreads();
  // A thread a run of words.
  const std::int64_t run = (words + k_block - 1) / k_block;
  const std::int64_t begin = t * run, end = begin + run < words ? begin + run : words;
  unsigned own = 0;
  for (std::int64_t w = begin; w < end; ++w) own += static_cast<unsigned>(__popc(bits[w]));
  sums[t] = own;
  __syncthreads();
  for (int offset = 1; offset < k_block; offset *= 2) {
    const unsigned left = t >= offset ? static_cast<unsigned>(sums[t - offset]) : 0;
    __syncthreads();
    sums[t] = sums[t] + left;
    __syncthreads();
  }
  const unsigned total = sums[k_block - 1];
  std::int64_t at = static_cast<unsigned>(sums[t]) - own;
  for (std::int64_t w = begin; w < end; ++w) {
    before[w] = static_cast<unsigned>(at);
    for (unsigned rest = bits[w]; rest != 0; rest &= rest - 1)
      distinct[at++] = w * 32 + __ffs(static_cast<int>(rest)) - 1;
  }
  __syncthreads();
  for (std::int64_t i = t; i < n; i += k_block) {
    const unsigned below = known(i) ? bits[item[i] / 32] & ((1u << (item[i] % 32)) - 1) : 0;
    place[i] = known(i) ? before[item[i] / 32] + __popc(below) : 0;
    if (i >= total) distinct[i] = total > 0 ? distinct[0] : 0;
  }
  if (t == 0) *found = total;
}

}  // namespace

void sample_items(const Exec& exec, RandomStream random, std::uint64_t first,
                  std::span<const float> threshold, std::span<const std::int32_t> alias,
                  std::span<std::int64_t> out) {
  launch(exec, items_kernel, blocks_for(std::ssize(out), k_small_threads), k_small_threads, 0, random, first,
         threshold.data(), alias.data(), std::ssize(threshold), out.data(), std::ssize(out));
}

void sample_edges(const Exec& exec, RandomStream random, std::uint64_t first, const EdgeTable& edges,
                  int rate, std::span<std::int64_t> source, std::span<std::int64_t> target) {
  const Edges table{edges.row_offset.data(),          edges.col.data(),
                    edges.threshold.data(),           edges.alias.data(),
                    std::ssize(edges.row_offset) - 1, std::ssize(edges.col)};
  launch(exec, edges_kernel, blocks_for(std::ssize(target), k_small_threads), k_small_threads, 0, random,
         first, table, std::int64_t{rate} + 1, std::ssize(target), source.data(), target.data());
}

void distinct_items(const Exec& exec, std::span<const std::int64_t> item, std::int64_t count,
                    std::span<std::int64_t> distinct, std::span<std::int64_t> place, std::int64_t* found) {
  FLATLAND_CHECK(item.size() < (std::size_t{1} << 32), "distinct_items: ", item.size(),
                 " items; on cuda they may be fewer than 2^32");
  const std::int64_t words = ceil_div(count, 32);
  const ScratchArray<unsigned> bits(exec, words), before(exec, words);
  launch(exec, distinct_kernel, 1, k_block, 0, item.data(), std::ssize(item), count, bits.data(),
         before.data(), distinct.data(), place.data(), found);
}

}  // namespace flatland::kernels::cuda
