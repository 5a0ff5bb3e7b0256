#include <flatland/kernels/neighbor_weights_cuda.h>
#include <flatland/kernels/neighbor_weights_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <cmath>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_neighbor_weights_rows = 64;

template <class T>
void check(const char* who, const MatView<const T>& dist, const MatView<T>& weight, std::span<T> width,
           const RowSearch& search) {
  FLATLAND_CHECK(dist.rows == weight.rows && dist.cols == weight.cols, who, ": dist is ", dist,
                 " but the weights are ", weight, "; they must have the same shape");
  FLATLAND_CHECK(width.empty() || std::ssize(width) == dist.rows, who, ": ", dist.rows, " rows but room for ",
                 width.size(), " values of beta or sigma; give as many as rows, or none");
  FLATLAND_CHECK(search.max_steps >= 1 && search.tolerance > 0, who, ": max_steps is ", search.max_steps,
                 " and tolerance ", search.tolerance, "; both must be positive");
}

std::int64_t checked_missed(const char* who, const SearchResult& result) {
  FLATLAND_CHECK(result.bad_row < 0, who, ": row ", result.bad_row,
                 " of dist holds a negative, infinite or NaN distance");
  return result.missed;
}

// Searches all rows; returns how many were unreachable.
template <class T>
std::int64_t search_rows(const Exec& exec, const char* who, WeightKind kind, const MatView<const T>& dist,
                         double reach, const RowSearch& search, const MatView<T>& weight,
                         std::span<T> width) {
  FLATLAND_ON_CUDA(exec)
  return checked_missed(who, cuda::search_rows<T>(exec, kind, dist, reach, search, weight,
                                                  width.empty() ? nullptr : width.data()));
  const std::int64_t n = dist.rows;
  const std::int64_t tiles = ceil_div(n, k_neighbor_weights_rows);
  const std::int64_t room = row_search_work(dist.cols);
  const ScratchArray<T> work(exec, room * exec.threads());
  const ScratchArray<std::int64_t> missed(exec, tiles);
  with_isa([&](auto isa) {
    parallel_for(exec, tiles, [&](std::int64_t tile, int thread) {
      const std::int64_t first = tile * k_neighbor_weights_rows;
      const SearchResult result =
          search_tile<isa, T>(kind, dist, reach, search, first, std::min(n, first + k_neighbor_weights_rows),
                              work.data() + thread * room, weight, width.empty() ? nullptr : width.data());
      missed[tile] = checked_missed(who, result);
    });
  });
  std::int64_t total = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) total += missed[tile];
  return total;
}

}  // namespace

template <class T>
std::int64_t perplexity_weights(const Exec& exec, In<T> dist, double perplexity, const RowSearch& search,
                                MatView<T> p, OutSpan<T> beta) {
  check<T>("perplexity_weights", dist, p, beta, search);
  if (dist.rows == 0) return 0;
  FLATLAND_CHECK(perplexity >= 1 && perplexity <= static_cast<double>(dist.cols),
                 "perplexity_weights: perplexity ", perplexity, " with ", dist.cols,
                 " neighbours; want 1 <= perplexity <= neighbours, better a third");
  return search_rows<T>(exec, "perplexity_weights", WeightKind::perplexity, dist, perplexity, search, p,
                        beta);
}

template <class T>
std::int64_t connectivity_weights(const Exec& exec, In<T> dist, double n_neighbors, const RowSearch& search,
                                  MatView<T> v, OutSpan<T> sigma) {
  check<T>("connectivity_weights", dist, v, sigma, search);
  if (dist.rows == 0) return 0;
  FLATLAND_CHECK(n_neighbors > 1 && std::isfinite(n_neighbors) && dist.cols >= 1,
                 "connectivity_weights: n_neighbors ", n_neighbors, " with ", dist.cols,
                 " neighbours; want n_neighbors > 1 and at least one neighbour");
  return search_rows<T>(exec, "connectivity_weights", WeightKind::connectivity, dist, std::log2(n_neighbors),
                        search, v, sigma);
}

#define FLATLAND_NEIGHBOR_WEIGHTS(T)                                                                      \
  template std::int64_t perplexity_weights<T>(const Exec&, In<T>, double, const RowSearch&, MatView<T>,   \
                                              OutSpan<T>);                                                \
  template std::int64_t connectivity_weights<T>(const Exec&, In<T>, double, const RowSearch&, MatView<T>, \
                                                OutSpan<T>);
FLATLAND_NEIGHBOR_WEIGHTS(float)
FLATLAND_NEIGHBOR_WEIGHTS(double)

}  // namespace flatland::kernels
