// What the tiles of knn.cpp multiply: float32 rows, centred and scaled. Private.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/knn_simd.h>

#include <cstdint>
#include <span>

namespace flatland::kernels {

// z = fl(2^e (x - m)) as float32, for one shift m and scale 2^e that several sets of rows share, with |z| <
// 4, and the norms (1 - c) |z|^2.
//
// Bound. Let u = 2^-24, d2 the exact squared distance of two rows times 4^e. The roundings of z change a
// distance by at most u (|z_i| + |z_j|), so d2 by at most 4 u (|z_i|^2 + |z_j|^2) and higher terms. A product
// is one chain of D roundings: it is off by at most D u / (1 - D u) |z_i| |z_j|, twice of which is at most
// that factor times |z_i|^2 + |z_j|^2. Norms, their sum and the last fma add 4 u. So with c = 1.1 (D + 32) u
// the approximation is off by less than c (|z_i|^2 + |z_j|^2); what is flushed to zero adds less than
// `absolute`.
struct TileScale {
  std::span<const double> shift;
  double factor = 1;
  double bound = 0;  // c
  double absolute = 0;
  bool usable = false;  // false where values are not finite or D is too large for the bound
};

// The shift is the mean of up to 1,024 rows of `base`; factor from the largest difference in both. `shift`
// has room for the columns, those of unit rows included.
template <class T>
TileScale tile_scale(const Exec& exec, const KeyRows<T>& base, const KeyRows<T>& other,
                     std::span<double> shift);

// z (N, D or D + 1), norm (N + k_candidate_pad)
template <class T>
void tile_rows(const Exec& exec, const KeyRows<T>& rows, const TileScale& scale, MatView<float> z,
               float* norm);

// Columns of the tile's rows: one more for unit rows.
template <class T>
std::int64_t tile_columns(const KeyRows<T>& rows) {
  return rows.x.cols + (rows.units != nullptr ? 1 : 0);
}

}  // namespace flatland::kernels
