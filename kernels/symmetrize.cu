// The entries of the matrix as words (row, column), sorted, and those of its transpose: a warp lays the two
// lists of a row over each other, and a binary search in the one says where an entry of the other goes. The
// words are sorted by one half alone, being in order of the other already.
#include <flatland/kernels/memory.h>
#include <flatland/kernels/radix_sort_cuda.h>
#include <flatland/kernels/symmetrize_cuda.h>
#include <flatland/kernels/prefix_sum.cuh>

#include <bit>
#include <limits>

namespace flatland::kernels::cuda {

namespace {

constexpr int k_scan_threads = 1024;

using Word = std::uint64_t;  // an item above another one
__device__ Word word_of(std::int64_t high, std::int64_t low) {
  return static_cast<Word>(high) << 32 | static_cast<Word>(low);
}
__device__ std::int32_t low_of(Word word) {
  return static_cast<std::int32_t>(word & 0xffffffffu);
}

// --- sorted entries -----------------------------------------------------------------------------------

// Values begin .. end - 1 of a sorted list.
struct Range {
  std::int64_t begin, end;
  __device__ std::int64_t size() const { return end - begin; }
};

// Where x is in a range of a sorted list, or would be.
template <class T>
__device__ std::int64_t lower_bound(const T* list, Range in, T x) {
  while (in.begin < in.end) {
    const std::int64_t middle = in.begin + in.size() / 2;
    if (list[middle] < x)
      in.begin = middle + 1;
    else
      in.end = middle;
  }
  return in.begin;
}

// The words (i, column) of all rows, and the words (i, row) of all columns.
struct EdgeLists {
  const Word* own;
  const Word* transposed;
  std::int64_t count;
};

// The words of item i in both lists, for all lanes: four lanes search.
struct ItemRanges {
  Range own, transposed;

  __device__ ItemRanges(const EdgeLists& edges, std::int64_t i, int lane) {
    const Word* list = lane & 2 ? edges.transposed : edges.own;
    const std::int64_t at = lane < 4 ? lower_bound(list, {0, edges.count}, word_of(i + lane % 2, 0)) : 0;
    own = {__shfl_sync(k_all_lanes, at, 0), __shfl_sync(k_all_lanes, at, 1)};
    transposed = {__shfl_sync(k_all_lanes, at, 2), __shfl_sync(k_all_lanes, at, 3)};
  }
};

// offset[i + 1] = the sum of size(0) .. size(i), offset[0] = 0; one block.
template <class Size>
__device__ void sum_sizes(std::int64_t n, std::int64_t* offset, const Size& size) {
  FLATLAND_SHARED(std::int64_t, total, 1);
  if (threadIdx.x == 0) offset[0] = 0;
  std::int64_t before = 0;
  for (std::int64_t begin = 0; begin < n; begin += k_scan_threads) {
    const std::int64_t i = begin + threadIdx.x;
    const std::int64_t own = i < n ? size(i) : 0;
    const std::int64_t sum = before + exclusive_sum<k_scan_threads>(own) + own;
    if (i < n) offset[i + 1] = sum;
    if (threadIdx.x == k_scan_threads - 1) total[0] = sum;
    __syncthreads();
    before = total[0];
    __syncthreads();
  }
}

template <class T>
__global__ void __launch_bounds__(k_scan_threads) row_offset_kernel(GraphRows<T> m, std::int64_t* offset) {
  sum_sizes(m.rows, offset, [&](std::int64_t i) { return m.size(i); });
}
__global__ void __launch_bounds__(k_scan_threads) add_sizes_kernel(std::int64_t n, std::int64_t* offset) {
  sum_sizes(n, offset, [&](std::int64_t i) { return offset[i + 1]; });
}

// A fault of the first row that has one.
constexpr unsigned long long k_no_fault = std::numeric_limits<unsigned long long>::max();
class FirstFault {
 public:
  explicit FirstFault(const Exec& exec) : exec_(exec), fault_(exec, 1) {
    const unsigned long long none = k_no_fault;
    copy_to_device(exec, fault_.data(), &none, sizeof(none));
  }
  unsigned long long* data() const { return fault_.data(); }
  SymmetrizeFault on_host() const {
    unsigned long long fault = 0;
    copy_to_host(exec_, &fault, fault_.data(), sizeof(fault));
    if (fault == k_no_fault) return {};
    return {static_cast<std::int64_t>(fault >> 32), static_cast<std::int32_t>(fault & 0xffffffffu)};
  }
  __device__ static void report(unsigned long long* fault, std::int64_t row, std::int64_t excess) {
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    const std::int64_t capped = excess < -most ? -most : excess > most ? most : excess;
    atomicMin(fault, static_cast<unsigned long long>(row) << 32 |
                         static_cast<unsigned long long>(static_cast<std::uint32_t>(capped)));
  }

 private:
  const Exec& exec_;
  ScratchArray<unsigned long long> fault_;
};

// words (column, row); `offset` says where a row's begin when they are not m.k each.
template <class T>
__global__ void entry_words_kernel(GraphRows<T> m, const std::int64_t* offset, Word* words,
                                   unsigned long long* fault) {
  const std::int64_t i = warp_row();
  if (i >= m.rows) return;
  const std::int32_t* col = m.cols(i);
  Word* const to = words + (m.begin ? offset[i] : i * m.k);
  for (std::int64_t j = warp_lane(); j < m.size(i); j += k_warp) {
    const bool inside = col[j] >= 0 && col[j] < m.rows;
    if (!inside) FirstFault::report(fault, i, 0);
    to[j] = word_of(inside ? col[j] : 0, i);
  }
}

__global__ void swap_kernel(const Word* words, std::int64_t n, Word* to) {
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) to[i] = words[i] << 32 | words[i] >> 32;
}

// The entries of a graph, sorted both ways.
template <class T>
class SortedEdges {
 public:
  SortedEdges(const Exec& exec, const GraphRows<T>& m)
      : offset_(exec, m.begin ? m.rows + 1 : 0),
        count_(count(exec, m)),
        transposed_(exec, count_),
        own_(exec, count_),
        spare_(exec, count_) {
    const FirstFault fault(exec);
    launch(exec, entry_words_kernel<T>, warp_blocks(m.rows), k_small_threads, 0, m, offset_.data(),
           transposed_.data(), fault.data());
    fault_ = fault.on_host();
    if (fault_.row >= 0) return;
    const int end = 32 + std::bit_width(static_cast<Word>(m.rows > 0 ? m.rows - 1 : 0));
    Word* const transposed = radix_sort(exec, transposed_.data(), own_.data(), count_, 32, end);
    Word* const other = transposed == own_.data() ? transposed_.data() : own_.data();
    launch(exec, swap_kernel, blocks_for(count_, k_small_threads), k_small_threads, 0, transposed, count_,
           other);
    edges_ = {radix_sort(exec, other, spare_.data(), count_, 32, end), transposed, count_};
  }
  const EdgeLists& edges() const { return edges_; }
  const SymmetrizeFault& fault() const { return fault_; }  // a column out of range

 private:
  std::int64_t count(const Exec& exec, const GraphRows<T>& m) const {
    std::int64_t entries = checked_mul(m.rows, m.k);
    if (m.begin) {
      launch(exec, row_offset_kernel<T>, 1, k_scan_threads, 0, m, offset_.data());
      copy_to_host(exec, &entries, offset_.data() + m.rows, sizeof(entries));
    }
    FLATLAND_CHECK(entries <= std::numeric_limits<std::uint32_t>::max(), "symmetrize: ", entries,
                   " entries, but on a GPU at most 4294967295");
    return entries;
  }

  ScratchArray<std::int64_t> offset_;
  std::int64_t count_;
  ScratchArray<Word> transposed_, own_, spare_;
  EdgeLists edges_{};
  SymmetrizeFault fault_;
};

// --- joining ------------------------------------------------------------------------------------------

// Calls visit(word, at, found, before) for the words of a range of `list`, a warp at a time: `at` is where
// the word is in a range of `other` or would be, `before` how many earlier ones were found. Returns how many
// were.
template <class Visit>
__device__ std::int64_t for_words(const Word* list, Range range, const Word* other, Range in, int lane,
                                  const Visit& visit) {
  std::int64_t before = 0;
  for (std::int64_t first = range.begin; first < range.end; first += k_warp) {
    const std::int64_t e = first + lane;
    const bool active = e < range.end;
    const Word word = active ? list[e] : 0;
    const std::int64_t at = active ? lower_bound(other, in, word) : in.end;
    const bool found = at < in.end && other[at] == word;
    const unsigned all_found = __ballot_sync(k_all_lanes, found);
    if (active) visit(e, word, at, found, before + __popc(all_found & ((1u << lane) - 1)));
    before += __popc(all_found);
  }
  return before;
}

__global__ void count_joined_kernel(EdgeLists edges, std::int64_t n, std::int64_t* row_offset,
                                    unsigned long long* fault) {
  const std::int64_t i = warp_row();
  const int lane = warp_lane();
  if (i >= n) return;
  const ItemRanges item(edges, i, lane);
  const std::int64_t common = for_words(edges.own, item.own, edges.transposed, item.transposed, lane,
                                        [&](std::int64_t e, Word word, std::int64_t, bool, std::int64_t) {
                                          if (e > item.own.begin && edges.own[e - 1] == word)
                                            FirstFault::report(fault, i, 0);
                                        });
  if (lane == 0) row_offset[i + 1] = item.own.size() + item.transposed.size() - common;
}

// The columns of the joined rows, and zeros for their values.
template <class T>
__global__ void columns_kernel(EdgeLists edges, std::int64_t n, const std::int64_t* row_offset,
                               std::int32_t* col, T* own, unsigned long long* fault) {
  const std::int64_t i = warp_row();
  const int lane = warp_lane();
  if (i >= n) return;
  const ItemRanges item(edges, i, lane);
  const std::int64_t first = row_offset[i], last = row_offset[i + 1];
  const auto put = [&](std::int64_t before, Word word) {
    if (first + before >= last) return;
    col[first + before] = low_of(word);
    own[first + before] = 0;
  };
  const std::int64_t common =
      for_words(edges.own, item.own, edges.transposed, item.transposed, lane,
                [&](std::int64_t e, Word word, std::int64_t at, bool, std::int64_t found_before) {
                  put(e - item.own.begin + at - item.transposed.begin - found_before, word);
                });
  for_words(edges.transposed, item.transposed, edges.own, item.own, lane,
            [&](std::int64_t e, Word word, std::int64_t at, bool found, std::int64_t found_before) {
              if (!found) put(e - item.transposed.begin + at - item.own.begin - found_before, word);
            });
  const std::int64_t size = item.own.size() + item.transposed.size() - common;
  if (lane == 0 && size != last - first) FirstFault::report(fault, i, size - (last - first));
}

// Joined rows: which of their values belongs to an entry.
struct JoinedRows {
  std::int64_t rows;
  const std::int64_t* offset;
  const std::int32_t* col;

  __device__ std::int64_t find(std::int64_t i, std::int32_t c) const {
    return lower_bound(col, {offset[i], offset[i + 1]}, c);
  }
};

template <class T>
__global__ void own_kernel(GraphRows<T> m, JoinedRows joined_rows, T* own) {
  const std::int64_t i = warp_row();
  if (i >= m.rows) return;
  const std::int32_t* col = m.cols(i);
  const T* value = m.values(i);
  for (std::int64_t j = warp_lane(); j < m.size(i); j += k_warp) own[joined_rows.find(i, col[j])] = value[j];
}

template <class T>
__global__ void join_kernel(SymmetrizeKind kind, JoinedRows joined_rows, const T* own, T* out) {
  const std::int64_t i = warp_row();
  if (i >= joined_rows.rows) return;
  for (std::int64_t e = joined_rows.offset[i] + warp_lane(); e < joined_rows.offset[i + 1]; e += k_warp)
    out[e] = joined(kind, own[e], own[joined_rows.find(joined_rows.col[e], static_cast<std::int32_t>(i))]);
}

}  // namespace

template <class T>
SymmetrizeFault symmetrize_count(const Exec& exec, const GraphRows<T>& m, std::span<std::int64_t> row_offset,
                                 std::int64_t* entries) {
  const SortedEdges<T> sorted(exec, m);
  if (sorted.fault().row >= 0) return sorted.fault();
  const FirstFault fault(exec);
  launch(exec, count_joined_kernel, warp_blocks(m.rows), k_small_threads, 0, sorted.edges(), m.rows,
         row_offset.data(), fault.data());
  launch(exec, add_sizes_kernel, 1, k_scan_threads, 0, m.rows, row_offset.data());
  copy_to_host(exec, entries, row_offset.data() + m.rows, sizeof(*entries));
  return fault.on_host();
}

template <class T>
SymmetrizeFault symmetrize(const Exec& exec, SymmetrizeKind kind, const GraphRows<T>& m,
                           std::span<const std::int64_t> row_offset, std::span<std::int32_t> col,
                           std::span<T> out) {
  const ScratchArray<T> own(exec, std::ssize(out));
  {
    const SortedEdges<T> sorted(exec, m);
    if (sorted.fault().row >= 0) return sorted.fault();
    const FirstFault fault(exec);
    launch(exec, columns_kernel<T>, warp_blocks(m.rows), k_small_threads, 0, sorted.edges(), m.rows,
           row_offset.data(), col.data(), own.data(), fault.data());
    if (const SymmetrizeFault found = fault.on_host(); found.row >= 0) return found;
  }
  const JoinedRows joined_rows{m.rows, row_offset.data(), col.data()};
  launch(exec, own_kernel<T>, warp_blocks(m.rows), k_small_threads, 0, m, joined_rows, own.data());
  launch(exec, join_kernel<T>, warp_blocks(m.rows), k_small_threads, 0, kind, joined_rows, own.data(),
         out.data());
  return {};
}

#define FLATLAND_INSTANTIATE(T)                                                                        \
  template SymmetrizeFault symmetrize_count(const Exec&, const GraphRows<T>&, std::span<std::int64_t>, \
                                            std::int64_t*);                                            \
  template SymmetrizeFault symmetrize(const Exec&, SymmetrizeKind, const GraphRows<T>&,                \
                                      std::span<const std::int64_t>, std::span<std::int32_t>, std::span<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels::cuda
