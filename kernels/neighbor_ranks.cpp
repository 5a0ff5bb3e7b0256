#include <flatland/kernels/check.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/neighbor_ranks.h>
#include <flatland/kernels/neighbor_ranks_simd.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_tile = 256;  // rows of one matrix product
constexpr double k_unit = 0x1p-24;    // rounding of float32

// Rows of x, centred and scaled to float32, so that products stay far from overflow and underflow.
//
// Whatever the order of its sum, the product of rows i and l is off by at most D u |z_i| |z_l|; the rounding
// of z, of the norms and of their sum add a few u more. So (D + 16) u (|z_i| + |z_l|)^2 covers the error of a
// squared distance with room to spare, and that is at most `bound` (|z_i|^2 + |z_l|^2). `absolute` covers
// underflow.
struct Rows {
  explicit Rows(const Exec& exec, std::int64_t n, std::int64_t d)
      : z(exec, checked_mul(n, d)),
        mean(exec, d),
        norm(exec, n),
        low(exec, n),
        high(exec, n),
        bound(2 * static_cast<double>(d + 16) * k_unit),
        absolute(static_cast<double>(d + 16) * 1e-37) {}

  ScratchArray<float> z;  // (N, D)
  ScratchArray<double> mean;
  ScratchArray<double> norm;      // |z|^2
  ScratchArray<float> low, high;  // norm (1 - bound) and norm (1 + bound)
  double scale = 1;
  double bound;
  double absolute;
};

template <class T>
void prepare(const Exec& exec, In<T> x, Rows& rows) {
  std::fill_n(rows.mean.data(), x.cols, 0.);
  for (std::int64_t i = 0; i < x.rows; ++i)
    for (std::int64_t k = 0; k < x.cols; ++k)
      rows.mean[k] += static_cast<double>(x(i, k)) / static_cast<double>(x.rows);
  double largest = 0;
  for (std::int64_t i = 0; i < x.rows; ++i)
    for (std::int64_t k = 0; k < x.cols; ++k)
      largest = std::max(largest, std::fabs(static_cast<double>(x(i, k)) - rows.mean[k]));
  // A power of two, so that scaling rounds nothing.
  if (largest > 0) rows.scale = std::ldexp(1., -std::clamp(std::ilogb(largest), -1000, 1000));

  parallel_for(exec, ceil_div(x.rows, k_tile), [&](std::int64_t tile, int) {
    for (std::int64_t i = tile * k_tile; i < std::min(x.rows, (tile + 1) * k_tile); ++i) {
      double sum = 0;
      for (std::int64_t k = 0; k < x.cols; ++k) {
        const double value = (static_cast<double>(x(i, k)) - rows.mean[k]) * rows.scale;
        rows.z[i * x.cols + k] = static_cast<float>(value);
        sum += value * value;
      }
      rows.norm[i] = sum;
      rows.low[i] = static_cast<float>(sum * (1 - rows.bound));
      rows.high[i] = static_cast<float>(sum * (1 + rows.bound));
    }
  });
}

// Memory of one thread.
struct Room {
  float* may;              // (K) what is not below surely is not nearer
  float* must;             // (K) what is below surely is nearer
  double* d2;              // (K)
  std::int32_t* at_most;   // (K)
  std::int32_t* at_least;  // (K)
  std::int32_t* open;      // (N)
};

template <Isa I, class T>
void rank_row(In<T> x, const Rows& rows, std::int64_t i, const float* product, const std::int32_t* index,
              std::int64_t k, const Room& room, std::int32_t* rank) {
  const double own = rows.norm[i];
  for (std::int64_t a = 0; a < k; ++a) {
    const double d2 = squared_distance<I, T>(x.row(i), x.row(index[a]), x.cols, rows.scale);
    const double slack = own * rows.bound + 4 * k_unit * (own + d2) + rows.absolute;
    room.d2[a] = d2;
    room.may[a] = static_cast<float>(d2 - own + slack);
    room.must[a] = static_cast<float>(d2 - own - slack);
  }
  count_below<I>(product, rows.low.data(), x.rows, room.may, k, room.at_most);
  count_below<I>(product, rows.high.data(), x.rows, room.must, k, room.at_least);
  for (std::int64_t a = 0; a < k; ++a) {
    // Row i itself is among those that may be nearer, and so is the neighbour.
    const bool self_sure = rows.high[i] - 2 * product[i] < room.must[a];
    const std::int32_t sure = room.at_least[a] - self_sure;
    rank[a] = sure + 1;
    if (room.at_most[a] - 1 == rank[a]) continue;
    const std::int64_t open = find_open<I>(product, rows.low.data(), rows.high.data(), x.rows, room.may[a],
                                           room.must[a], room.open);
    for (std::int64_t o = 0; o < open; ++o) {
      const std::int32_t l = room.open[o];
      if (l == i || l == index[a]) continue;
      const double d2 = squared_distance<I, T>(x.row(i), x.row(l), x.cols, rows.scale);
      rank[a] += d2 < room.d2[a] || (d2 == room.d2[a] && l < index[a]);
    }
  }
}

}  // namespace

template <class T>
void neighbor_ranks(const Exec& exec, In<T> x, MatView<const std::int32_t> index,
                    MatView<std::int32_t> rank) {
  FLATLAND_CHECK(index.rows == x.rows, "neighbor_ranks: x is ", x, " but index is ", index,
                 "; the row counts must match");
  FLATLAND_CHECK(rank.rows == index.rows && rank.cols == index.cols, "neighbor_ranks: index is ", index,
                 " but rank is ", rank);
  FLATLAND_CHECK(x.rows <= std::numeric_limits<std::int32_t>::max(), "neighbor_ranks: ", x.rows,
                 " items; positions are 32-bit");
  const std::int64_t n = x.rows, k = index.cols;
  if (n == 0 || k == 0) return;
  Rows rows(exec, n, x.cols);
  prepare<T>(exec, x, rows);
  const MatView<const float> z(rows.z.data(), n, x.cols);
  const ScratchArray<float> products(exec, checked_mul(std::min(k_tile, n), n));
  const ScratchArray<float> limits(exec, exec.threads() * 2 * k);
  const ScratchArray<double> squares(exec, exec.threads() * k);
  const ScratchArray<std::int32_t> counts(exec, exec.threads() * (2 * k + n));
  for (std::int64_t first = 0; first < n; first += k_tile) {
    const std::int64_t count = std::min(k_tile, n - first);
    const MatView<float> tile(products.data(), count, n);
    matmul<float>(exec, Transpose::b, {z.row(first), count, x.cols}, z, tile);
    with_isa([&](auto isa) {
      parallel_for(exec, count, [&](std::int64_t r, int thread) {
        float* limit = limits.data() + thread * 2 * k;
        std::int32_t* counted = counts.data() + thread * (2 * k + n);
        const Room room{.may = limit,
                        .must = limit + k,
                        .d2 = squares.data() + thread * k,
                        .at_most = counted,
                        .at_least = counted + k,
                        .open = counted + 2 * k};
        const std::int64_t i = first + r;
        rank_row<isa, T>(x, rows, i, tile.row(r), index.row(i), k, room, rank.row(i));
      });
    });
  }
}

template void neighbor_ranks<float>(const Exec&, In<float>, MatView<const std::int32_t>,
                                    MatView<std::int32_t>);
template void neighbor_ranks<double>(const Exec&, In<double>, MatView<const std::int32_t>,
                                     MatView<std::int32_t>);

}  // namespace flatland::kernels
