// Similarities from embedding distances.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/parameter.h>
#include <flatland/kernels/view.h>

namespace flatland::kernels {

// alpha, a and b are numbers, or stand in memory of exec's device. There a GPU does not check them: where
// they are out of range, results are not numbers.

// q = (1 + d^2 / alpha)^(-(alpha + 1) / 2), the Student-t kernel of t-SNE (van der Maaten and Hinton, 2008).
//   dist, q (n), alpha > 0   q may be dist
template <class T>
void student_t(const Exec& exec, ParameterOf<T> alpha, InSpan<T> dist, std::span<T> q);
// d_dist = g dq/dd and *d_alpha = sum g dq/dalpha, summed in double, in memory of exec's device.
//   dist, q, g, d_dist (n)   d_dist may be g, or empty; a null d_alpha saves a logarithm a value
template <class T>
void student_t_backward(const Exec& exec, ParameterOf<T> alpha, InSpan<T> dist, InSpan<T> q, InSpan<T> g,
                        OutSpan<T> d_dist, T* d_alpha);
// Returns the latter.
template <class T>
T student_t_backward(const Exec& exec, ParameterOf<T> alpha, InSpan<T> dist, InSpan<T> q, InSpan<T> g,
                     OutSpan<T> d_dist) {
  return on_host<T>(exec,
                    [&](T* d_alpha) { student_t_backward<T>(exec, alpha, dist, q, g, d_dist, d_alpha); });
}

// q = 1 / (1 + a d^(2b)), UMAP's output kernel. d = 0 gives 1 and derivative 0.
//   dist, q (n), a > 0, b > 0   q may be dist
template <class T>
void modified_cauchy(const Exec& exec, ParameterOf<T> a, ParameterOf<T> b, InSpan<T> dist, std::span<T> q);
// d_dist = g dq/dd, *da = sum g dq/da and *db = sum g dq/db, summed in double, in memory of exec's device.
//   dist, q, g, d_dist (n)   d_dist may be g, or empty; da and db may be null
template <class T>
void modified_cauchy_backward(const Exec& exec, ParameterOf<T> a, ParameterOf<T> b, InSpan<T> dist,
                              InSpan<T> q, InSpan<T> g, OutSpan<T> d_dist, T* da, T* db);
// Returns the latter two.
template <class T>
struct CauchyGradient {
  T da = 0;
  T db = 0;
};
template <class T>
CauchyGradient<T> modified_cauchy_backward(const Exec& exec, ParameterOf<T> a, ParameterOf<T> b,
                                           InSpan<T> dist, InSpan<T> q, InSpan<T> g, OutSpan<T> d_dist) {
  return on_host<CauchyGradient<T>>(exec, [&](CauchyGradient<T>* d) {
    modified_cauchy_backward<T>(exec, a, b, dist, q, g, d_dist, &d->da, &d->db);
  });
}

// a and b by least squares against y = x < min_dist ? 1 : exp(-(x - min_dist) / spread) at 300 points evenly
// in [0, 3 spread] (umap-learn's find_ab_params). Levenberg-Marquardt from (1, 1) to the rounding floor.
struct CauchyShape {
  double a = 1;
  double b = 1;
};
CauchyShape fit_cauchy(double min_dist, double spread);

}  // namespace flatland::kernels
