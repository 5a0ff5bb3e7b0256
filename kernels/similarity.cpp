#include <flatland/kernels/parallel.h>
#include <flatland/kernels/similarity_cuda.h>
#include <flatland/kernels/similarity_simd.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <cmath>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_similarity_tile = 4096;

template <class T>
void check_positive(const Exec& exec, const char* who, const char* what, const Parameter<T>& x) {
  if (exec.device() != Device::cpu && !x.given()) return;
  FLATLAND_CHECK(x.get() > 0 && std::isfinite(x.get()), who, ": ", what, " is ", x.get(),
                 "; it must be positive and finite");
}
void check_forward(const char* who, std::size_t dist, std::size_t q) {
  FLATLAND_CHECK(dist == q, who, ": dist holds ", dist, " values but q ", q);
}
void check_backward(const char* who, std::size_t dist, std::size_t q, std::size_t g, std::size_t d_dist) {
  FLATLAND_CHECK(dist == q && dist == g && (d_dist == 0 || d_dist == dist), who, ": dist holds ", dist,
                 " values but q ", q, ", g ", g, " and d_dist ", d_dist);
}

}  // namespace

template <class T>
void student_t(const Exec& exec, ParameterOf<T> alpha, InSpan<T> dist, std::span<T> q) {
  check_positive(exec, "student_t", "alpha", alpha);
  check_forward("student_t", dist.size(), q.size());
  FLATLAND_ON_CUDA(exec) return cuda::student_t<T>(exec, alpha, dist, q);
  with_isa([&](auto isa) {
    for_tiles(exec, std::ssize(dist), k_similarity_tile, [&](std::int64_t first, std::int64_t n) {
      student_t_range<isa, T>(alpha.get(), dist.data() + first, q.data() + first, n);
    });
  });
}

template <class T>
void student_t_backward(const Exec& exec, ParameterOf<T> alpha, InSpan<T> dist, InSpan<T> q, InSpan<T> g,
                        OutSpan<T> d_dist, T* d_alpha) {
  check_positive(exec, "student_t_backward", "alpha", alpha);
  check_backward("student_t_backward", dist.size(), q.size(), g.size(), d_dist.size());
  FLATLAND_ON_CUDA(exec)
  return cuda::student_t_backward<T>(exec, alpha, dist, q, g, d_dist, d_alpha);
  const std::int64_t tiles = ceil_div(std::ssize(dist), k_similarity_tile);
  const ScratchArray<double> part(exec, tiles);
  with_isa([&](auto isa) {
    for_tiles(exec, std::ssize(dist), k_similarity_tile, [&](std::int64_t first, std::int64_t n) {
      const std::int64_t tile = first / k_similarity_tile;
      T* out = d_dist.empty() ? nullptr : d_dist.data() + first;
      part[tile] = student_t_backward_range<isa, T>(alpha.get(), d_alpha != nullptr, dist.data() + first,
                                                    q.data() + first, g.data() + first, out, n);
    });
  });
  if (d_alpha == nullptr) return;
  double sum = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) sum += part[tile];
  *d_alpha = static_cast<T>(sum);
}

template <class T>
void modified_cauchy(const Exec& exec, ParameterOf<T> a, ParameterOf<T> b, InSpan<T> dist, std::span<T> q) {
  check_positive(exec, "modified_cauchy", "a", a);
  check_positive(exec, "modified_cauchy", "b", b);
  check_forward("modified_cauchy", dist.size(), q.size());
  FLATLAND_ON_CUDA(exec) return cuda::modified_cauchy<T>(exec, a, b, dist, q);
  with_isa([&](auto isa) {
    for_tiles(exec, std::ssize(dist), k_similarity_tile, [&](std::int64_t first, std::int64_t n) {
      modified_cauchy_range<isa, T>(a.get(), b.get(), dist.data() + first, q.data() + first, n);
    });
  });
}

template <class T>
void modified_cauchy_backward(const Exec& exec, ParameterOf<T> a, ParameterOf<T> b, InSpan<T> dist,
                              InSpan<T> q, InSpan<T> g, OutSpan<T> d_dist, T* da, T* db) {
  check_positive(exec, "modified_cauchy_backward", "a", a);
  check_positive(exec, "modified_cauchy_backward", "b", b);
  check_backward("modified_cauchy_backward", dist.size(), q.size(), g.size(), d_dist.size());
  FLATLAND_ON_CUDA(exec)
  return cuda::modified_cauchy_backward<T>(exec, a, b, dist, q, g, d_dist, da, db);
  const std::int64_t tiles = ceil_div(std::ssize(dist), k_similarity_tile);
  const ScratchArray<CauchyGradient<double>> part(exec, tiles);
  with_isa([&](auto isa) {
    for_tiles(exec, std::ssize(dist), k_similarity_tile, [&](std::int64_t first, std::int64_t n) {
      const std::int64_t tile = first / k_similarity_tile;
      T* out = d_dist.empty() ? nullptr : d_dist.data() + first;
      part[tile] = modified_cauchy_backward_range<isa, T>(a.get(), b.get(), dist.data() + first,
                                                          q.data() + first, g.data() + first, out, n);
    });
  });
  CauchyGradient<double> sum;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    sum.da += part[tile].da;
    sum.db += part[tile].db;
  }
  if (da != nullptr) *da = static_cast<T>(sum.da);
  if (db != nullptr) *db = static_cast<T>(sum.db);
}

namespace {

// The sum of squares of the fit and its normal equations J^T J step = -J^T r, J over (a, b).
struct NormalEquations {
  double aa = 0, ab = 0, bb = 0, ra = 0, rb = 0, squares = 0;
};

NormalEquations cauchy_equations(double min_dist, double spread, CauchyShape shape) {
  constexpr int k_points = 300;
  NormalEquations e;
  for (int i = 0; i < k_points; ++i) {
    const double x = 3 * spread * i / (k_points - 1);
    const double y = x < min_dist ? 1 : std::exp(-(x - min_dist) / spread);
    const double power = x > 0 ? std::pow(x, 2 * shape.b) : 0;
    const double f = 1 / (1 + shape.a * power);
    const double r = f - y;
    const double ja = -f * f * power;
    const double jb = x > 0 ? 2 * shape.a * ja * std::log(x) : 0;
    e.aa += ja * ja;
    e.ab += ja * jb;
    e.bb += jb * jb;
    e.ra += ja * r;
    e.rb += jb * r;
    e.squares += r * r;
  }
  return e;
}

}  // namespace

CauchyShape fit_cauchy(double min_dist, double spread) {
  FLATLAND_CHECK(spread > 0 && std::isfinite(spread) && min_dist >= 0 && std::isfinite(min_dist),
                 "fit_cauchy: min_dist is ", min_dist, " and spread ", spread,
                 "; want min_dist >= 0 and spread > 0, both finite");
  constexpr int k_most_steps = 500;
  CauchyShape shape;
  double damping = 1e-3;
  NormalEquations e = cauchy_equations(min_dist, spread, shape);
  for (int step = 0; step < k_most_steps && damping < 1e12; ++step) {
    const double aa = e.aa * (1 + damping);
    const double bb = e.bb * (1 + damping);
    const double det = aa * bb - e.ab * e.ab;
    if (!(det > 0)) break;
    const CauchyShape next{shape.a - (e.ra * bb - e.rb * e.ab) / det,
                           shape.b - (e.rb * aa - e.ra * e.ab) / det};
    if (!(next.a > 0 && next.b > 0)) {
      damping *= 10;
      continue;
    }
    const NormalEquations there = cauchy_equations(min_dist, spread, next);
    if (!(there.squares <= e.squares)) {
      damping *= 10;
      continue;
    }
    const bool settled =
        std::abs(next.a - shape.a) <= 1e-15 * shape.a && std::abs(next.b - shape.b) <= 1e-15 * shape.b;
    shape = next;
    e = there;
    if (settled) break;
    damping /= 10;
  }
  return shape;
}

#define FLATLAND_INSTANTIATE(T)                                                                           \
  template void student_t<T>(const Exec&, ParameterOf<T>, InSpan<T>, std::span<T>);                       \
  template void student_t_backward<T>(const Exec&, ParameterOf<T>, InSpan<T>, InSpan<T>, InSpan<T>,       \
                                      OutSpan<T>, T*);                                                    \
  template void modified_cauchy<T>(const Exec&, ParameterOf<T>, ParameterOf<T>, InSpan<T>, std::span<T>); \
  template void modified_cauchy_backward<T>(const Exec&, ParameterOf<T>, ParameterOf<T>, InSpan<T>,       \
                                            InSpan<T>, InSpan<T>, OutSpan<T>, T*, T*)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
