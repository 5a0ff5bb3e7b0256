// What the tiles of knn.cpp multiply: float32 rows, centred and scaled. Private.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/knn_simd.h>

#include <cstdint>
#include <span>

namespace flatland::kernels {

// The shift is the mean of up to 1,024 rows of `base`, 0 for columns that often are 0; factor from the
// largest difference in both. `shift` has room for the columns, those of unit rows included.
template <class T>
TileScale tile_scale(const Exec& exec, const KeyRows<T>& base, const KeyRows<T>& other,
                     std::span<double> shift);

// z (N, D or D + 1), norm (N + k_candidate_pad)
template <class T>
void tile_rows(const Exec& exec, const KeyRows<T>& rows, const TileScale& scale, MatView<float> z,
               float* norm);

}  // namespace flatland::kernels
