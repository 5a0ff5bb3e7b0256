#include <flatland/kernels/radix_sort_cuda.h>
#include <flatland/kernels/prefix_sum.cuh>

#include <utility>

namespace flatland::kernels::cuda {

namespace {

// Eight bits a pass, the lowest first. A pass counts the digits of each tile of words, adds the counts up so
// that each tile knows where its words of each digit go, and moves the words.
constexpr int k_digits = 256, k_digit_bits = 8;
static_assert(k_threads == k_digits);  // where a thread takes care of a digit
constexpr int k_rounds = 8;            // words of a thread
constexpr int k_warp_words = k_rounds * k_warp;
constexpr std::int64_t k_sort_tile = k_rounds * k_threads;

__device__ int digit_of(std::uint64_t word, int shift) {
  return static_cast<int>((word >> shift) & (k_digits - 1));
}

// counts[digit][tile]
__global__ void count_digits_kernel(const std::uint64_t* words, std::int64_t n, int shift,
                                    std::uint32_t* counts) {
  FLATLAND_SHARED(unsigned, count, k_digits);
  count[threadIdx.x] = 0;
  __syncthreads();
  const std::int64_t begin = blockIdx.x * k_sort_tile, end = std::min(n, begin + k_sort_tile);
  for (std::int64_t i = begin + threadIdx.x; i < end; i += k_threads)
    atomicAdd(&count[digit_of(words[i], shift)], 1u);
  __syncthreads();
  counts[static_cast<std::int64_t>(threadIdx.x) * gridDim.x + blockIdx.x] = count[threadIdx.x];
}

// Warp d of all: the counts of digit d become sums over the tiles before, and totals[d] the sum over all.
__global__ void tile_sums_kernel(std::int64_t tiles, std::uint32_t* counts, std::uint32_t* totals) {
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  const auto digit = static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) / k_warp);
  std::uint32_t* const own = counts + digit * tiles;
  std::uint32_t before = 0;
  for (std::int64_t begin = 0; begin < tiles; begin += k_warp) {
    const std::int64_t i = begin + lane;
    const std::uint32_t x = i < tiles ? own[i] : 0;
    const std::uint32_t sum = before + warp_sum_before(x);
    if (i < tiles) own[i] = sum;
    before = __shfl_sync(k_all_lanes, sum + x, k_warp - 1);
  }
  if (lane == 0) totals[digit] = before;
}

// The lanes of this warp whose digit is this lane's, among those that take part.
__device__ unsigned peers_of(int digit, bool takes_part) {
  unsigned peers = __ballot_sync(k_all_lanes, takes_part);
  for (int bit = 0; bit < k_digit_bits; ++bit) {
    const bool mine = (digit >> bit & 1) != 0;
    const unsigned set = __ballot_sync(k_all_lanes, mine);
    peers &= mine ? set : ~set;
  }
  return peers;
}

// Each warp walks 256 words of its tile in order and counts how many of the same digit came before.
__global__ void move_kernel(const std::uint64_t* words, std::int64_t n, int shift,
                            const std::uint32_t* counts, const std::uint32_t* totals, std::uint64_t* to) {
  FLATLAND_SHARED(std::uint32_t, count, k_warps * k_digits);
  const int lane = static_cast<int>(threadIdx.x) % k_warp, warp = static_cast<int>(threadIdx.x) / k_warp;
  for (int w = 0; w < k_warps; ++w) count[w * k_digits + threadIdx.x] = 0;
  __syncthreads();

  const std::int64_t begin = blockIdx.x * k_sort_tile + warp * k_warp_words + lane;
  std::uint64_t word[k_rounds];
  std::uint32_t before[k_rounds];  // words of the same digit that the warp met earlier
#pragma unroll
  for (int r = 0; r < k_rounds; ++r) {
    const std::int64_t i = begin + r * k_warp;
    word[r] = i < n ? words[i] : 0;
    const int digit = digit_of(word[r], shift);
    const unsigned peers = peers_of(digit, i < n), earlier = peers & ((1u << lane) - 1);
    const int at = warp * k_digits + digit;
    const std::uint32_t met = count[at];
    before[r] = met + static_cast<std::uint32_t>(__popc(earlier));
    __syncwarp();
    if (i < n && earlier == 0) count[at] = met + static_cast<std::uint32_t>(__popc(peers));
    __syncwarp();
  }
  __syncthreads();

  // Where each warp's words of a digit begin: a thread a digit.
  const int d = static_cast<int>(threadIdx.x);
  std::uint32_t place =
      exclusive_sum<k_threads>(totals[d]) + counts[static_cast<std::int64_t>(d) * gridDim.x + blockIdx.x];
  for (int w = 0; w < k_warps; ++w) {
    const std::uint32_t own = count[w * k_digits + d];
    count[w * k_digits + d] = place;
    place += own;
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < k_rounds; ++r) {
    if (begin + r * k_warp >= n) break;
    const std::uint32_t first = count[warp * k_digits + digit_of(word[r], shift)];
    to[first + before[r]] = word[r];
  }
}

}  // namespace

std::uint64_t* radix_sort(const Exec& exec, std::uint64_t* words, std::uint64_t* other, std::int64_t n,
                          int begin, int end) {
  const std::int64_t tiles = ceil_div(n, k_sort_tile);
  const ScratchArray<std::uint32_t> counts(exec, tiles * k_digits), totals(exec, k_digits);
  const auto grid = static_cast<unsigned>(tiles);
  for (int shift = begin; shift < end; shift += k_digit_bits) {
    launch(exec, count_digits_kernel, grid, k_threads, 0, words, n, shift, counts.data());
    launch(exec, tile_sums_kernel, k_digits / k_warps, k_threads, 0, tiles, counts.data(), totals.data());
    launch(exec, move_kernel, grid, k_threads, 0, words, n, shift, counts.data(), totals.data(), other);
    std::swap(words, other);
  }
  return words;
}

}  // namespace flatland::kernels::cuda
