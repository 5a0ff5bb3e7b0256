#include <flatland/kernels/knn_tiles_simd.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_knn_rows = 64;

// Calls f(k, value) for the coordinates of row i, those of its unit row where that is asked for.
template <class T, class F>
void for_values(const KeyRows<T>& rows, std::int64_t i, F f) {
  const T* x = rows.x.row(i);
  const std::int64_t d = rows.x.cols;
  if (rows.units == nullptr) {
    for (std::int64_t k = 0; k < d; ++k) f(k, static_cast<double>(x[k]));
    return;
  }
  for (std::int64_t k = 0; k < d; ++k) f(k, rows.value(i, k));
  f(d, rows.units[i].zero());
}

// The mean of some rows; 0 for a coordinate that often is 0: products leave its zeros out.
template <class T>
void find_shift(const KeyRows<T>& rows, std::span<double> mean) {
  const std::int64_t n = std::min<std::int64_t>(rows.x.rows, 1024);
  const double share = 1 / static_cast<double>(n);  // before the sum, which might overflow
  std::fill(mean.begin(), mean.end(), 0.);
  std::vector<std::int64_t> zeros(mean.size());
  for (std::int64_t s = 0; s < n; ++s)
    for_values<T>(rows, s * rows.x.rows / n, [&](std::int64_t k, double v) {
      mean[static_cast<std::size_t>(k)] += v * share;
      zeros[static_cast<std::size_t>(k)] += v == 0;
    });
  for (std::size_t k = 0; k < mean.size(); ++k)
    if (4 * zeros[k] > n) mean[k] = 0;
}

// Infinity where a value is not finite.
template <class T>
double largest_difference(const Exec& exec, const KeyRows<T>& rows, std::span<const double> shift) {
  const std::int64_t blocks = ceil_div(rows.x.rows, k_knn_rows);
  const ScratchArray<double> largest(exec, blocks);
  parallel_for(exec, blocks, [&](std::int64_t block, int) {
    double most = 0;
    double sum = 0;  // turns NaN or infinite where a value is
    for (std::int64_t i = block * k_knn_rows; i < std::min((block + 1) * k_knn_rows, rows.x.rows); ++i)
      for_values<T>(rows, i, [&](std::int64_t k, double v) {
        const double d = std::abs(v - shift[static_cast<std::size_t>(k)]);
        most = d > most ? d : most;
        sum += d;
      });
    largest[block] = std::isfinite(sum) ? most : std::numeric_limits<double>::infinity();
  });
  const std::span<double> all = largest.span();
  return all.empty() ? 0 : *std::max_element(all.begin(), all.end());
}

}  // namespace

template <class T>
TileScale tile_scale(const Exec& exec, const KeyRows<T>& base, const KeyRows<T>& other,
                     std::span<double> shift) {
  find_shift<T>(base, shift);
  double largest = largest_difference<T>(exec, base, shift);
  if (other.x.data != base.x.data) largest = std::max(largest, largest_difference<T>(exec, other, shift));
  TileScale scale = tile_scale(largest, std::ssize(shift));
  scale.shift = shift;
  return scale;
}

template <class T>
void tile_rows(const Exec& exec, const KeyRows<T>& rows, const TileScale& scale, MatView<float> z,
               float* norm) {
  const std::int64_t n = rows.x.rows;
  std::fill(norm + n, norm + n + k_candidate_pad, std::numeric_limits<float>::quiet_NaN());
  for_tiles(exec, n, k_knn_rows, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t i = first; i < first + count; ++i) {
      float* out = z.row(i);
      for_values<T>(rows, i, [&](std::int64_t k, double v) {
        out[k] = static_cast<float>((v - scale.shift[static_cast<std::size_t>(k)]) * scale.factor);
      });
      double sum[4] = {};
      for (std::int64_t k = 0; k < z.cols; ++k)
        sum[k % 4] += static_cast<double>(out[k]) * static_cast<double>(out[k]);
      norm[i] = static_cast<float>((1 - scale.bound) * ((sum[0] + sum[1]) + (sum[2] + sum[3])));
    }
  });
}

#define FLATLAND_INSTANTIATE(T)                                                                           \
  template TileScale tile_scale<T>(const Exec&, const KeyRows<T>&, const KeyRows<T>&, std::span<double>); \
  template void tile_rows<T>(const Exec&, const KeyRows<T>&, const TileScale&, MatView<float>, float*);
FLATLAND_INSTANTIATE(float)
FLATLAND_INSTANTIATE(double)
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
