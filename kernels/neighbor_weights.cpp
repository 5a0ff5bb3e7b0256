#include <flatland/kernels/neighbor_weights_simd.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_row_tile = 64;

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

// Calls search_row(dist row, work, weight row, &width) for each row; returns how many were unreachable.
template <class T, class SearchRow>
std::int64_t for_rows(const Exec& exec, const char* who, const MatView<const T>& dist,
                      const MatView<T>& weight, std::span<T> width, const SearchRow& search_row) {
  const std::int64_t n = dist.rows;
  const std::int64_t tiles = ceil_div(n, k_row_tile);
  const std::int64_t room = row_search_work(dist.cols);
  const ScratchArray<T> work(exec, room * exec.threads());
  const ScratchArray<std::int64_t> missed(exec, tiles);
  parallel_for(exec, tiles, [&](std::int64_t tile, int thread) {
    missed[tile] = 0;
    for (std::int64_t i = tile * k_row_tile; i < std::min(n, (tile + 1) * k_row_tile); ++i) {
      double found = 0;
      const RowOutcome outcome = search_row(dist.row(i), work.data() + thread * room, weight.row(i), &found);
      FLATLAND_CHECK(outcome != RowOutcome::not_a_distance, who, ": row ", i,
                     " of dist holds a negative, infinite or NaN distance");
      missed[tile] += outcome == RowOutcome::unreachable;
      if (!width.empty())
        width[static_cast<std::size_t>(i)] =
            static_cast<T>(std::min(found, static_cast<double>(std::numeric_limits<T>::max())));
    }
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
  return with_isa([&](auto isa) {
    return for_rows<T>(
        exec, "perplexity_weights", dist, p, beta, [&](const T* row, T* work, T* weight, double* found) {
          return perplexity_row<isa, T>(row, dist.cols, perplexity, search, work, weight, found);
        });
  });
}

template <class T>
std::int64_t connectivity_weights(const Exec& exec, In<T> dist, double n_neighbors, const RowSearch& search,
                                  MatView<T> v, OutSpan<T> sigma) {
  check<T>("connectivity_weights", dist, v, sigma, search);
  if (dist.rows == 0) return 0;
  FLATLAND_CHECK(n_neighbors > 1 && std::isfinite(n_neighbors) && dist.cols >= 1,
                 "connectivity_weights: n_neighbors ", n_neighbors, " with ", dist.cols,
                 " neighbours; want n_neighbors > 1 and at least one neighbour");
  const double sum = std::log2(n_neighbors);
  return with_isa([&](auto isa) {
    return for_rows<T>(exec, "connectivity_weights", dist, v, sigma,
                       [&](const T* row, T* work, T* weight, double* found) {
                         return connectivity_row<isa, T>(row, dist.cols, sum, search, work, weight, found);
                       });
  });
}

#define FLATLAND_NEIGHBOR_WEIGHTS(T)                                                                      \
  template std::int64_t perplexity_weights<T>(const Exec&, In<T>, double, const RowSearch&, MatView<T>,   \
                                              OutSpan<T>);                                                \
  template std::int64_t connectivity_weights<T>(const Exec&, In<T>, double, const RowSearch&, MatView<T>, \
                                                OutSpan<T>);
FLATLAND_NEIGHBOR_WEIGHTS(float)
FLATLAND_NEIGHBOR_WEIGHTS(double)

}  // namespace flatland::kernels
