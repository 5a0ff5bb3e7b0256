#include <flatland/kernels/check.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/knn_approximate.h>
#include <flatland/kernels/knn_graph_simd.h>
#include <flatland/kernels/knn_search_simd.h>
#include <flatland/kernels/knn_tiles_simd.h>
#include <flatland/kernels/knn_trees_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/random.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_join_rows = 64;

constexpr std::int64_t padded(std::int64_t n) {
  return ceil_div(n, k_graph_pad) * k_graph_pad;
}

// Streams of draws: of the trees, of the rows' own neighbours in a round, of those they get by others.
constexpr std::uint64_t k_tree_streams = std::uint64_t{1} << 32;
RandomStream own_draws(std::uint64_t seed, int round) {
  return {seed, 2 * static_cast<std::uint64_t>(round)};
}
RandomStream other_draws(std::uint64_t seed, int round) {
  return {seed, 2 * static_cast<std::uint64_t>(round) + 1};
}

bool searched_exactly(std::int64_t n, std::int64_t k, const KnnApproximateOptions& options) {
  return n < options.exact_below || k > n / 8 || k == 0;
}
TreeShape tree_shape_for(std::int64_t n, std::int64_t k) {
  return tree_shape(n, std::max<std::int64_t>(128, padded(2 * k + 2)));
}

// Calls f(i) for all rows i, in blocks.
template <class F>
void for_each_row(const Exec& exec, std::int64_t n, F f) {
  for_tiles(exec, n, k_join_rows, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t i = first; i < first + count; ++i) f(i);
  });
}

// Sums what task(i, thread) has done.
template <class F>
GraphWork total_work(const Exec& exec, std::int64_t tasks, F task) {
  const ScratchArray<GraphWork> done(exec, tasks);
  parallel_for(exec, tasks, [&](std::int64_t i, int thread) { done[i] = task(i, thread); });
  GraphWork total;
  for (const GraphWork& work : done.span()) {
    total.changes += work.changes;
    total.distances += work.distances;
  }
  return total;
}

// --- who meets whom -----------------------------------------------------------------------------------

// `size` of a stream of items, each as likely. draw(n): any number below n.
template <class Draw>
void sample(std::int32_t* items, std::int64_t size, std::int64_t seen, std::int32_t item, Draw draw) {
  const std::int64_t at = seen < size ? seen : draw(seen + 1);
  if (at < size) items[at] = item;
}

class Descent {
 public:
  Descent(const Exec& exec, const NeighborLists& lists, std::int64_t n, const KnnApproximateOptions& options)
      : exec_(exec),
        lists_(lists),
        options_(options),
        n_(n),
        size_(options.candidates),
        chunks_(chunks(exec.threads())),
        items_(exec, checked_mul(2 * n, size_)),
        counts_(exec, 2 * n),
        offset_(exec, n + 1),
        cursor_(exec, checked_mul(chunks_, n)),
        source_(exec, checked_mul(n, sources(lists.width, size_))) {}

  static std::int64_t chunks(int threads) { return std::min(threads, 8); }
  // Chosen edges of a row, at most.
  static std::int64_t sources(std::int64_t width, std::int64_t candidates) {
    return std::min(width, 2 * candidates);
  }

  GraphWork round(int number, MatView<const float> z) {
    for_each_row(exec_, n_, [&](std::int64_t i) { choose_own(i, own_draws(options_.seed, number)); });
    turn_around();
    for_each_row(exec_, n_, [&](std::int64_t i) { choose_others(i, other_draws(options_.seed, number)); });
    const ScratchArray<std::int32_t> rooms(exec_, checked_mul(exec_.threads(), padded(join_room(size_))));
    return with_isa([&](auto isa) {
      return total_work(exec_, ceil_div(n_, k_join_rows), [&](std::int64_t block, int thread) {
        return join_rows<isa>(lists_, z, meetings(), block * k_join_rows,
                              std::min(n_, (block + 1) * k_join_rows),
                              rooms.data() + thread * padded(join_room(size_)));
      });
    });
  }

 private:
  Meetings meetings() const { return {items_.data(), counts_.data(), size_}; }

  // From a row's own list; its new edges among them are new no longer.
  void choose_own(std::int64_t i, RandomStream random) {
    const Meetings m = meetings();
    std::int32_t* entry = lists_.item + i * lists_.width;
    std::int64_t seen[2] = {};
    for (std::int64_t j = 0; j < lists_.width; ++j) {
      if (entry[j] == k_no_item) continue;
      const int old = entry[j] >= 0;
      sample(m.items(i, old), size_, seen[old]++, static_cast<std::int32_t>(j), [&](std::int64_t n) {
        return static_cast<std::int64_t>(
            random.below(static_cast<std::uint64_t>(i * lists_.width + j), static_cast<std::uint64_t>(n)));
      });
    }
    for (const int old : {0, 1}) {
      m.counted(i, old) = static_cast<std::int32_t>(std::min(seen[old], size_));
      for (std::int32_t& item : std::span(m.items(i, old), static_cast<std::size_t>(m.counted(i, old)))) {
        entry[item] &= INT32_MAX;
        item = entry[item];
      }
    }
  }

  // The chosen edges by where they lead to: the rows that chose row j are source[offset[j]], ..., ascending,
  // with k_unseen where the edge is new. A stable counting sort by chunks of rows.
  void turn_around() {
    const Meetings m = meetings();
    const auto for_chunk = [&](std::int64_t chunk, auto f) {
      for (std::int64_t i = n_ * chunk / chunks_; i < n_ * (chunk + 1) / chunks_; ++i)
        for (const int old : {0, 1})
          for (std::int64_t j = 0; j < m.counted(i, old); ++j)
            f(cursor_[chunk * n_ + m.items(i, old)[j]], static_cast<std::int32_t>(old ? i : i | k_unseen));
    };
    parallel_for(exec_, chunks_, [&](std::int64_t chunk, int) {
      std::fill_n(cursor_.data() + chunk * n_, n_, 0);
      for_chunk(chunk, [](std::int64_t& count, std::int32_t) { ++count; });
    });
    std::int64_t at = 0;
    for (std::int64_t j = 0; j < n_; ++j) {
      offset_[j] = at;
      for (std::int64_t chunk = 0; chunk < chunks_; ++chunk) {
        const std::int64_t count = std::exchange(cursor_[chunk * n_ + j], at);
        at += count;
      }
    }
    offset_[n_] = at;
    parallel_for(exec_, chunks_, [&](std::int64_t chunk, int) {
      for_chunk(chunk, [&](std::int64_t& cursor, std::int32_t source) { source_[cursor++] = source; });
    });
  }

  // Adds rows that chose row i.
  void choose_others(std::int64_t i, RandomStream random) {
    const Meetings m = meetings();
    std::int64_t seen[2] = {m.counted(i, 0), m.counted(i, 1)};
    for (std::int64_t at = offset_[i]; at < offset_[i + 1]; ++at) {
      const int old = source_[at] >= 0;
      const std::int32_t item = source_[at] & INT32_MAX;
      const std::int32_t* chosen = m.items(i, old);
      bool known = false;
      for (std::int64_t j = 0; j < std::min(seen[old], size_); ++j) known |= chosen[j] == item;
      if (known) continue;
      sample(m.items(i, old), size_, seen[old]++, item, [&](std::int64_t n) {
        return static_cast<std::int64_t>(
            random.below(static_cast<std::uint64_t>(at), static_cast<std::uint64_t>(n)));
      });
    }
    for (const int old : {0, 1}) m.counted(i, old) = static_cast<std::int32_t>(std::min(seen[old], size_));
  }

  const Exec& exec_;
  NeighborLists lists_;
  KnnApproximateOptions options_;
  std::int64_t n_;
  std::int64_t size_;
  std::int64_t chunks_;
  ScratchArray<std::int32_t> items_;
  ScratchArray<std::int32_t> counts_;
  ScratchArray<std::int64_t> offset_;
  ScratchArray<std::int64_t> cursor_;
  ScratchArray<std::int32_t> source_;
};

// --- search -------------------------------------------------------------------------------------------

// Moves row order[i] to place i, for all i, cycle by cycle.
void reorder(const Exec& exec, const std::int32_t* order, MatView<float> z) {
  const ScratchArray<bool> moved(exec, z.rows);
  const ScratchArray<float> first(exec, z.ld);
  std::fill_n(moved.data(), z.rows, false);
  for (std::int64_t i = 0; i < z.rows; ++i) {
    if (moved[i]) continue;
    std::copy_n(z.row(i), z.ld, first.data());
    std::int64_t at = i;
    for (; order[at] != i; at = order[at]) {
      std::copy_n(z.row(order[at]), z.ld, z.row(at));
      moved[at] = true;
    }
    std::copy_n(first.data(), z.ld, z.row(at));
    moved[at] = true;
  }
}

// The rows of z in the order of the first tree, so that neighbours lie close together.
template <class T>
void ordered_rows(const Exec& exec, const KeyRows<T>& rows, const TileScale& scale, const TreeShape& shape,
                  std::uint64_t seed, std::int32_t* order, MatView<float> z) {
  const ScratchArray<float> norm(exec, z.rows + k_candidate_pad);
  for_each_row(exec, z.rows, [&](std::int64_t i) { std::fill(z.row(i) + z.cols, z.row(i) + z.ld, 0.f); });
  tile_rows<T>(exec, rows, scale, z, norm.data());
  grow_trees(exec, shape, z, {seed, k_tree_streams}, {order, 1, z.rows});
  reorder(exec, order, z);
}

// All leaves of a tree.
GraphWork join_leaves(const Exec& exec, const NeighborLists& lists, MatView<const float> z,
                      const TreeShape& shape, const std::int32_t* order) {
  return with_isa([&](auto isa) {
    const std::int64_t room = padded(leaf_room<isa>(ceil_div(shape.n, shape.leaves()), z.ld));
    const ScratchArray<float> rooms(exec, checked_mul(exec.threads(), room));
    return total_work(exec, shape.leaves(), [&](std::int64_t leaf, int thread) {
      return join_leaf<isa>(lists, z, order + shape.leaf_begin(leaf), shape.leaf_size(leaf),
                            rooms.data() + thread * room);
    });
  });
}

GraphWork start(const Exec& exec, const NeighborLists& lists, MatView<const float> z, const TreeShape& shape,
                const KnnApproximateOptions& options) {
  const ScratchArray<std::int32_t> orders(exec, checked_mul(options.trees, z.rows));
  const MatView<std::int32_t> order(orders.data(), options.trees, z.rows);
  std::iota(order.row(0), order.row(1), 0);
  grow_trees(exec, shape, z, {options.seed, k_tree_streams + 1}, {order.row(1), options.trees - 1, z.rows});
  GraphWork total;
  for (std::int64_t t = 0; t < options.trees; ++t)
    total.distances += join_leaves(exec, lists, z, shape, order.row(t)).distances;
  return total;
}

template <class T>
void rank_lists(const Exec& exec, const KnnSearch<T>& search, const NeighborLists& lists,
                const std::int32_t* order) {
  const std::int64_t n = search.query.x.rows;
  const std::int64_t size = key_row_size(search.base.x.cols) + lists.width;
  const ScratchArray<double> values(exec, checked_mul(exec.threads(), size));
  const ScratchArray<Neighbor> rooms(exec, checked_mul(exec.threads(), 2 * lists.width));
  with_isa([&](auto isa) {
    parallel_for(exec, ceil_div(n, k_join_rows), [&](std::int64_t block, int thread) {
      for (std::int64_t i = block * k_join_rows; i < std::min(n, (block + 1) * k_join_rows); ++i) {
        std::int32_t* items = lists.item + i * lists.width;
        std::int64_t count = 0;
        for (std::int64_t j = 0; j < lists.width; ++j)
          if (items[j] != k_no_item) items[count++] = order[items[j] & INT32_MAX];
        rank_items<isa, T>(search, order[i], items, count, values.data() + thread * size,
                           rooms.data() + thread * 2 * lists.width);
      }
    });
  });
}

template <class T>
KnnApproximateWork descend(const Exec& exec, const KnnSearch<T>& search, const TileScale& scale,
                           const KnnApproximateOptions& options) {
  const std::int64_t n = search.query.x.rows, d = search.base.columns(), width = padded(search.k);
  const TreeShape shape = tree_shape_for(n, search.k);
  const ScratchArray<std::int32_t> order(exec, n);
  const ScratchArray<float> rows(exec, checked_mul(n, padded(d)));
  const MatView<float> z(rows.data(), n, d, padded(d));
  ordered_rows<T>(exec, search.base, scale, shape, options.seed, order.data(), z);

  const ScratchArray<float> dist(exec, checked_mul(n, width));
  const ScratchArray<std::int32_t> item(exec, checked_mul(n, width));
  const ScratchArray<float> worst(exec, n);
  for_each_row(exec, n, [&](std::int64_t i) {
    std::fill_n(dist.data() + i * width, width, std::numeric_limits<float>::infinity());
    std::fill_n(item.data() + i * width, width, k_no_item);
    worst[i] = std::numeric_limits<float>::infinity();
  });
  const NeighborLists lists{dist.data(), item.data(), worst.data(), width};
  KnnApproximateWork work{.distances = start(exec, lists, z, shape, options).distances};
  {
    Descent descent(exec, lists, n, options);
    const double few = options.tolerance * static_cast<double>(n) * static_cast<double>(search.k);
    bool goes_on = true;
    while (goes_on && work.rounds < options.max_rounds) {
      const GraphWork done = descent.round(work.rounds++, z);
      work.distances += done.distances;
      goes_on = static_cast<double>(done.changes) > few;
    }
  }
  rank_lists<T>(exec, search, lists, order.data());
  return work;
}

void check_options(const KnnApproximateOptions& options) {
  FLATLAND_CHECK(
      options.trees >= 1 && options.candidates >= 1 && options.max_rounds >= 0 && options.tolerance >= 0,
      "knn_approximate: ", options.trees, " trees, ", options.candidates, " candidates, ", options.max_rounds,
      " rounds and a tolerance of ", options.tolerance, "; at least 1, 1, 0 and 0 are needed");
}

}  // namespace

std::int64_t knn_approximate_scratch(std::int64_t n, std::int64_t d, std::int64_t k, int threads,
                                     const KnnApproximateOptions& options) {
  if (searched_exactly(n, k, options)) return knn_scratch(n, d, k, threads);
  constexpr std::int64_t value = sizeof(float), offset = sizeof(std::int64_t);
  const TreeShape shape = tree_shape_for(n, k);
  const std::int64_t row = padded(d) * value, width = padded(k), lists = (2 * width + 1) * value;
  const std::int64_t met = 2 * (options.candidates + 1) + Descent::sources(width, options.candidates);
  const std::int64_t first_tree = checked_mul(n, value) + grow_trees_scratch(shape, 1);
  const std::int64_t trees =
      checked_mul(n, lists + options.trees * value) + grow_trees_scratch(shape, options.trees - 1);
  const std::int64_t descent = checked_mul(n, lists + met * value + (Descent::chunks(threads) + 1) * offset);
  return checked_mul(n, row + value) + std::max({first_tree, trees, descent});
}

bool has_approximate_knn(Metric metric) {
  return distance_form(metric, "knn_approximate").term == Term::squares;
}

template <class T>
KnnApproximateWork knn_approximate(const Exec& exec, Metric metric, In<T> x, std::int64_t k,
                                   const KnnApproximateOptions& options, MatView<std::int32_t> index,
                                   MatView<T> dist) {
  const DistanceForm form = distance_form(metric, "knn_approximate");
  FLATLAND_CHECK(exec.device() == Device::cpu,
                 "knn_approximate: runs on the CPU alone; give it an Exec there, or use knn");
  check_options(options);
  check_knn<T>("knn_approximate", x, k, index, dist);
  const std::int64_t n = x.rows;
  const auto exactly = [&] {
    knn<T>(exec, metric, x, k, index, dist);
    return KnnApproximateWork{.distances = n * std::max<std::int64_t>(n - 1, 0) / 2};
  };
  if (searched_exactly(n, k, options)) return exactly();
  FLATLAND_CHECK(form.term == Term::squares, "knn_approximate: metric ", name(metric.kind),
                 " is not among euclidean, sqeuclidean, cosine and correlation; use knn");
  KnnSearch<T> search{
      .form = form, .query = {x}, .base = {x}, .self = true, .k = k, .index = index, .dist = dist};
  const ScratchArray<UnitRow> units(exec, form.unit_rows ? n : 0);
  if (form.unit_rows) {
    fill_units(exec, form, search.base, units.data());
    search.query.units = units.data();
  }
  const ScratchArray<double> shift(exec, search.base.columns());
  const TileScale scale = tile_scale<T>(exec, search.base, search.base, shift.span());
  FLATLAND_CHECK(scale.usable,
                 "knn_approximate: x has values that are NaN, infinite or too large; give finite ones");
  return descend<T>(exec, search, scale, options);
}

template <class T>
double knn_recall(const Exec& exec, Metric metric, In<T> x, In<T> dist, std::int64_t samples,
                  std::uint64_t seed) {
  const std::int64_t n = x.rows, k = dist.cols, m = std::min(samples, n);
  FLATLAND_CHECK(dist.rows == n, "knn_recall: dist is ", dist, " but x is ", x, "; a row an item is wanted");
  FLATLAND_CHECK(samples >= 1, "knn_recall: ", samples, " samples; at least 1 is needed");
  if (k == 0 || n == 0) return 1;
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  random_permutation(exec, {seed, 0}, order);
  std::vector<T> query(static_cast<std::size_t>(m * x.cols));
  for (std::int64_t s = 0; s < m; ++s)
    std::copy_n(x.row(order[static_cast<std::size_t>(s)]), x.cols, query.data() + s * x.cols);
  std::vector<std::int32_t> index(static_cast<std::size_t>(m * (k + 1)));
  std::vector<T> nearest(index.size());
  knn_query<T>(exec, metric, {query.data(), m, x.cols}, x, k + 1, {index.data(), m, k + 1},
               {nearest.data(), m, k + 1});
  // The row itself is at distance 0: the k-th of the others is the (k + 1)-th of all.
  std::int64_t found = 0;
  for (std::int64_t s = 0; s < m; ++s) {
    const T* own = dist.row(order[static_cast<std::size_t>(s)]);
    found += std::count_if(own, own + k,
                           [&](T d) { return d <= nearest[static_cast<std::size_t>(s * (k + 1) + k)]; });
  }
  return static_cast<double>(found) / static_cast<double>(m * k);
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
