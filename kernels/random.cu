#include <flatland/kernels/radix_sort_cuda.h>
#include <flatland/kernels/random_cuda.h>
#include <flatland/kernels/random_formulas.h>
#include <flatland/kernels/cuda.cuh>

#include <bit>

namespace flatland::kernels::cuda {

namespace {

template <class T>
__global__ void uniform_kernel(RandomStream random, double low, double width, std::int64_t n, T* y,
                               std::uint64_t first) {
  for (std::int64_t i = thread_index(); i < n; i += thread_count())
    y[i] = static_cast<T>(low + width * random.uniform(first + static_cast<std::uint64_t>(i)));
}

template <class T>
__global__ void normal_kernel(RandomStream random, double mean, double deviation, std::int64_t n, T* y,
                              std::uint64_t first) {
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) {
    const double z = normal_of(random.bits(first + static_cast<std::uint64_t>(i)));
    y[i] = static_cast<T>(mean + deviation * z);
  }
}

// --- permutations: positions sorted by (64 bits of their draws, position) -----------------------------

constexpr std::int64_t k_few_keys = 8192;  // so many are ranked by counting, more are sorted

__global__ void draw_kernel(RandomStream random, std::uint64_t first, std::int64_t n, std::uint64_t* draws) {
  for (std::int64_t i = thread_index(); i < n; i += thread_count())
    draws[i] = random.bits64(first + static_cast<std::uint64_t>(i));
}

// A warp counts the positions that come before its own.
__global__ void rank_kernel(const std::uint64_t* draws, std::int64_t n, std::int64_t* permutation) {
  const int lane = static_cast<int>(threadIdx.x) % k_warp;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * k_warps + threadIdx.x / k_warp;
  if (i >= n) return;
  const std::uint64_t own = draws[i];
  int before = 0;
  for (std::int64_t j = lane; j < n; j += k_warp) before += draws[j] < own || (draws[j] == own && j < i);
  before = warp_sum(before);
  if (lane == 0) permutation[before] = i;
}

// The high half of a draw above its position.
__global__ void draw_words_kernel(RandomStream random, std::uint64_t first, std::int64_t n,
                                  std::uint64_t* words) {
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) {
    const std::uint64_t draw = random.bits64(first + static_cast<std::uint64_t>(i));
    words[i] = (draw & ~std::uint64_t{0xffffffffu}) | static_cast<std::uint64_t>(i);
  }
}

// Words are sorted by their leading bits, all above `shift`; the rare runs of equal ones are put in order by
// the whole draws, by the thread of their first word.
__global__ void positions_kernel(RandomStream random, std::uint64_t first, const std::uint64_t* words,
                                 std::int64_t n, int shift, std::int64_t* permutation) {
  for (std::int64_t i = thread_index(); i < n; i += thread_count()) {
    const std::uint64_t leading = words[i] >> shift;
    if (i > 0 && words[i - 1] >> shift == leading) continue;
    permutation[i] = static_cast<std::int64_t>(words[i] & 0xffffffffu);
    for (std::int64_t k = i + 1; k < n && words[k] >> shift == leading; ++k) {
      // Equal draws stay in order of their positions: the sort was stable.
      const auto position = static_cast<std::int64_t>(words[k] & 0xffffffffu);
      const std::uint64_t draw = random.bits64(first + static_cast<std::uint64_t>(position));
      std::int64_t at = k;
      for (; at > i; --at) {
        const std::int64_t before = permutation[at - 1];
        if (random.bits64(first + static_cast<std::uint64_t>(before)) <= draw) break;
        permutation[at] = before;
      }
      permutation[at] = position;
    }
  }
}

}  // namespace

template <class T>
void fill_uniform(const Exec& exec, RandomStream random, double low, double width, std::span<T> y,
                  std::uint64_t first) {
  const std::int64_t n = std::ssize(y);
  launch(exec, uniform_kernel<T>, blocks_for(n, k_threads), k_threads, 0, random, low, width, n, y.data(),
         first);
}

template <class T>
void fill_normal(const Exec& exec, RandomStream random, double mean, double deviation, std::span<T> y,
                 std::uint64_t first) {
  const std::int64_t n = std::ssize(y);
  launch(exec, normal_kernel<T>, blocks_for(n, k_threads), k_threads, 0, random, mean, deviation, n, y.data(),
         first);
}

void random_permutation(const Exec& exec, RandomStream random, std::span<std::int64_t> permutation,
                        std::uint64_t first) {
  const std::int64_t n = std::ssize(permutation);
  const unsigned blocks = blocks_for(n, k_threads);
  const ScratchArray<std::uint64_t> words(exec, n), other(exec, n);
  if (n <= k_few_keys) {
    launch(exec, draw_kernel, blocks, k_threads, 0, random, first, n, words.data());
    return launch(exec, rank_kernel, static_cast<unsigned>(ceil_div(n, k_warps)), k_threads, 0, words.data(),
                  n, permutation.data());
  }
  launch(exec, draw_words_kernel, blocks, k_threads, 0, random, first, n, words.data());
  // Some n / 64 pairs agree in so many bits.
  const int bits =
      std::min(32, (static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n))) + 12) / 8 * 8);
  const std::uint64_t* sorted = radix_sort(exec, words.data(), other.data(), n, 64 - bits, 64);
  launch(exec, positions_kernel, blocks, k_threads, 0, random, first, sorted, n, 64 - bits,
         permutation.data());
}

template void fill_uniform(const Exec&, RandomStream, double, double, std::span<float>, std::uint64_t);
template void fill_uniform(const Exec&, RandomStream, double, double, std::span<double>, std::uint64_t);
template void fill_normal(const Exec&, RandomStream, double, double, std::span<float>, std::uint64_t);
template void fill_normal(const Exec&, RandomStream, double, double, std::span<double>, std::uint64_t);

}  // namespace flatland::kernels::cuda
