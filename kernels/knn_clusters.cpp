#include <flatland/kernels/knn_clusters_simd.h>
#include <flatland/kernels/knn_search_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/size.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_lloyd_rows = 32;  // a cluster
constexpr int k_rounds = 2;
constexpr std::int64_t k_chunk = 256;  // centres that are packed together

// Rows 0, ..., n - 1 by cluster: those of cluster c are order[begin[c]], ..., ascending.
void sort_by_cluster(const std::int32_t* cluster, std::int64_t n, std::int64_t count, std::int64_t* begin,
                     std::int32_t* order) {
  counting_sort(begin, count, order, [&](auto f) {
    for (std::int64_t i = 0; i < n; ++i) f(cluster[i], static_cast<std::int32_t>(i));
  });
}

// The k nearest candidates of a row, in no order.   room (capacity)
using Centre = std::pair<float, std::int32_t>;
void take_nearest(const Candidates& candidates, std::int64_t row, Centre* room, std::int32_t* index) {
  const std::int64_t at = row * candidates.capacity, n = candidates.count[row], k = candidates.k;
  for (std::int64_t j = 0; j < n; ++j) room[j] = {candidates.lower[at + j], candidates.index[at + j]};
  if (n > k) std::nth_element(room, room + k - 1, room + n);
  for (std::int64_t j = 0; j < k; ++j) index[j] = room[j].second;
}

}  // namespace

void nearest_centres(const Exec& exec, MatView<const float> rows, MatView<const float> centres,
                     MatView<std::int32_t> index) {
  const std::int64_t count = centres.rows, d = centres.cols, chunks = ceil_div(count, k_chunk);
  const CandidateStore store(exec, exec.threads() * k_offer_rows, index.cols);
  const ScratchArray<PackedItems> packed(exec, chunks);
  const ScratchArray<float> origin(exec, d);
  const ScratchArray<std::int64_t> row(exec, k_offer_rows);
  const ScratchArray<Centre> found(exec, checked_mul(exec.threads(), candidate_capacity(index.cols)));
  std::fill_n(origin.data(), d, 0.f);
  std::iota(row.data(), row.data() + k_offer_rows, 0);
  with_isa([&](auto isa) {
    const std::int64_t items = items_room<isa>(k_chunk, d), room = offer_room(k_chunk, d);
    const ScratchArray<float> values(exec, checked_mul(chunks, items));
    const ScratchArray<float> rooms(exec, checked_mul(exec.threads(), room));
    parallel_for(exec, chunks, [&](std::int64_t c, int thread) {
      packed[c] = pack_items<isa>(centres, origin.data(), c * k_chunk, std::min(k_chunk, count - c * k_chunk),
                                  values.data() + c * items, rooms.data() + thread * room);
    });
    parallel_for(exec, ceil_div(rows.rows, k_offer_rows), [&](std::int64_t task, int thread) {
      const std::int64_t first = task * k_offer_rows, n = std::min(k_offer_rows, rows.rows - first);
      const Candidates candidates = store.candidates(thread * k_offer_rows, n);
      for (const PackedItems& c : packed.span())
        offer_items<isa>(candidates, c, {rows.row(first), n, d, rows.ld}, row.data(), n, -1,
                         rooms.data() + thread * room);
      for (std::int64_t i = 0; i < n; ++i) {
        tighten_loose<isa>(candidates, i);
        take_nearest(candidates, i, found.data() + thread * candidates.capacity, index.row(first + i));
      }
    });
  });
}

Clusters::Clusters(const Exec& exec, MatView<const float> z, std::int64_t count, RandomStream random)
    : d_(z.cols),
      count_(count),
      centre_(exec, checked_mul(room(count), d_)),
      begin_(exec, room(count) + 1),
      order_(exec, z.rows) {
  // One row out of each of so many equal parts.
  const auto drawn = [&](std::int64_t part, std::int64_t parts, std::int64_t n) {
    const std::int64_t first = n * part / parts, end = n * (part + 1) / parts;
    return first + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(part),
                                                          static_cast<std::uint64_t>(end - first)));
  };
  {
    const std::int64_t m = std::min(z.rows, count * k_lloyd_rows);
    const ScratchArray<float> rows(exec, checked_mul(m, d_));
    const MatView<float> sample(rows.data(), m, d_);
    for (std::int64_t s = 0; s < m; ++s) std::copy_n(z.row(drawn(s, m, z.rows)), d_, sample.row(s));
    for (std::int64_t c = 0; c < count; ++c)
      std::copy_n(sample.row(drawn(c, count, m)), d_, centre_.data() + c * d_);
    for (int round = 0; round < k_rounds; ++round) improve(exec, sample);
  }
  divide(exec, z);
}

std::int64_t Clusters::of(std::int64_t place) const {
  return std::upper_bound(begin_.data(), begin_.data() + count_, place) - begin_.data() - 1;
}

std::int64_t Clusters::largest() const {
  std::int64_t most = 0;
  for (std::int64_t c = 0; c < count_; ++c) most = std::max(most, size(c));
  return most;
}

std::int64_t Clusters::scratch(std::int64_t n, std::int64_t count, std::int64_t d) {
  const std::int64_t sample = std::min(n, count * k_lloyd_rows) * (d + 2), all = n + count * d;
  return checked_mul(std::max(sample, all) + 2 * count * d, static_cast<std::int64_t>(sizeof(float)));
}

// Moves each centre to the mean of its rows.
void Clusters::improve(const Exec& exec, MatView<const float> sample) {
  const ScratchArray<std::int32_t> cluster(exec, sample.rows);
  const ScratchArray<std::int32_t> order(exec, sample.rows);
  const ScratchArray<double> sums(exec, checked_mul(exec.threads(), d_));
  nearest_centres(exec, sample, centres(), {cluster.data(), sample.rows, 1});
  sort_by_cluster(cluster.data(), sample.rows, count_, begin_.data(), order.data());
  parallel_for(exec, count_, [&](std::int64_t c, int thread) {
    if (size(c) == 0) return;
    double* sum = sums.data() + thread * d_;
    std::fill_n(sum, d_, 0.);
    for (std::int64_t i = begin(c); i < begin(c + 1); ++i)
      for (std::int64_t k = 0; k < d_; ++k) sum[k] += static_cast<double>(sample.row(order[i])[k]);
    for (std::int64_t k = 0; k < d_; ++k)
      centre_[c * d_ + k] = static_cast<float>(sum[k] / static_cast<double>(size(c)));
  });
}

// Sorts all rows by cluster, drops empty ones and cuts large ones.
void Clusters::divide(const Exec& exec, MatView<const float> z) {
  const std::int64_t n = z.rows, limit = ceil_div(4 * n, count_);
  {
    const ScratchArray<std::int32_t> cluster(exec, n);
    nearest_centres(exec, z, centres(), {cluster.data(), n, 1});
    sort_by_cluster(cluster.data(), n, count_, begin_.data(), order_.data());
  }
  const ScratchArray<float> before(exec, checked_mul(count_, d_));
  const ScratchArray<std::int64_t> bounds(exec, count_ + 1);
  std::copy_n(centre_.data(), count_ * d_, before.data());
  std::copy_n(begin_.data(), count_ + 1, bounds.data());
  std::int64_t at = 0;
  for (std::int64_t c = 0; c < count_; ++c)
    for (std::int64_t first = bounds[c]; first < bounds[c + 1]; first += limit) {
      std::copy_n(before.data() + c * d_, d_, centre_.data() + at * d_);
      begin_[at++] = first;
    }
  begin_[at] = n;
  count_ = at;
}

}  // namespace flatland::kernels
