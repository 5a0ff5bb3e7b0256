// The mask of dropout.h.
#pragma once

#include <flatland/kernels/hd.h>

namespace flatland::kernels {

template <class T>
struct Dropout {
  T p, scale;

  explicit Dropout(double p) : p(static_cast<T>(p)), scale(static_cast<T>(1 / (1 - p))) {}
  FLATLAND_HD T mask(T uniform) const { return uniform < p ? T(0) : scale; }
};

}  // namespace flatland::kernels
