#include <flatland/kernels/check.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/knn_approximate.h>
#include <flatland/kernels/knn_clusters_simd.h>
#include <flatland/kernels/knn_search_simd.h>
#include <flatland/kernels/knn_tiles_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/random.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace flatland::kernels {

namespace {

// Streams of draws.
constexpr std::uint64_t k_cluster_stream = 0, k_sample_stream = 1, k_recall_stream = 0;
constexpr std::int64_t k_sample_rows = 500;  // that tell how many clusters are to be visited

bool searched_exactly(std::int64_t n, std::int64_t k, const KnnApproximateOptions& options) {
  return n < options.exact_below || k > n / 8 || k == 0;
}
// So that a row is compared with about as many centres as items, and clusters fill the vectors of a product.
std::int64_t cluster_count(std::int64_t n) {
  const double root = 2 * std::sqrt(static_cast<double>(n));
  return std::max<std::int64_t>(1, std::min(static_cast<std::int64_t>(root), n / 64));
}
// Rows that a thread takes through all clusters: many, as each cluster is packed for them anew. Four times as
// many a thread are a wave: so many have candidates at a time.
std::int64_t block_rows(std::int64_t n, int threads) {
  return std::clamp<std::int64_t>(ceil_div(n, 4 * threads), 1, 16384);
}
std::int64_t wave_rows(std::int64_t n, int threads) {
  return std::min(n, 4 * threads * block_rows(n, threads));
}

// The true neighbours of rows drawn without replacement. Holds no scratch memory.
template <class T>
class Sample {
 public:
  Sample(const Exec& exec, Metric metric, In<T> x, std::int64_t k, std::int64_t rows, RandomStream random)
      : k_(k) {
    const ScratchArray<std::int64_t> order(exec, x.rows);
    random_permutation(exec, random, order.span());
    row_.assign(order.data(), order.data() + std::min(rows, x.rows));
    const std::int64_t m = std::ssize(row_);
    index_.resize(static_cast<std::size_t>(checked_mul(m, k + 1)));
    dist_.resize(index_.size());
    const ScratchArray<T> query(exec, checked_mul(m, x.cols));
    for (std::int64_t s = 0; s < m; ++s) std::copy_n(x.row(row(s)), x.cols, query.data() + s * x.cols);
    knn_query<T>(exec, metric, {query.data(), m, x.cols}, x, k + 1, {index_.data(), m, k + 1},
                 {dist_.data(), m, k + 1});
  }

  std::int64_t rows() const { return std::ssize(row_); }
  std::int64_t row(std::int64_t s) const { return row_[static_cast<std::size_t>(s)]; }
  // The row itself is at distance 0: the k-th of the others is the (k + 1)-th of all.
  T farthest(std::int64_t s) const { return dist_[static_cast<std::size_t>(s * (k_ + 1) + k_)]; }

  // The nearest clusters that hold a share `recall` of all neighbours, and more than k items; 0 where they
  // hold more than a third of all items.   z (N, D) by cluster   place (N)
  std::int64_t visits(const Exec& exec, const Clusters& clusters, MatView<const float> z,
                      const std::int32_t* place, double recall) const {
    const std::int64_t count = clusters.count();
    const ScratchArray<std::int32_t> cluster(exec, z.rows);
    for (std::int64_t c = 0; c < count; ++c)
      std::fill(cluster.data() + clusters.begin(c), cluster.data() + clusters.begin(c + 1),
                static_cast<std::int32_t>(c));
    const ScratchArray<float> query(exec, checked_mul(rows(), z.cols));
    const ScratchArray<std::int32_t> nearest(exec, checked_mul(rows(), count));
    const ScratchArray<float> dist(exec, checked_mul(rows(), count));
    const ScratchArray<std::int64_t> rank(exec, count);
    const ScratchArray<std::int64_t> found(exec, count),
        items(exec, count);  // neighbours and items of a rank
    std::fill_n(found.data(), count, 0);
    std::fill_n(items.data(), count, 0);
    for (std::int64_t s = 0; s < rows(); ++s)
      std::copy_n(z.row(place[row(s)]), z.cols, query.data() + s * z.cols);
    knn_query<float>(exec, metric::sqeuclidean, {query.data(), rows(), z.cols}, clusters.centres(), count,
                     {nearest.data(), rows(), count}, {dist.data(), rows(), count});
    for (std::int64_t s = 0; s < rows(); ++s) {
      for (std::int64_t r = 0; r < count; ++r) {
        const std::int32_t c = nearest[s * count + r];
        rank[c] = r;
        items[r] += clusters.size(c);
      }
      std::int64_t seen = 0;
      for (std::int64_t j = 0; j <= k_ && seen < k_; ++j) {
        const std::int32_t item = index_[static_cast<std::size_t>(s * (k_ + 1) + j)];
        if (item == row(s)) continue;
        ++found[rank[cluster[place[item]]]];
        ++seen;
      }
    }
    const double enough = recall * static_cast<double>(rows() * k_);
    const std::int64_t least = 2 * rows() * k_, most = rows() * z.rows / 3;
    std::int64_t visits = 0, visited = 0;
    for (double sum = 0; visits < count && (sum < enough || visited < least); ++visits) {
      sum += static_cast<double>(found[visits]);
      visited += items[visits];
    }
    if (visited > most) return 0;
    return visits;
  }

 private:
  std::int64_t k_;
  std::vector<std::int64_t> row_;
  std::vector<std::int32_t> index_;  // (rows, k + 1), the row itself among them
  std::vector<T> dist_;
};

// Moves row order[i] of z to place i, for all i, cycle by cycle.
void reorder(const Exec& exec, const std::int32_t* order, MatView<float> z) {
  const ScratchArray<bool> moved(exec, z.rows);
  const ScratchArray<float> first(exec, z.cols);
  std::fill_n(moved.data(), z.rows, false);
  for (std::int64_t i = 0; i < z.rows; ++i) {
    if (moved[i]) continue;
    std::copy_n(z.row(i), z.cols, first.data());
    std::int64_t at = i;
    for (; order[at] != i; at = order[at]) {
      std::copy_n(z.row(order[at]), z.cols, z.row(at));
      moved[at] = true;
    }
    std::copy_n(first.data(), z.cols, z.row(at));
    moved[at] = true;
  }
}

// Some rows of z, which is sorted by cluster, on their way through the clusters they visit.
class Wave {
 public:
  Wave(const Exec& exec, const Clusters& clusters, MatView<const float> z, std::int64_t visits)
      : exec_(exec),
        clusters_(clusters),
        z_(z),
        visits_(visits),
        block_(block_rows(z.rows, exec.threads())),
        largest_(clusters.largest()),
        visit_(exec, checked_mul(wave_rows(z.rows, exec.threads()), visits)),
        begin_(exec, checked_mul(exec.threads(), clusters.count() + 1)),
        visitor_(exec, checked_mul(exec.threads(), block_ * visits)) {}

  // Rows first, ..., first + rows - 1. Returns the distances that this took.
  std::int64_t run(std::int64_t first, std::int64_t rows, const Candidates& candidates) {
    nearest_centres(exec_, {z_.row(first), rows, z_.cols, z_.ld}, clusters_.centres(),
                    {visit_.data(), rows, visits_});
    const std::int64_t blocks = ceil_div(rows, block_);
    const ScratchArray<std::int64_t> distances(exec_, blocks);
    with_isa([&](auto isa) {
      const std::int64_t packed = items_room<isa>(largest_, z_.cols), room = offer_room(largest_, z_.cols);
      const ScratchArray<float> rooms(exec_, checked_mul(exec_.threads(), packed + room));
      parallel_for(exec_, blocks, [&](std::int64_t b, int thread) {
        float* own = rooms.data() + thread * (packed + room);
        distances[b] = visit_block<isa>(candidates, first, b * block_, std::min(rows, (b + 1) * block_),
                                        thread, own, own + packed);
      });
    });
    return std::accumulate(distances.data(), distances.data() + blocks, std::int64_t{0});
  }

  // The clusters that row i of those that ran last, from row `first` on, was offered.
  template <class F>
  void for_visited(std::int64_t first, std::int64_t i, std::int64_t k, F f) const {
    const std::int64_t own = clusters_.of(first + i);
    const std::span<const std::int32_t> visits =
        visit_.span().subspan(static_cast<std::size_t>(i * visits_), static_cast<std::size_t>(visits_));
    std::int64_t items = clusters_.size(own);
    for (const std::int32_t c : visits) items += c != own ? clusters_.size(c) : 0;
    if (items <= k) {
      for (std::int64_t c = 0; c < clusters_.count(); ++c) f(c);
      return;
    }
    f(own);
    for (const std::int32_t c : visits)
      if (c != own) f(std::int64_t{c});
  }

 private:
  // Each row's own cluster comes first: few items of the others are nearer than what it has found there.
  template <Isa I>
  std::int64_t visit_block(const Candidates& candidates, std::int64_t wave, std::int64_t first,
                           std::int64_t last, int thread, float* packed, float* room) const {
    std::int64_t* begin = begin_.data() + thread * (clusters_.count() + 1);
    std::int64_t* visitor = visitor_.data() + thread * block_ * visits_;
    const MatView<const float> own_z(z_.row(wave), z_.rows - wave, z_.cols, z_.ld);
    std::int64_t distances = 0;
    const auto visit = [&](std::int64_t c, const std::int64_t* rows, std::int64_t n) {
      if (n == 0) return;
      const PackedItems items =
          pack_items<I>(z_, clusters_.centres().row(c), clusters_.begin(c), clusters_.size(c), packed, room);
      offer_items<I>(candidates, items, own_z, rows, n, wave, room);
      distances += n * items.n;
    };
    for (std::int64_t i = first, c = clusters_.of(wave + first); i < last; ++c) {
      const std::int64_t end = std::min(last, clusters_.begin(c + 1) - wave);
      std::iota(visitor, visitor + (end - i), i);
      visit(c, visitor, end - i);
      for (; i < end; ++i) tighten_loose<I>(candidates, i);
    }
    sort_visitors(wave, first, last, begin, visitor);
    for (std::int64_t c = 0; c < clusters_.count(); ++c)
      visit(c, visitor + begin[c], begin[c + 1] - begin[c]);
    // Where small clusters alone are near, all are visited.
    std::int64_t few = 0;
    for (std::int64_t i = first; i < last; ++i)
      if (candidates.count[i] < candidates.k) visitor[few++] = i;
    for (std::int64_t j = 0; j < few; ++j) candidates.count[visitor[j]] = 0;
    for (std::int64_t c = 0; c < clusters_.count(); ++c) visit(c, visitor, few);
    give_up_unsure<I>(candidates, wave, first, last);
    return distances;
  }

  // Rows whose neighbours are so near that products less a centre, or z, may not tell them apart. The errors
  // of a squared distance are about (D + 32) 2^-24 |z - centre|^2, and 2^-24 |z| times the distance.
  template <Isa I>
  void give_up_unsure(const Candidates& candidates, std::int64_t wave, std::int64_t first,
                      std::int64_t last) const {
    const float of_products = static_cast<float>(z_.cols + 32) * 0x1p-18f, of_z = 0x1p-36f;
    for (std::int64_t i = first, own = clusters_.of(wave + first); i < last; ++i) {
      while (clusters_.begin(own + 1) <= wave + i) ++own;
      tighten_loose<I>(candidates, i);
      float to_centre = 0, to_origin = 0;
      for (std::int64_t k = 0; k < z_.cols; ++k) {
        const float x = z_(wave + i, k), d = x - clusters_.centres()(own, k);
        to_centre += d * d;
        to_origin += x * x;
      }
      const float* lower = candidates.lower + i * candidates.capacity;
      const float farthest = *std::max_element(lower, lower + candidates.count[i]);
      if (farthest < of_products * to_centre + of_z * to_origin) candidates.threshold[i] = -k_no_limit;
    }
  }

  // The rows that visit cluster c, which is not their own, are visitor[begin[c]], ..., ascending.
  void sort_visitors(std::int64_t wave, std::int64_t first, std::int64_t last, std::int64_t* begin,
                     std::int64_t* visitor) const {
    const std::int64_t count = clusters_.count();
    const auto for_visits = [&](auto f) {
      for (std::int64_t i = first, own = clusters_.of(wave + first); i < last; ++i) {
        while (clusters_.begin(own + 1) <= wave + i) ++own;
        for (std::int64_t v = i * visits_; v < (i + 1) * visits_; ++v)
          if (visit_[v] != own) f(visit_[v], i);
      }
    };
    counting_sort(begin, count, visitor, for_visits);
  }

  const Exec& exec_;
  const Clusters& clusters_;
  MatView<const float> z_;
  std::int64_t visits_;
  std::int64_t block_;
  std::int64_t largest_;
  ScratchArray<std::int32_t> visit_;  // (rows, visits) clusters
  ScratchArray<std::int64_t> begin_;
  ScratchArray<std::int64_t> visitor_;
};

// Orders all items of the clusters that a row has visited by their exact keys, for the rows that gave up.
template <Isa I, class T>
void rank_visited(const Exec& exec, const KnnSearch<T>& search, const Clusters& clusters, const Wave& wave,
                  std::int64_t first, std::int64_t count, const Candidates& candidates) {
  const std::int32_t* order = clusters.order();
  std::vector<std::int32_t> rows;
  std::int64_t most = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (candidates.threshold[i] != -k_no_limit) continue;
    std::int64_t items = 0;
    wave.for_visited(first, i, search.k, [&](std::int64_t c) { items += clusters.size(c); });
    most = std::max(most, items);
    rows.push_back(static_cast<std::int32_t>(i));
  }
  const std::int64_t size = key_row_size(search.base.x.cols) + most;
  const ScratchArray<std::int32_t> lists(exec, checked_mul(exec.threads(), most));
  const ScratchArray<double> values(exec, checked_mul(exec.threads(), size));
  const ScratchArray<Neighbor> rooms(exec, checked_mul(exec.threads(), 2 * most));
  parallel_for(exec, std::ssize(rows), [&](std::int64_t task, int thread) {
    const std::int64_t i = rows[static_cast<std::size_t>(task)];
    std::int32_t* items = lists.data() + thread * most;
    std::int64_t n = 0;
    wave.for_visited(first, i, search.k, [&](std::int64_t c) {
      for (std::int64_t at = clusters.begin(c); at < clusters.begin(c + 1); ++at)
        if (at != first + i) items[n++] = order[at];
    });
    rank_items<I, T>(search, order[first + i], items, n, values.data() + thread * size,
                     rooms.data() + thread * 2 * most);
  });
}

// No visits: so many clusters would have to be visited that an exact search takes no longer.
template <class T>
KnnApproximateWork search_clusters(const Exec& exec, const KnnSearch<T>& search, const TileScale& scale,
                                   const Sample<T>& sample, const KnnApproximateOptions& options) {
  const std::int64_t n = search.base.x.rows, d = search.base.columns();
  const ScratchArray<float> rows(exec, checked_mul(n, d));
  const MatView<float> z(rows.data(), n, d);
  {
    const ScratchArray<float> norm(exec, n + k_candidate_pad);
    tile_rows<T>(exec, search.base, scale, z, norm.data());
  }
  const Clusters clusters(exec, z, cluster_count(n), {options.seed, k_cluster_stream});
  const std::int32_t* order = clusters.order();
  reorder(exec, order, z);
  const ScratchArray<std::int32_t> place(exec, n);
  for (std::int64_t i = 0; i < n; ++i) place[order[i]] = static_cast<std::int32_t>(i);
  KnnApproximateWork work{.clusters = clusters.count(),
                          .visits = sample.visits(exec, clusters, z, place.data(), options.recall)};
  if (work.visits == 0) return {};
  const std::int64_t most = wave_rows(n, exec.threads());
  const CandidateStore store(exec, most, search.k);
  Wave wave(exec, clusters, z, work.visits);
  for (std::int64_t first = 0; first < n; first += most) {
    const std::int64_t count = std::min(most, n - first);
    const Candidates candidates = store.candidates(0, count);
    work.distances += wave.run(first, count, candidates);
    with_isa([&](auto isa) {
      rank_candidates<isa, T>(
          exec, search, candidates, count, [&](std::int64_t i) { return order[first + i]; },
          [&](std::int64_t i) { return order[i]; });
      rank_visited<isa, T>(exec, search, clusters, wave, first, count, candidates);
    });
  }
  return work;
}

// As search_clusters.
template <class T>
KnnApproximateWork search_approximately(const Exec& exec, Metric metric, In<T> x, std::int64_t k,
                                        const KnnApproximateOptions& options, MatView<std::int32_t> index,
                                        MatView<T> dist) {
  const DistanceForm form = distance_form(metric, "knn_approximate");
  FLATLAND_CHECK(
      form.term == Term::squares, "knn_approximate: metric ", name(metric.kind),
      " is not among euclidean, sqeuclidean, cosine, correlation and minkowski with p = 2; use knn");
  KnnSearch<T> search{
      .form = form, .query = {x}, .base = {x}, .self = true, .k = k, .index = index, .dist = dist};
  std::vector<UnitRow> units(static_cast<std::size_t>(form.unit_rows ? x.rows : 0));
  if (form.unit_rows) {
    fill_units(exec, form, search.base, units.data());
    search.query.units = units.data();
  }
  std::vector<double> shift(static_cast<std::size_t>(search.base.columns()));
  const TileScale scale = tile_scale<T>(exec, search.base, search.base, shift);
  FLATLAND_CHECK(
      scale.usable,
      "knn_approximate: x has values that are not finite, or too large or too small for float32; rescale "
      "them, or use knn");
  const Sample<T> sample(exec, metric, x, k, k_sample_rows, {options.seed, k_sample_stream});
  return search_clusters<T>(exec, search, scale, sample, options);
}

void check_options(const KnnApproximateOptions& options) {
  FLATLAND_CHECK(options.recall > 0 && options.recall <= 1, "knn_approximate: a recall of ", options.recall,
                 "; it must be above 0 and at most 1");
}

}  // namespace

std::int64_t knn_approximate_scratch(std::int64_t n, std::int64_t d, std::int64_t k, int threads,
                                     const KnnApproximateOptions& options) {
  if (searched_exactly(n, k, options)) return knn_scratch(n, d, k, threads);
  constexpr std::int64_t value = sizeof(float), offset = sizeof(std::int64_t);
  const std::int64_t count = cluster_count(n), visits = ceil_div(count, 8);  // about
  const std::int64_t sample = knn_query_scratch(k_sample_rows, n, d, k + 1, threads);
  const std::int64_t rows = checked_mul(n, (d + 2) * value);
  const std::int64_t means = Clusters::scratch(n, count, d);
  const std::int64_t candidate = 2 * candidate_capacity(k) + visits + 2;
  const std::int64_t thread =
      block_rows(n, threads) * visits * offset + (2 * d + k_offer_rows) * (n / count) * value;
  const std::int64_t wave = checked_mul(wave_rows(n, threads), candidate * value) + threads * thread;
  return std::max(sample, rows + std::max(means, wave));
}

bool has_approximate_knn(Metric metric) {
  return distance_form(metric, "knn_approximate").term == Term::squares;
}

template <class T>
KnnApproximateWork knn_approximate(const Exec& exec, Metric metric, In<T> x, std::int64_t k,
                                   const KnnApproximateOptions& options, MatView<std::int32_t> index,
                                   MatView<T> dist) {
  FLATLAND_CHECK(exec.device() == Device::cpu,
                 "knn_approximate: runs on the CPU alone; give it an Exec there, or use knn");
  check_options(options);
  check_knn<T>("knn_approximate", x, k, index, dist);
  const std::int64_t n = x.rows;
  if (!searched_exactly(n, k, options)) {
    const KnnApproximateWork work = search_approximately<T>(exec, metric, x, k, options, index, dist);
    if (work.visits > 0) return work;
  }
  knn<T>(exec, metric, x, k, index, dist);
  return {.distances = n * std::max<std::int64_t>(n - 1, 0) / 2};
}

template <class T>
double knn_recall(const Exec& exec, Metric metric, In<T> x, In<T> dist, std::int64_t samples,
                  std::uint64_t seed) {
  const std::int64_t n = x.rows, k = dist.cols;
  FLATLAND_CHECK(dist.rows == n, "knn_recall: dist is ", dist, " but x is ", x, "; a row an item is wanted");
  FLATLAND_CHECK(samples >= 1, "knn_recall: ", samples, " samples; at least 1 is needed");
  if (k == 0 || n == 0) return 1;
  const Sample<T> sample(exec, metric, x, k, samples, {seed, k_recall_stream});
  std::int64_t found = 0;
  for (std::int64_t s = 0; s < sample.rows(); ++s) {
    const T* own = dist.row(sample.row(s));
    found += std::count_if(own, own + k, [&](T d) { return d <= sample.farthest(s); });
  }
  return static_cast<double>(found) / static_cast<double>(sample.rows() * k);
}

#define FLATLAND_INSTANTIATE(T)                                                                       \
  template KnnApproximateWork knn_approximate<T>(const Exec&, Metric, In<T>, std::int64_t,            \
                                                 const KnnApproximateOptions&, MatView<std::int32_t>, \
                                                 MatView<T>);                                         \
  template double knn_recall<T>(const Exec&, Metric, In<T>, In<T>, std::int64_t, std::uint64_t);
FLATLAND_INSTANTIATE(float)
FLATLAND_INSTANTIATE(double)
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
