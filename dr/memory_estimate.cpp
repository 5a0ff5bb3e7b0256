#include <flatland/dr/memory_estimate.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/knn_approximate.h>
#include <flatland/kernels/sparse.h>

#include <algorithm>
#include <utility>

namespace flatland {

namespace {

using Count = std::int64_t;

void check(Count n, Count dim, Count k, const TrainingSize& size) {
  constexpr Count most_values = Count{1} << 50;  // so few that no size below overflows
  constexpr Count most_items = (Count{1} << 31) - 1;
  const auto positive = [](const char* what, Count value) {
    FLATLAND_CHECK(value >= 1, "estimate_memory: ", what, " is ", value, "; it must be 1 or more");
  };
  FLATLAND_CHECK(n >= 2 && n <= most_items, "estimate_memory: ", n, " items; a routine takes 2 to ",
                 most_items);
  positive("dim", dim);
  FLATLAND_CHECK(k >= 1 && k < n, "estimate_memory: ", k, " neighbours of ", n, " items; there are 1 to ",
                 n - 1);
  positive("batch_size", size.batch_size);
  positive("out_dim", size.out_dim);
  const Count rate = size.negative_sampling_rate.value_or(0);
  FLATLAND_CHECK(rate >= 0, "estimate_memory: negative_sampling_rate is ", rate, "; it must be 0 or more");
  FLATLAND_CHECK(size.threads >= 0, "estimate_memory: ", size.threads,
                 " threads; give 1 or more, or 0 for all the machine has");
  const auto fits = [&](const char* what, Count a, Count b) {
    FLATLAND_CHECK(a <= most_values / b, "estimate_memory: ", a, " times ", b, " values of ", what,
                   "; no machine holds more than ", most_values);
  };
  fits("data", n, dim);
  fits("neighbours", n, k);
  fits("coordinates", n, size.out_dim);
  Count width = dim;
  for (const Count hidden : size.hidden_dims) {
    positive("a hidden layer", hidden);
    fits("weights", width, hidden);
    fits("a layer's output", n, hidden);
    width = hidden;
  }
  fits("weights", width, size.out_dim);
  fits("a batch", size.batch_size, rate + 2);
}

// What holds for the stages of one training.
struct Stages {
  Count n, dim, k;
  const TrainingSize& size;
  Count value = static_cast<Count>(size_of(size.dtype));
  int threads = kernels::Exec(Device::cpu, size.threads).threads();
  bool edges = size.negative_sampling_rate.has_value();
  Count entries = 2 * n * k;  // of the symmetric relations, at most

  static constexpr Count index = sizeof(std::int32_t), number = sizeof(std::int64_t), exact = sizeof(double);

  // Rows that a step puts through the network, and outputs a row.
  Count rows() const {
    return std::min(n, edges ? size.batch_size * (*size.negative_sampling_rate + 2) : size.batch_size);
  }
  Count outputs() const {
    Count sum = size.out_dim;
    for (const Count hidden : size.hidden_dims) sum += hidden;
    return sum;
  }
  Count weights() const {
    Count sum = 0, width = dim;
    for (const Count hidden : size.hidden_dims) sum += (std::exchange(width, hidden) + 1) * hidden;
    return sum + (width + 1) * size.out_dim;
  }

  Count neighbors() const { return n * k * (index + value); }
  Count symmetric() const { return entries * (index + value) + n * number; }
  Count alias_table() const { return edges ? entries * (index + static_cast<Count>(sizeof(float))) : 0; }

  // The centred data, and its Gram matrix in two types.
  Count pca() const {
    const bool of_rows = n < dim && n >= size.out_dim;
    const Count side = of_rows ? n : dim;
    return n * dim * (value + (of_rows ? exact : 0)) + side * side * (value + 2 * exact);
  }
  Count search() const {
    if (!searches_approximately(size.search, n))
      return neighbors() + kernels::knn_scratch(n, dim, k, threads);
    const Count recall = kernels::knn_query_scratch(std::min(n, k_recall_items), n, dim, k + 1, threads);
    return neighbors() + std::max(kernels::knn_approximate_scratch(n, dim, k, threads), recall);
  }
  Count symmetrize() const {
    return neighbors() + symmetric() +
           kernels::symmetrize_scratch(n, k, static_cast<std::size_t>(value), threads);
  }
  // The graph in double, and the vectors of the Lanczos basis.
  Count spectral() const {
    const Count basis = std::max<Count>(4 * size.out_dim + 1, 40);
    return symmetric() + entries * (index + exact) +
           n * (4 * number + (3 * basis / 2 + size.out_dim) * exact);
  }
  Count edge_sampling() const { return symmetric() + alias_table() + entries * (exact + index); }
};

}  // namespace

std::int64_t MemoryEstimate::peak() const {
  return data + model + std::max(setup, relations + step);
}

MemoryEstimate estimate_memory(std::int64_t n, std::int64_t dim, std::int64_t k, const TrainingSize& size) {
  check(n, dim, k, size);
  const Stages s{n, dim, k, size};
  MemoryEstimate estimate;
  estimate.data = n * (dim + (size.start ? size.out_dim : 0)) * s.value + n * Stages::number;
  estimate.model = 4 * s.weights() * s.value;
  estimate.setup = std::max(s.search(), s.symmetrize());
  if (size.start) estimate.setup = std::max(estimate.setup, s.edges ? s.spectral() : s.pca());
  if (s.edges) estimate.setup = std::max(estimate.setup, s.edge_sampling());
  estimate.relations = s.symmetric() + s.alias_table();
  const Count block = s.edges ? 0 : s.rows() * std::min(s.rows(), 4 * k) * (Stages::index + s.value);
  const Count order = s.edges && !size.start ? 0 : 3 * n * Stages::number;
  estimate.step = s.rows() * (dim + 4 * s.outputs()) * s.value + block + order;
  return estimate;
}

namespace {

template <class Options>
TrainingSize size_of_routine(const Options& o, bool start) {
  return {.batch_size = o.batch_size,
          .start = start,
          .hidden_dims = o.hidden_dims,
          .out_dim = o.out_dim,
          .threads = o.threads};
}

}  // namespace

MemoryEstimate estimate_memory(std::int64_t n, const ParametricTSNE::Options& options) {
  const NeighborBasedPDist search{.transforms = {PerplexityBasedRescale{.perplexity = options.perplexity}}};
  return estimate_memory(n, options.in_dim, search.neighbors_for(n),
                         size_of_routine(options, options.pca_initialization));
}

MemoryEstimate estimate_memory(std::int64_t n, const ParametricUMAP::Options& options) {
  TrainingSize size = size_of_routine(options, options.spectral_initialization);
  size.negative_sampling_rate = options.negative_sampling_rate;
  return estimate_memory(n, options.in_dim,
                         NeighborBasedPDist{.n_neighbors = options.n_neighbors}.neighbors_for(n), size);
}

}  // namespace flatland
