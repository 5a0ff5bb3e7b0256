#include <flatland/dr/rank_counts.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace flatland::detail {
namespace {

constexpr std::int64_t k_tile = 256;  // rows of one matrix product
constexpr double k_unit = 0x1p-24;    // rounding of float32

// Rows of x, centred and scaled so that products stay far from overflow and underflow.
struct Rows {
  std::int64_t n = 0, d = 0;
  std::vector<double> x;     // as given
  std::vector<float> z;      // (x - mean) * scale
  std::vector<double> norm;  // |z|^2
  // |z|^2 by which a product's distance is surely not too small, and surely not too large.
  std::vector<float> norm_low, norm_high;
  double scale = 1;
  double bound = 0;  // relative to |z_i|^2 + |z_l|^2
  double absolute = 0;

  // In the scale of z.
  double exact(std::int64_t i, std::int64_t l) const {
    const double* a = x.data() + i * d;
    const double* b = x.data() + l * d;
    double sum = 0;
    for (std::int64_t c = 0; c < d; ++c) sum += (a[c] - b[c]) * scale * ((a[c] - b[c]) * scale);
    return sum;
  }
};

Rows prepared(const Tensor& tensor) {
  Rows rows{.n = tensor.size(0),
            .d = tensor.size(1),
            .x = tensor.to_vector<double>(),
            .z = {},
            .norm = {},
            .norm_low = {},
            .norm_high = {}};
  const auto n = static_cast<std::size_t>(rows.n), d = static_cast<std::size_t>(rows.d);
  std::vector<double> mean(d);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t c = 0; c < d; ++c) mean[c] += rows.x[i * d + c] / static_cast<double>(n);
  }
  double largest = 0;
  for (std::size_t i = 0; i < n * d; ++i) largest = std::max(largest, std::fabs(rows.x[i] - mean[i % d]));
  // A power of two, so that scaling rounds nothing.
  if (largest > 0) rows.scale = std::ldexp(1.0, -std::clamp(std::ilogb(largest), -1000, 1000));

  rows.z.resize(n * d);
  rows.norm.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t c = 0; c < d; ++c) {
      const double value = (rows.x[i * d + c] - mean[c]) * rows.scale;
      rows.z[i * d + c] = static_cast<float>(value);
      rows.norm[i] += value * value;
    }
  }
  // Rounding of z, the product's chain of D terms, the norms and their sum: (D + 16) u (|z_i| + |z_l|)^2
  // covers all twice, and the square is at most 2 (|z_i|^2 + |z_l|^2).
  rows.bound = 2 * static_cast<double>(rows.d + 16) * k_unit;
  rows.absolute = static_cast<double>(rows.d + 16) * 1e-37;
  for (const double norm : rows.norm) {
    rows.norm_low.push_back(static_cast<float>(norm * (1 - rows.bound)));
    rows.norm_high.push_back(static_cast<float>(norm * (1 + rows.bound)));
  }
  return rows;
}

std::int64_t count_below(const float* values, std::int64_t n, float limit) {
  std::int32_t count = 0;
  for (std::int64_t l = 0; l < n; ++l) count += values[l] < limit;
  return count;
}

// The sum over one row's neighbours of what their ranks exceed k by.
class RowCounter {
 public:
  RowCounter(const Rows& rows, std::int64_t k)
      : rows_(rows), k_(k), low_(rows.norm.size()), high_(rows.norm.size()) {}

  // `products` are z_i . z_l for all l.
  std::int64_t excess(std::int64_t i, const float* products, std::span<const std::int32_t> neighbors) {
    const std::int64_t n = rows_.n;
    for (std::int64_t l = 0; l < n; ++l)
      low_[static_cast<std::size_t>(l)] = rows_.norm_low[static_cast<std::size_t>(l)] - 2 * products[l];
    low_[static_cast<std::size_t>(i)] =
        std::numeric_limits<float>::infinity();  // no point is its own neighbour
    have_high_ = false;
    std::int64_t sum = 0;
    for (const std::int32_t j : neighbors) sum += std::max<std::int64_t>(0, rank(i, j, products) - k_);
    return sum;
  }

 private:
  // At most k where that is all that matters.
  std::int64_t rank(std::int64_t i, std::int64_t j, const float* products) {
    const double own = rows_.norm[static_cast<std::size_t>(i)];
    const double d2 = rows_.exact(i, j);
    const double slack = own * rows_.bound + 4 * k_unit * (own + d2) + rows_.absolute;
    const float may = static_cast<float>(d2 - own + slack), must = static_cast<float>(d2 - own - slack);
    const std::int64_t at_most = count_below(low_.data(), rows_.n, may);  // with j itself
    if (at_most <= k_) return at_most;
    if (!have_high_) {
      for (std::int64_t l = 0; l < rows_.n; ++l)
        high_[static_cast<std::size_t>(l)] = rows_.norm_high[static_cast<std::size_t>(l)] - 2 * products[l];
      high_[static_cast<std::size_t>(i)] = std::numeric_limits<float>::infinity();
      have_high_ = true;
    }
    const std::int64_t sure = count_below(high_.data(), rows_.n, must);
    if (sure + 1 == at_most) return at_most;
    std::int64_t result = sure + 1;
    for (std::int64_t l = 0; l < rows_.n; ++l) {
      if (!(low_[static_cast<std::size_t>(l)] < may) || high_[static_cast<std::size_t>(l)] < must || l == j)
        continue;
      const double other = rows_.exact(i, l);
      result += other < d2 || (other == d2 && l < j);
    }
    return result;
  }

  const Rows& rows_;
  std::int64_t k_;
  std::vector<float> low_, high_;
  bool have_high_ = false;
};

}  // namespace

std::int64_t rank_excess(const Tensor& x, std::span<const std::int32_t> index, std::int64_t k) {
  const kernels::Exec& exec = current_exec();
  const Rows rows = prepared(x);
  const kernels::MatView<const float> z(rows.z.data(), rows.n, rows.d);
  std::vector<RowCounter> counters(static_cast<std::size_t>(exec.threads()), RowCounter(rows, k));
  std::vector<std::int64_t> excess(static_cast<std::size_t>(rows.n));
  std::vector<float> products(static_cast<std::size_t>(std::min(k_tile, rows.n) * rows.n));
  for (std::int64_t first = 0; first < rows.n; first += k_tile) {
    const std::int64_t count = std::min(k_tile, rows.n - first);
    const kernels::MatView<float> tile(products.data(), count, rows.n);
    kernels::matmul<float>(exec, kernels::Transpose::b, {z.row(first), count, rows.d}, z, tile);
    kernels::parallel_for(exec, count, [&](std::int64_t r, int thread) {
      const std::int64_t i = first + r;
      const auto neighbors = index.subspan(static_cast<std::size_t>(i * k), static_cast<std::size_t>(k));
      excess[static_cast<std::size_t>(i)] =
          counters[static_cast<std::size_t>(thread)].excess(i, tile.row(r), neighbors);
    });
  }
  return std::accumulate(excess.begin(), excess.end(), std::int64_t{0});
}

}  // namespace flatland::detail
