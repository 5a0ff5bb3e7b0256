// What renormalize_rows of gather.h multiplies a row by.
#pragma once

#include <flatland/kernels/primitives.h>

namespace flatland::kernels {

FLATLAND_HD double renorm_factor(double square_sum, double max_norm) {
  const double norm = kernels::sqrt(square_sum);
  return norm > max_norm ? max_norm / (norm + 1e-7) : 1.0;
}

}  // namespace flatland::kernels
