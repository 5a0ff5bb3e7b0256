// From distances to affinities: one root search a row.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

struct RowSearch {
  int max_steps = 64;       // Newton steps guarded by bisection; brackets itself at any data scale
  double tolerance = 1e-6;  // relative, of beta and sigma in float; double runs to 1e-12 and better
};

// p[i,j] = exp(-beta_i dist[i,j]^2) / sum_l exp(-beta_i dist[i,l]^2), with beta_i such that the entropy
// -sum_j p log2 p is log2(perplexity) (van der Maaten and Hinton, 2008).
//   dist (N, k), finite and >= 0, else Error naming the row   1 <= perplexity <= k
//   p (N, k), may be dist   beta (N) or empty
// Returns the number of rows whose target cannot be reached (more equal nearest distances than the
// perplexity, or all distances equal); they get the nearest reachable weights and stay finite. Cost: some 6 N
// k exp. Rows are independent: the same bits for any number of threads.
template <class T>
std::int64_t perplexity_weights(const Exec& exec, In<T> dist, double perplexity, const RowSearch& search,
                                MatView<T> p, OutSpan<T> beta);

// v[i,j] = exp(-(dist[i,j] - rho_i) / sigma_i), rho_i = min_l dist[i,l], with sigma_i such that
// sum_j v[i,j] = log2(n_neighbors) (McInnes, Healy and Melville, "UMAP", 2018).
//   dist (N, k), k >= 1, as above   n_neighbors > 1   v (N, k), may be dist   sigma (N) or empty
// Returns the number of rows whose target cannot be reached, as above.
template <class T>
std::int64_t connectivity_weights(const Exec& exec, In<T> dist, double n_neighbors, const RowSearch& search,
                                  MatView<T> v, OutSpan<T> sigma);

}  // namespace flatland::kernels
