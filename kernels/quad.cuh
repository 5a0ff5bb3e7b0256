// Four neighbouring values, moved at once where they lie on a 16-byte boundary (private).
#pragma once

#include <cstdint>

namespace flatland::kernels::cuda {

template <class T>
struct alignas(16) Quad {
  T v[4];
};

// Do all rows of a matrix with this leading dimension begin on a boundary?
template <class T>
bool rows_aligned(const T* data, std::int64_t ld) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 &&
         ld * static_cast<std::int64_t>(sizeof(T)) % 16 == 0;
}

// The first n of the values p[0], ..., p[3]; zeros for the rest. `aligned`: p lies on a boundary.
template <class T>
__device__ Quad<T> load_quad(const T* p, std::int64_t n, bool aligned) {
  if (aligned && n >= 4) return *reinterpret_cast<const Quad<T>*>(p);
  Quad<T> quad;
  for (int i = 0; i < 4; ++i) quad.v[i] = i < n ? p[i] : T(0);
  return quad;
}
template <class T>
__device__ void store_quad(T* p, const Quad<T>& quad, std::int64_t n, bool aligned) {
  if (aligned && n >= 4) {
    *reinterpret_cast<Quad<T>*>(p) = quad;
    return;
  }
  for (int i = 0; i < 4; ++i)
    if (i < n) p[i] = quad.v[i];
}

}  // namespace flatland::kernels::cuda
