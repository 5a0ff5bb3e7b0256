// How much memory a routine will take, before it takes it.
#pragma once

#include <flatland/dr/routines.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace flatland {

// All in bytes.
struct MemoryEstimate {
  std::int64_t data = 0;   // the items as they are given, their numbers, and where the map starts
  std::int64_t model = 0;  // weights, gradients and the optimizer's moments
  std::int64_t setup =
      0;  // the most that preparing holds at once beside these: a search, relations in the making
  std::int64_t relations =
      0;                  // of all items, as training keeps them, with what edges are drawn from; at most
  std::int64_t step = 0;  // a training step, and the order of an epoch

  // From the start of train to its end, the data included.
  std::int64_t peak() const;
};

// What matters beside the numbers of items, columns and neighbours.
struct TrainingSize {
  std::int64_t batch_size = 500;  // items, or edges
  // Given: edges with so many random items against each, as UMAP has it. Else pairs of items, as t-SNE has
  // it.
  std::optional<int> negative_sampling_rate = {};
  bool start = true;  // the map starts from PCA, or with edges from spectral coordinates
  std::vector<std::int64_t> hidden_dims = {100, 50};
  std::int64_t out_dim = 2;
  Dtype dtype = Dtype::float32;  // of the model; data of another type is converted, and then held twice
  int threads = 0;               // 0: as many as the machine offers
  NeighborSearch search = NeighborSearch::automatic;
};

// The peak memory of training on n items of `dim` columns with k neighbours each: of t-SNE with k = 3 times
// the perplexity, of UMAP with k = n_neighbors, on the CPU with a metric that the approximate search knows.
// Derived from what the code allocates, with twice k relations an item once they are symmetric (data has
// about 1.5). From 5,000 items on it was within 8 % of what was measured (bench/SCALING.md), with the
// approximate search, unless it ends as an exact one, within 13 %; a process takes some 2 MB more once.
// Errors: n below 2 or beyond 2^31 - 1, k that is not 1 to n - 1, other sizes below 1, more than 2^50 values.
MemoryEstimate estimate_memory(std::int64_t n, std::int64_t dim, std::int64_t k,
                               const TrainingSize& size = {});
// Of ready-made routines on n items of in_dim columns, each with its fully connected network.
MemoryEstimate estimate_memory(std::int64_t n, const ParametricTSNE::Options& options);
MemoryEstimate estimate_memory(std::int64_t n, const ParametricUMAP::Options& options);

}  // namespace flatland
