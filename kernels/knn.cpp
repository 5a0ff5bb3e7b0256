#include <flatland/kernels/check.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/knn_cuda.h>
#include <flatland/kernels/knn_search_simd.h>
#include <flatland/kernels/knn_tiles_simd.h>
#include <flatland/kernels/matmul_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace flatland::kernels {

namespace {

// --- all distances ------------------------------------------------------------------------------------

// The rows row(0), ..., row(n - 1) by exact keys to all of base.
template <class T, class RowAt>
void search_all(const Exec& exec, const KnnSearch<T>& search, std::int64_t n, RowAt row_at) {
  constexpr std::int64_t chunk = 64;
  const std::int64_t items = search.base.x.rows;
  const std::int64_t size = key_row_size(search.base.x.cols);
  const std::int64_t capacity = std::min(2 * search.k + 256, std::max(items, search.k + 1));
  const ScratchArray<double> values(exec, checked_mul(exec.threads() * k_key_group, size + chunk));
  const ScratchArray<Neighbor> rooms(exec, checked_mul(exec.threads() * (k_key_group + 1), capacity));
  with_isa([&](auto isa) {
    parallel_for(exec, ceil_div(n, k_key_group), [&](std::int64_t task, int thread) {
      double* value = values.data() + thread * k_key_group * (size + chunk);
      double* keys = value + k_key_group * size;
      Neighbor* room = rooms.data() + thread * (k_key_group + 1) * capacity;
      std::int64_t row[k_key_group];
      KeyRow query[k_key_group];
      std::optional<Nearest> nearest[k_key_group];
      for (std::int64_t r = 0; r < k_key_group; ++r) {
        row[r] = row_at(std::min(task * k_key_group + r, n - 1));
        query[r] = key_row<T>(search.query, row[r], value + r * size);
        nearest[r].emplace(room + r * capacity, capacity, search.k);
      }
      for (std::int64_t first = 0; first < items; first += chunk) {
        const std::int64_t count = std::min(chunk, items - first);
        keys_of_range<isa, T>(search.form, query, search.base, first, count, keys);
        for (std::int64_t r = 0; r < k_key_group; ++r)
          nearest[r]->offer(keys + r * count, count, first, search.self ? row[r] : -1);
      }
      for (std::int64_t r = 0; r < std::min<std::int64_t>(k_key_group, n - task * k_key_group); ++r) {
        Neighbor* found = nearest[r]->finish();
        sort_neighbors(found, room + k_key_group * capacity, search.k);
        write_row(search, row[r], found);
      }
    });
  });
}

// --- by tiles -----------------------------------------------------------------------------------------

// Rows of a block: so many that a tile's products stay in the cache, so few that there are tasks for many
// threads.
std::int64_t block_rows(std::int64_t n) {
  return std::clamp<std::int64_t>(ceil_div(n, 20 * 64) * 64, 64, 512);
}

// Rows of a task that takes them through all blocks of a base: fewer where there would be too few tasks.
std::int64_t query_rows(std::int64_t m, std::int64_t block, int threads) {
  return std::min(block, ceil_div(ceil_div(m, 2 * threads), 24) * 24);
}

// Whether all blocks of a base of n rows are packed at once, for m rows.
bool packs_all(std::int64_t m, std::int64_t n, std::int64_t d) {
  return m > 1024 && n * d <= std::int64_t{1} << 24;
}

// Products of a tile. The blocks of b are packed once where that takes little memory, else for each tile.
template <Isa I>
class TileProduct {
 public:
  // Of blocks of `rows` rows of a and `block` rows of b.
  TileProduct(const Exec& exec, std::int64_t rows, std::int64_t block, const Candidates& candidates,
              MatView<const float> a, MatView<const float> b)
      : rows_(rows),
        block_(block),
        candidates_(candidates),
        a_(a),
        b_(b),
        packed_size_(gemm_packed_size<I, float>(block, b.cols)),
        all_packed_(packs_all(a.rows, b.rows, b.cols)),
        packed_(exec, checked_mul(all_packed_ ? ceil_div(b.rows, block) : exec.threads(), packed_size_)),
        product_(exec, checked_mul(exec.threads(), rows * block)) {
    if (all_packed_)
      parallel_for(exec, ceil_div(b.rows, block),
                   [&](std::int64_t i, int) { pack(i, packed_.data() + i * packed_size_); });
  }

  // Rows of block i of a by rows of block j of b.
  ProductTile multiply(std::int64_t i, std::int64_t j, int thread) const {
    const std::int64_t m = std::min(rows_, a_.rows - i * rows_);
    const std::int64_t n = std::min(block_, b_.rows - j * block_);
    float* packed = packed_.data() + (all_packed_ ? j : thread) * packed_size_;
    if (!all_packed_) pack(j, packed);
    float* product = product_.data() + thread * rows_ * block_;
    gemm_rows<I, float>(a_.row(i * rows_), a_.ld, m, packed, n, a_.cols, product, block_);
    return {.product = product,
            .ld = block_,
            .row_norm = candidates_.own_norm + i * rows_,
            .col_norm = candidates_.other_norm + j * block_,
            .row0 = i * rows_,
            .rows = m,
            .col0 = j * block_,
            .cols = n};
  }

 private:
  void pack(std::int64_t j, float* packed) const {
    gemm_pack_rows<I, float>(b_.row(j * block_), b_.ld, std::min(block_, b_.rows - j * block_), b_.cols,
                             packed);
  }

  std::int64_t rows_;
  std::int64_t block_;
  const Candidates& candidates_;
  MatView<const float> a_;
  MatView<const float> b_;
  std::int64_t packed_size_;
  bool all_packed_;
  ScratchArray<float> packed_;
  ScratchArray<float> product_;
};

// All tiles of the upper triangle. A round of a tournament pairs each block with one other, so that no two
// tasks of a round feed the same row.
template <Isa I>
void scan_triangle(const Exec& exec, const Candidates& candidates, MatView<const float> z) {
  const std::int64_t block = block_rows(z.rows);
  const std::int64_t blocks = ceil_div(z.rows, block);
  const TileProduct<I> products(exec, block, block, candidates, z, z);
  parallel_for(exec, blocks, [&](std::int64_t b, int thread) {
    ProductTile tile = products.multiply(b, b, thread);
    tile.self = 0;
    scan_tile<I>(candidates, tile);
  });
  const std::int64_t players = blocks + blocks % 2;
  for (std::int64_t round = 0; round + 1 < players; ++round)
    parallel_for(exec, players / 2, [&](std::int64_t pair, int thread) {
      const std::int64_t others = players - 1;
      const std::int64_t one = (round + pair) % others;
      const std::int64_t two = pair == 0 ? others : (round + others - pair) % others;
      const auto [low, high] = std::minmax(one, two);
      if (high >= blocks) return;
      ProductTile tile = products.multiply(low, high, thread);
      tile.symmetric = true;
      scan_tile<I>(candidates, tile);
    });
}

// All tiles of query against base, which may be one set.
template <Isa I>
void scan_rectangle(const Exec& exec, const Candidates& candidates, MatView<const float> query,
                    MatView<const float> base) {
  const bool self = query.data == base.data;
  const std::int64_t block = block_rows(std::max(query.rows, base.rows));
  const std::int64_t rows = query_rows(query.rows, block, exec.threads());
  const TileProduct<I> products(exec, rows, block, candidates, query, base);
  parallel_for(exec, ceil_div(query.rows, rows), [&](std::int64_t i, int thread) {
    for (std::int64_t j = 0; j < ceil_div(base.rows, block); ++j) {
      ProductTile tile = products.multiply(i, j, thread);
      if (self) tile.self = 0;
      scan_tile<I>(candidates, tile);
    }
  });
}

// Half of the products is saved by the triangle, but rows gather their own candidates about 250
// multiplications faster than a tile feeds them to its columns. A row gathers some k (1 + log(n / k)).
bool triangle_pays(std::int64_t n, std::int64_t d, std::int64_t k) {
  const double share = static_cast<double>(k) / static_cast<double>(n);
  return static_cast<double>(d) > 250 * 1.3 * share * (1 - std::log(share));
}

template <class T>
void search_by_tiles(const Exec& exec, const KnnSearch<T>& search) {
  const std::int64_t n = search.query.x.rows;
  const std::int64_t items = search.base.x.rows;
  const std::int64_t d = search.base.columns();
  const auto same = [](auto i) { return i; };
  const ScratchArray<double> shift(exec, d);
  const TileScale scale = tile_scale<T>(exec, search.base, search.query, shift.span());
  if (!scale.usable) return search_all<T>(exec, search, n, same);

  const ScratchArray<float> z(exec, checked_mul(items, d));
  const ScratchArray<float> norm(exec, items + k_candidate_pad);
  const MatView<float> base(z.data(), items, d);
  tile_rows<T>(exec, search.base, scale, base, norm.data());
  const std::int64_t own = search.self ? 0 : n;
  const ScratchArray<float> own_z(exec, checked_mul(own, d));
  const ScratchArray<float> own_norm(exec, own + k_candidate_pad);
  const MatView<float> query(own_z.data(), n, d);
  if (!search.self) tile_rows<T>(exec, search.query, scale, query, own_norm.data());

  const CandidateStore store(exec, n, search.k);
  Candidates candidates = store.candidates(0, n);
  candidates.own_norm = search.self ? norm.data() : own_norm.data();
  candidates.other_norm = norm.data();
  candidates.largest_norm = *std::max_element(norm.data(), norm.data() + items);
  candidates.slack = scale.slack();
  candidates.slack_absolute = scale.slack_absolute();
  with_isa([&](auto isa) {
    if (search.self && triangle_pays(items, d, search.k))
      scan_triangle<isa>(exec, candidates, base);
    else
      scan_rectangle<isa>(exec, candidates, search.self ? base : query, base);
    rank_candidates<isa, T>(exec, search, candidates, n, same, same);
  });
  const ScratchArray<std::int32_t> left(exec, n);
  std::int64_t left_count = 0;
  for (std::int64_t i = 0; i < n; ++i)
    if (candidates.threshold[i] == -k_no_limit) left[left_count++] = static_cast<std::int32_t>(i);
  search_all<T>(exec, search, left_count, [&](std::int64_t i) { return left[i]; });
}

template <class T>
void run(const Exec& exec, KnnSearch<T> search) {
  const std::int64_t n = search.query.x.rows;
  if (search.k == 0 || n == 0) return;
  FLATLAND_ON_CUDA(exec) return cuda::knn<T>(exec, search);
  const std::int64_t unit_count = search.form.unit_rows ? search.base.x.rows + (search.self ? 0 : n) : 0;
  const ScratchArray<UnitRow> units(exec, unit_count);
  if (search.form.unit_rows) {
    fill_units(exec, search.form, search.base, units.data());
    search.query.units = units.data();
    if (!search.self) fill_units(exec, search.form, search.query, units.data() + search.base.x.rows);
  }
  if (search.tiles_pay()) return search_by_tiles<T>(exec, search);
  search_all<T>(exec, search, n, [](std::int64_t i) { return i; });
}

// Of m rows among n, which may be the same.
std::int64_t search_scratch(std::int64_t m, std::int64_t n, std::int64_t d, std::int64_t k, int threads) {
  const std::int64_t block = block_rows(std::max(m, n));
  const std::int64_t packed = packs_all(m, n, d) ? n : threads * block;
  const std::int64_t floats = n * (d + 1) + 2 * m + packed * d + threads * block * block;
  const std::int64_t candidate = sizeof(float) + sizeof(std::int32_t);
  return checked_mul(floats, sizeof(float)) + checked_mul(m, candidate_capacity(k) * candidate);
}

}  // namespace

std::int64_t knn_scratch(std::int64_t n, std::int64_t d, std::int64_t k, int threads) {
  return search_scratch(n, n, d, k, threads);
}

std::int64_t knn_query_scratch(std::int64_t m, std::int64_t n, std::int64_t d, std::int64_t k, int threads) {
  return checked_mul(m, (d + 1) * static_cast<std::int64_t>(sizeof(float))) +
         search_scratch(m, n, d, k, threads);
}

template <class T>
void knn(const Exec& exec, Metric metric, In<T> x, std::int64_t k, MatView<std::int32_t> index,
         MatView<T> dist) {
  const DistanceForm form = distance_form(metric, "knn");
  check_knn<T>("knn", x, k, index, dist);
  run<T>(exec, {.form = form, .query = {x}, .base = {x}, .self = true, .k = k, .index = index, .dist = dist});
}

template <class T>
void knn_query(const Exec& exec, Metric metric, In<T> query, In<T> base, std::int64_t k,
               MatView<std::int32_t> index, MatView<T> dist) {
  const DistanceForm form = distance_form(metric, "knn_query");
  check_knn_count("knn_query", base.rows);
  check_knn_count("knn_query", query.rows);
  FLATLAND_CHECK(query.cols == base.cols, "knn_query: query is ", query, " but base is ", base,
                 "; the column counts must match");
  FLATLAND_CHECK(k >= 0 && k <= base.rows, "knn_query: ", k, " neighbours among ", base.rows, " rows");
  check_knn_results<T>("knn_query", query.rows, k, index, dist);
  run<T>(
      exec,
      {.form = form, .query = {query}, .base = {base}, .self = false, .k = k, .index = index, .dist = dist});
}

#define FLATLAND_INSTANTIATE(T)                                                                      \
  template void knn<T>(const Exec&, Metric, In<T>, std::int64_t, MatView<std::int32_t>, MatView<T>); \
  template void knn_query<T>(const Exec&, Metric, In<T>, In<T>, std::int64_t, MatView<std::int32_t>, \
                             MatView<T>);
FLATLAND_INSTANTIATE(float)
FLATLAND_INSTANTIATE(double)
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
