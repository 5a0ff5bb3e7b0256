// Serial building blocks of pairwise.cpp, one instantiation a level.
#pragma once

#include <flatland/kernels/distance_form.h>
#include <flatland/kernels/simd.h>
#include <flatland/kernels/view.h>

#include <cstdint>

namespace flatland::kernels {

// Rows are packed into panels of panel_rows rows, coordinate by coordinate, (D, panel_rows), so that a vector
// holds one coordinate of neighbouring rows. Rows past the end are zeros.
template <class T, Isa I>
inline constexpr int panel_rows = 2 * lanes<T, I>;

template <Isa I, class T>
void pack_panel(In<T> y, std::int64_t first_row, T* panel);

// out[r, c] = distance of x[r,:] and row c of the panel.   out (x.rows, panel_rows), contiguous
template <Isa I, class T>
void panel_distances(const DistanceForm& form, In<T> x, const T* panel, T* out);

// dist[i] = distance of a[i,:] and b[i,:]
template <Isa I, class T>
void paired_distances(const DistanceForm& form, In<T> a, In<T> b, T* dist);

// What the gradient of a distance needs beside the coordinates' differences: overwrites g by the factor of
// each pair (0 where the distance is 0) and returns sum_j g[j] dist[j] in case of unit rows, else 0.
template <Isa I, class T>
T gradient_weights(const DistanceForm& form, std::int64_t n, const T* dist, T* g);

// dx[r,:] = sum_j weights[r, j] (derivative of the form's term at x[r,:] - y[j,:]), j ascending within each
// lane.
//   x (R, D)   y (M, D)   weights, dist (R, ld)   dx (R, D)   panels: y packed; used where D is small
template <Isa I, class T>
void accumulate_gradient(const DistanceForm& form, In<T> x, In<T> y, const T* panels,
                         MatView<const T> weights, const T* dist, MatView<T> dx);

// Whether accumulate_gradient reads `panels` for D columns: vectors over rows then, over columns otherwise.
template <Isa I, class T>
constexpr bool gradient_uses_panels(Term term, std::int64_t d) {
  return (term == Term::squares || term == Term::absolutes) && d < 2 * lanes<T, I>;
}

// The gradient of the condensed distances among the rows of x (N, D), D = 2 or 3, each pair once: adds the
// part of the pairs (i, j), first <= i < last, i < j, to sums (D, N). columns (D, N): x by columns. For
// squares without unit rows.
template <Isa I, class T>
void add_condensed_gradient(const DistanceForm& form, std::int64_t n, std::int64_t d, const T* columns,
                            const T* dist, const T* g, std::int64_t first, std::int64_t last, T* sums);

// da[i,:] = weights[i] (derivative at a[i,:] - b[i,:])
template <Isa I, class T>
void paired_gradient(const DistanceForm& form, In<T> a, In<T> b, const T* weights, const T* dist,
                     MatView<T> da);

}  // namespace flatland::kernels
