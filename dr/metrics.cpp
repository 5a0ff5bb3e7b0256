#include <flatland/dr/class_numbers.h>
#include <flatland/dr/metrics.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/neighbor_ranks.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/reduce.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

namespace flatland {
namespace {

// (N, D) finite numbers; `who` is the metric, `name` the argument.
void check_points(const std::string& who, const char* name, const Tensor& x) {
  FLATLAND_CHECK(x.defined() && x.rank() == 2 && x.is_floating(), who, ": ", name,
                 " must be a (N, D) tensor of float32 or float64");
  const auto check_values = [&]<class T>(kernels::MatView<const T> values) {
    const kernels::NonFinite bad = kernels::find_non_finite<T>(current_exec(x.device()), values);
    FLATLAND_CHECK(bad.count == 0, who, ": ", name, " has NaN or infinity, first at row ", bad.row,
                   ", column ", bad.col, " (counting from 0)");
  };
  x.dtype() == Dtype::float32 ? check_values(x.matrix<float>()) : check_values(x.matrix<double>());
}

std::vector<std::int64_t> label_values(const std::string& who, const Tensor& labels, std::int64_t n) {
  std::vector<std::int64_t> values = detail::class_numbers(who, "labels", labels);
  FLATLAND_CHECK(std::ssize(values) == n, who, ": ", n, " items but ", values.size(), " labels");
  return values;
}

struct NeighborIndex {
  std::int64_t k = 0;
  std::vector<std::int32_t> index;  // (N, k)

  std::span<const std::int32_t> row(std::int64_t i) const {
    return std::span(index).subspan(static_cast<std::size_t>(i * k), static_cast<std::size_t>(k));
  }
};

template <class T>
NeighborIndex neighbors(const Tensor& y, const Tensor* base, std::int64_t k) {
  const kernels::Exec& exec = current_exec(y.device());
  const std::int64_t n = y.size(0);
  NeighborIndex result{k, std::vector<std::int32_t>(static_cast<std::size_t>(n * k))};
  const kernels::ScratchArray<std::int32_t> index(exec, n * k);
  const kernels::ScratchArray<T> dist(exec, n * k);
  if (base) {
    kernels::knn_query<T>(exec, metric::euclidean, y.matrix<T>(), base->matrix<T>(), k, {index.data(), n, k},
                          {dist.data(), n, k});
  } else {
    kernels::knn<T>(exec, metric::euclidean, y.matrix<T>(), k, {index.data(), n, k}, {dist.data(), n, k});
  }
  kernels::copy_to_host(exec, result.index.data(), index.data(), index.span().size_bytes());
  return result;
}

NeighborIndex neighbors_of(const Tensor& y, const Tensor* base, std::int64_t k) {
  return y.dtype() == Dtype::float32 ? neighbors<float>(y, base, k) : neighbors<double>(y, base, k);
}

// The most frequent label; the smallest of those that are equally frequent.
std::int64_t vote(std::span<const std::int32_t> neighbors, const std::vector<std::int64_t>& labels) {
  std::map<std::int64_t, int> counts;
  for (const std::int32_t j : neighbors) ++counts[labels[static_cast<std::size_t>(j)]];
  return std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; })->first;
}

double share_right(const NeighborIndex& found, const std::vector<std::int64_t>& base_labels,
                   const std::vector<std::int64_t>& labels) {
  std::int64_t right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    right += vote(found.row(static_cast<std::int64_t>(i)), base_labels) == labels[i];
  }
  return static_cast<double>(right) / static_cast<double>(labels.size());
}

template <class T>
std::vector<std::int32_t> ranks_of(const Tensor& x, const NeighborIndex& neighbors) {
  const kernels::Exec& exec = current_exec(x.device());
  const std::int64_t n = x.size(0), k = neighbors.k;
  std::vector<std::int32_t> ranks(neighbors.index.size());
  const kernels::ScratchArray<std::int32_t> index(exec, n * k), rank(exec, n * k);
  kernels::copy_to_device(exec, index.data(), neighbors.index.data(), index.span().size_bytes());
  kernels::neighbor_ranks<T>(exec, x.matrix<T>(), {index.data(), n, k}, {rank.data(), n, k});
  kernels::copy_to_host(exec, ranks.data(), rank.data(), rank.span().size_bytes());
  return ranks;
}

// f(), whose kernels find one team of threads ready.
template <class F>
auto in_team(const Tensor& x, const F& f) {
  decltype(f()) result{};
  kernels::with_team(current_exec(x.device()), [&] { result = f(); });
  return result;
}

double neighborhood_kept(const std::string& who, const Tensor& x, const Tensor& y, std::int64_t k) {
  check_points(who, "x", x);
  check_points(who, "y", y);
  const std::int64_t n = x.size(0);
  FLATLAND_CHECK(y.size(0) == n, who, ": x has ", n, " items but y has ", y.size(0));
  FLATLAND_CHECK(k >= 1 && 2 * k < n, who, ": k = ", k, " neighbours need more than ", 2 * k,
                 " items but there are ", n);
  // The neighbours are sought where they must not be strangers, and ranked in the other space.
  const bool trust = who == "trustworthiness";
  const Tensor& neighbor_space = trust ? y : x;
  const Tensor& rank_space = trust ? x : y;
  const std::vector<std::int32_t> ranks = in_team(x, [&] {
    const NeighborIndex found = neighbors_of(neighbor_space, nullptr, k);
    return rank_space.dtype() == Dtype::float32 ? ranks_of<float>(rank_space, found)
                                                : ranks_of<double>(rank_space, found);
  });
  std::int64_t excess = 0;
  for (const std::int32_t rank : ranks) excess += std::max<std::int64_t>(0, rank - k);
  const double worst =
      0.5 * static_cast<double>(n) * static_cast<double>(k) * static_cast<double>(2 * n - 3 * k - 1);
  return 1 - static_cast<double>(excess) / worst;
}

}  // namespace

double trustworthiness(const Tensor& x, const Tensor& y, std::int64_t k) {
  return neighborhood_kept("trustworthiness", x, y, k);
}

double continuity(const Tensor& x, const Tensor& y, std::int64_t k) {
  return neighborhood_kept("continuity", x, y, k);
}

double knn_accuracy(const Tensor& y, const Tensor& labels, std::int64_t k) {
  check_points("knn_accuracy", "y", y);
  FLATLAND_CHECK(k >= 1 && k < y.size(0), "knn_accuracy: k = ", k, " neighbours need more than ", k,
                 " items but there are ", y.size(0));
  const std::vector<std::int64_t> values = label_values("knn_accuracy", labels, y.size(0));
  return in_team(y, [&] { return share_right(neighbors_of(y, nullptr, k), values, values); });
}

double knn_accuracy(const Tensor& base, const Tensor& base_labels, const Tensor& y, const Tensor& labels,
                    std::int64_t k) {
  check_points("knn_accuracy", "base", base);
  check_points("knn_accuracy", "y", y);
  FLATLAND_CHECK(base.size(1) == y.size(1) && base.dtype() == y.dtype(), "knn_accuracy: base is ",
                 base.shape(), " ", name(base.dtype()), " but y is ", y.shape(), " ", name(y.dtype()),
                 "; columns and types must match");
  FLATLAND_CHECK(base.device() == y.device(), "knn_accuracy: base is on ", name(base.device()), " but y on ",
                 name(y.device()), "; bring both to one device with to(Device)");
  FLATLAND_CHECK(y.size(0) > 0, "knn_accuracy: there are no items");
  FLATLAND_CHECK(k >= 1 && k <= base.size(0), "knn_accuracy: k = ", k, " neighbours but base has ",
                 base.size(0), " items");
  const std::vector<std::int64_t> known = label_values("knn_accuracy", base_labels, base.size(0)),
                                  values = label_values("knn_accuracy", labels, y.size(0));
  return in_team(y, [&] { return share_right(neighbors_of(y, &base, k), known, values); });
}

double accuracy(const Tensor& scores, const Tensor& labels) {
  check_points("accuracy", "scores", scores);
  const std::int64_t n = scores.size(0), classes = scores.size(1);
  FLATLAND_CHECK(n > 0 && classes > 0, "accuracy: scores is ", scores.shape());
  const std::vector<std::int64_t> values = label_values("accuracy", labels, n);
  const std::vector<double> all = scores.to_vector<double>();
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t label = values[static_cast<std::size_t>(i)];
    FLATLAND_CHECK(label >= 0 && label < classes, "accuracy: label ", label, " of item ", i,
                   " is none of the ", classes, " classes");
    const auto row = all.begin() + i * classes;
    right += std::max_element(row, row + classes) - row == label;
  }
  return static_cast<double>(right) / static_cast<double>(n);
}

namespace {

// The points, sorted by label and stored coordinate by coordinate, so that the distances to one class are a
// loop over neighbouring values.
struct SortedPoints {
  std::int64_t n = 0, d = 0;
  std::vector<double> coordinates;  // (d, n)
  std::vector<std::int64_t> begin;  // of each class, and n
};

SortedPoints sorted_by_label(const Tensor& y, const std::vector<std::int64_t>& labels) {
  SortedPoints points{.n = y.size(0), .d = y.size(1), .coordinates = {}, .begin = {}};
  std::vector<std::int64_t> order(labels.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const auto label = [&](std::int64_t i) { return labels[static_cast<std::size_t>(i)]; };
  std::ranges::stable_sort(order, {}, label);
  const std::vector<double> values = y.to_vector<double>();
  points.coordinates.resize(values.size());
  for (std::int64_t i = 0; i < points.n; ++i) {
    const std::int64_t from = order[static_cast<std::size_t>(i)];
    if (i == 0 || label(from) != label(order[static_cast<std::size_t>(i - 1)])) points.begin.push_back(i);
    for (std::int64_t c = 0; c < points.d; ++c) {
      points.coordinates[static_cast<std::size_t>(c * points.n + i)] =
          values[static_cast<std::size_t>(from * points.d + c)];
    }
  }
  points.begin.push_back(points.n);
  return points;
}

// The sum of the distances from point i to the points [begin, end), in eight chains.
double distance_sum(const SortedPoints& points, std::int64_t i, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t k_block = 256, k_chains = 8;
  double chains[k_chains] = {};
  double square[k_block];
  for (std::int64_t first = begin; first < end; first += k_block) {
    const std::int64_t count = std::min(k_block, end - first);
    std::fill_n(square, k_block, 0.0);  // zeros behind the end add nothing
    for (std::int64_t c = 0; c < points.d; ++c) {
      const double* row = points.coordinates.data() + c * points.n;
      const double own = row[i];
      for (std::int64_t l = 0; l < count; ++l) square[l] += (row[first + l] - own) * (row[first + l] - own);
    }
    for (std::int64_t l = 0; l < k_block; l += k_chains) {
      for (std::int64_t chain = 0; chain < k_chains; ++chain) chains[chain] += std::sqrt(square[l + chain]);
    }
  }
  return ((chains[0] + chains[1]) + (chains[2] + chains[3])) +
         ((chains[4] + chains[5]) + (chains[6] + chains[7]));
}

double silhouette_of(const SortedPoints& points, std::int64_t i, std::size_t own_class) {
  double within = 0, nearest = std::numeric_limits<double>::infinity();
  for (std::size_t c = 0; c + 1 < points.begin.size(); ++c) {
    const std::int64_t count = points.begin[c + 1] - points.begin[c];
    if (c == own_class && count == 1) return 0;
    const double sum = distance_sum(points, i, points.begin[c], points.begin[c + 1]);
    if (c == own_class) {
      within = sum / static_cast<double>(count - 1);
    } else {
      nearest = std::min(nearest, sum / static_cast<double>(count));
    }
  }
  const double larger = std::max(within, nearest);
  return larger > 0 ? (nearest - within) / larger : 0;
}

}  // namespace

double silhouette(const Tensor& y, const Tensor& labels) {
  check_points("silhouette", "y", y);
  const SortedPoints points = sorted_by_label(y, label_values("silhouette", labels, y.size(0)));
  const std::int64_t classes = static_cast<std::int64_t>(points.begin.size()) - 1;
  FLATLAND_CHECK(classes >= 2 && classes < points.n, "silhouette: ", classes, " different labels among ",
                 points.n, " items; it needs at least 2, and fewer than items");
  constexpr std::int64_t k_tile = 64;
  std::vector<double> tile_sums(static_cast<std::size_t>(ceil_div(points.n, k_tile)));
  kernels::parallel_for(current_exec(), std::ssize(tile_sums), [&](std::int64_t tile, int) {
    double sum = 0;
    for (std::int64_t i = tile * k_tile; i < std::min((tile + 1) * k_tile, points.n); ++i) {
      const auto behind = std::ranges::upper_bound(points.begin, i);
      sum += silhouette_of(points, i, static_cast<std::size_t>(behind - points.begin.begin()) - 1);
    }
    tile_sums[static_cast<std::size_t>(tile)] = sum;
  });
  return std::accumulate(tile_sums.begin(), tile_sums.end(), 0.0) / static_cast<double>(points.n);
}

}  // namespace flatland
