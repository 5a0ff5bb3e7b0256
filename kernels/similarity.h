// Similarities from embedding distances.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

namespace flatland::kernels {

// q = (1 + d^2 / alpha)^(-(alpha + 1) / 2), the Student-t kernel of t-SNE (van der Maaten and Hinton, 2008).
//   dist, q (n), alpha > 0   q may be dist
template <class T>
void student_t(const Exec& exec, double alpha, InSpan<T> dist, std::span<T> q);
// d_dist = g dq/dd; returns sum g dq/dalpha, or 0 without with_alpha, which saves a logarithm a value.
//   dist, q, g, d_dist (n)   d_dist may be g, or empty
template <class T>
double student_t_backward(const Exec& exec, double alpha, InSpan<T> dist, InSpan<T> q, InSpan<T> g,
                          std::span<T> d_dist, bool with_alpha = true);

// q = 1 / (1 + a d^(2b)), UMAP's output kernel. d = 0 gives 1 and derivative 0.
//   dist, q (n), a > 0, b > 0   q may be dist
template <class T>
void modified_cauchy(const Exec& exec, double a, double b, InSpan<T> dist, std::span<T> q);
// d_dist = g dq/dd; returns sum g dq/da and sum g dq/db.   dist, q, g, d_dist (n)   d_dist may be g, or empty
struct CauchyGradient {
  double da = 0;
  double db = 0;
};
template <class T>
CauchyGradient modified_cauchy_backward(const Exec& exec, double a, double b, InSpan<T> dist, InSpan<T> q,
                                        InSpan<T> g, std::span<T> d_dist);

// a and b by least squares against y = x < min_dist ? 1 : exp(-(x - min_dist) / spread) at 300 points evenly
// in [0, 3 spread] (umap-learn's find_ab_params). Levenberg-Marquardt from (1, 1) to the rounding floor.
struct CauchyShape {
  double a = 1;
  double b = 1;
};
CauchyShape fit_cauchy(double min_dist, double spread);

}  // namespace flatland::kernels
