#include <doctest/doctest.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/pairwise.h>

#include "tests/support/distance_reference.h"
#include "tests/support/golden.h"

using namespace flatland;
using namespace flatland::kernels;
using namespace flatland::test;

namespace {

const std::vector<Metric> k_metrics = {metric::euclidean,    metric::sqeuclidean,   metric::manhattan,
                                       metric::chebyshev,    metric::cosine,        metric::correlation,
                                       metric::minkowski(3), metric::minkowski(1.5)};

// Rounding errors of a sum of D terms, and of the unit rows, which have length 1 whatever the data.
double growth(std::int64_t d) {
  return 8 + static_cast<double>(d);
}

template <class T>
std::vector<double> reference_cross(Metric metric, const GuardedMatrix<T>& x, const GuardedMatrix<T>& y) {
  std::vector<double> result;
  for (std::int64_t i = 0; i < x.rows(); ++i)
    for (std::int64_t j = 0; j < y.rows(); ++j)
      result.push_back(reference_distance(metric, x.row(i), y.row(j)));
  return result;
}

template <class T>
std::vector<T> upper_triangle(const GuardedMatrix<T>& square) {
  std::vector<T> result;
  for (std::int64_t i = 0; i < square.rows(); ++i)
    for (std::int64_t j = i + 1; j < square.rows(); ++j) result.push_back(square(i, j));
  return result;
}

struct Sizes {
  std::int64_t n, m, d;
};
const std::vector<Sizes> k_sizes = {{0, 0, 3},   {1, 1, 1},   {2, 3, 2},    {5, 4, 0},  {7, 33, 3},
                                    {32, 32, 2}, {33, 16, 5}, {31, 65, 16}, {4, 9, 31}, {67, 40, 37}};

template <class T>
void check_forward(const Exec& exec, Metric metric, Sizes s) {
  CAPTURE(name(metric.kind));
  CAPTURE(s.n);
  CAPTURE(s.m);
  CAPTURE(s.d);
  const auto x = random_matrix<T>(s.n, s.d, 1), y = random_matrix<T>(s.m, s.d, 2);
  GuardedMatrix<T> cross(s.n, s.m), self(s.n, s.n);
  cross_distances<T>(exec, metric, x.in(), y.in(), cross.view());
  const double scale = metric.kind == MetricKind::cosine || metric.kind == MetricKind::correlation ? 1 : 0;
  check_close<T>(cross.values(), reference_cross(metric, x, y), growth(s.d), scale);
  CHECK(cross.intact());

  cross_distances<T>(exec, metric, x.in(), x.in(), self.view());
  std::vector<T> condensed(static_cast<std::size_t>(condensed_size(s.n)) + 1, T(-7));
  condensed_distances<T>(exec, metric, x.in(), std::span(condensed).first(condensed.size() - 1));
  CHECK(condensed.back() == T(-7));
  condensed.pop_back();
  CHECK(condensed == upper_triangle(self));
  for (std::int64_t i = 0; i < s.n; ++i) CHECK(self(i, i) == 0);

  const std::int64_t pairs = std::min(s.n, s.m);
  std::vector<T> dist(static_cast<std::size_t>(pairs));
  pair_distances<T>(exec, metric, {x.in().data, pairs, s.d, x.in().ld}, {y.in().data, pairs, s.d, y.in().ld},
                    dist);
  for (std::int64_t i = 0; i < pairs; ++i) CHECK(dist[static_cast<std::size_t>(i)] == cross(i, i));
}

// sum_ij g[i,j] metric(x[i], y[j]), differentiated by central differences.
double central_difference(Metric metric, GuardedMatrix<double> x, const GuardedMatrix<double>& y,
                          const std::vector<double>& g_row, std::int64_t i, std::int64_t k) {
  const double h = 1e-5, at = x(i, k);
  double sum = 0;
  for (const double sign : {1., -1.}) {
    x(i, k) = at + sign * h;
    for (std::int64_t j = 0; j < y.rows(); ++j)
      sum += sign * g_row[static_cast<std::size_t>(j)] * reference_distance(metric, x.row(i), y.row(j));
  }
  return sum / (2 * h);
}

void check_gradients_by_differences(const Exec& exec, Metric metric, Sizes s) {
  CAPTURE(name(metric.kind));
  CAPTURE(s.d);
  auto x = random_matrix<double>(s.n, s.d, 3), y = random_matrix<double>(s.m, s.d, 4);
  const auto g = random_matrix<double>(s.n, s.m, 5);
  // On grids half a step apart: no difference comes near the kink at 0.
  for (std::int64_t k = 0; k < s.d; ++k) {
    for (std::int64_t i = 0; i < s.n; ++i)
      x(i, k) = std::round(x(i, k) * 10) / 10 + 1e-3 * static_cast<double>(k);
    for (std::int64_t j = 0; j < s.m; ++j) y(j, k) = std::round(y(j, k) * 10) / 10 + 0.05;
  }
  GuardedMatrix<double> dist(s.n, s.m), dx(s.n, s.d), dy(s.m, s.d);
  cross_distances<double>(exec, metric, x.in(), y.in(), dist.view());
  cross_distances_backward<double>(exec, metric, x.in(), y.in(), dist.in(), g.in(), dx.view(), dy.view());
  CHECK((dx.intact() && dy.intact()));
  std::vector<double> want_dx, want_dy;
  for (std::int64_t i = 0; i < s.n; ++i)
    for (std::int64_t k = 0; k < s.d; ++k)
      want_dx.push_back(central_difference(metric, x, y, g.row(i), i, k));
  for (std::int64_t j = 0; j < s.m; ++j) {
    std::vector<double> column;
    for (std::int64_t i = 0; i < s.n; ++i) column.push_back(g(i, j));
    for (std::int64_t k = 0; k < s.d; ++k) want_dy.push_back(central_difference(metric, y, x, column, j, k));
  }
  // Central differences with h = 1e-5: h^2 times third derivatives up to 1e3.
  check_close<double>(dx.values(), want_dx, 5e8, 1);
  check_close<double>(dy.values(), want_dy, 5e8, 1);
}

// Condensed and pair gradients against those of cross_distances.
template <class T>
void check_gradients_agree(const Exec& exec, Metric metric, Sizes s) {
  CAPTURE(name(metric.kind));
  CAPTURE(s.d);
  const std::int64_t n = s.n;
  const auto x = random_matrix<T>(n, s.d, 6), y = random_matrix<T>(n, s.d, 7);
  std::vector<T> g(static_cast<std::size_t>(condensed_size(n)));
  std::mt19937 random(8);
  for (T& v : g) v = static_cast<T>(uniform(random) - 0.5);
  std::vector<T> dist(g.size());
  condensed_distances<T>(exec, metric, x.in(), dist);
  GuardedMatrix<T> square(n, n), square_g(n, n), dx(n, s.d), want(n, s.d);
  condensed_to_square<T>(exec, dist, square.view());
  condensed_to_square<T>(exec, g, square_g.view());
  condensed_distances_backward<T>(exec, metric, x.in(), dist, g, dx.view());
  cross_distances_backward<T>(exec, metric, x.in(), x.in(), square.in(), square_g.in(), want.view(), {});
  // The condensed form may sum in another order: rounding errors of n terms.
  const std::vector<T> want_values = want.values();
  check_close<T>(dx.values(), std::vector<double>(want_values.begin(), want_values.end()), growth(n), 1);
  CHECK((dx.intact() && square.intact()));

  std::vector<T> pair_g(static_cast<std::size_t>(n)), pair_dist(pair_g.size());
  for (T& v : pair_g) v = static_cast<T>(uniform(random) - 0.5);
  pair_distances<T>(exec, metric, x.in(), y.in(), pair_dist);
  GuardedMatrix<T> da(n, s.d), db(n, s.d);
  pair_distances_backward<T>(exec, metric, x.in(), y.in(), pair_dist, pair_g, da.view(), db.view());
  std::vector<T> got = da.values();
  std::vector<double> expected;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    GuardedMatrix<T> one(1, s.d);
    const In<T> xi(x.in().row(i), 1, s.d), yi(y.in().row(i), 1, s.d);
    cross_distances_backward<T>(exec, metric, xi, yi, In<T>(&pair_dist[at], 1, 1), In<T>(&pair_g[at], 1, 1),
                                one.view(), {});
    for (std::int64_t k = 0; k < s.d; ++k) expected.push_back(static_cast<double>(one(0, k)));
  }
  check_close<T>(got, expected, 4, 1);
  GuardedMatrix<T> only_b(n, s.d);
  pair_distances_backward<T>(exec, metric, x.in(), y.in(), pair_dist, pair_g, {}, only_b.view());
  CHECK(only_b.values() == db.values());
}

}  // namespace

TEST_CASE("distances of all metrics equal the double loop, in all three forms") {
  const Exec exec(Device::cpu, 2);
  for (const Metric metric : k_metrics)
    for (const Sizes s : k_sizes) {
      check_forward<float>(exec, metric, s);
      check_forward<double>(exec, metric, s);
    }
}

TEST_CASE("gradients equal central differences, in all three forms") {
  const Exec exec(Device::cpu, 2);
  for (const Metric metric : k_metrics)
    for (const Sizes s : {Sizes{3, 4, 2}, Sizes{18, 37, 3}, Sizes{5, 7, 16}, Sizes{6, 3, 41}}) {
      if (metric.kind == MetricKind::correlation && s.d == 2) continue;  // always 0 or 2: no gradient
      check_gradients_by_differences(exec, metric, s);
    }
}

TEST_CASE("gradients of the condensed form and of pairs equal those of all against all") {
  const Exec exec(Device::cpu, 2);
  for (const Metric metric : k_metrics)
    for (const Sizes s : k_sizes) {
      check_gradients_agree<float>(exec, metric, s);
      check_gradients_agree<double>(exec, metric, s);
    }
}

TEST_CASE("equal rows are at distance 0, with gradient 0") {
  const Exec exec(Device::cpu, 1);
  for (const Metric metric : k_metrics)
    for (const std::int64_t d : {2, 50}) {
      CAPTURE(name(metric.kind));
      const auto row = random_matrix<float>(1, d, 9, 1, 1000);
      GuardedMatrix<float> x(3, d), dx(3, d);
      for (std::int64_t i = 0; i < 3; ++i)
        for (std::int64_t k = 0; k < d; ++k) x(i, k) = row(0, k);
      std::vector<float> dist(3);
      condensed_distances<float>(exec, metric, x.in(), dist);
      CHECK(dist == std::vector<float>{0, 0, 0});
      condensed_distances_backward<float>(exec, metric, x.in(), dist, std::vector<float>{1, -2, 3},
                                          dx.view());
      for (const float v : dx.values()) CHECK(v == 0);
    }
}

TEST_CASE("cosine and correlation: rows of zeros and constant rows") {
  const Exec exec(Device::cpu, 1);
  GuardedMatrix<float> x(4, 3), dx(4, 3);
  const float rows[4][3] = {{0, 0, 0}, {0, 0, 0}, {1, 2, 4}, {0.1f, 0.1f, 0.1f}};
  for (std::int64_t i = 0; i < 4; ++i)
    for (std::int64_t k = 0; k < 3; ++k) x(i, k) = rows[i][k];
  std::vector<float> dist(6);
  condensed_distances<float>(exec, metric::cosine, x.in(), dist);
  CHECK((dist[0] == 0 && dist[1] == 1 && dist[2] == 1 && dist[3] == 1 && dist[4] == 1));
  condensed_distances_backward<float>(exec, metric::cosine, x.in(), dist, std::vector<float>(6, 1.f),
                                      dx.view());
  for (std::int64_t k = 0; k < 3; ++k) CHECK((dx(0, k) == 0 && dx(1, k) == 0 && std::isfinite(dx(2, k))));
  condensed_distances<float>(exec, metric::correlation, x.in(), dist);
  CHECK((dist[0] == 0 && dist[1] == 1 && dist[2] == 0 && dist[3] == 1 && dist[4] == 0 && dist[5] == 1));
}

TEST_CASE("chebyshev gives its gradient to the first largest coordinate") {
  const Exec exec(Device::cpu, 1);
  const std::vector<double> a = {0, 3, -3, 1}, b = {0, 0, 0, 0}, dist = {3}, g = {2};
  std::vector<double> da(4);
  pair_distances_backward<double>(exec, metric::chebyshev, {a.data(), 1, 4}, {b.data(), 1, 4}, dist, g,
                                  {da.data(), 1, 4}, {});
  CHECK(da == std::vector<double>{0, 2, 0, 0});
}

TEST_CASE("minkowski: 1, 2 and infinity are the metrics of that name; a large p does not overflow") {
  const Exec exec(Device::cpu, 1);
  const auto x = random_matrix<float>(9, 5, 10, 1e6);
  const auto run = [&](Metric metric) {
    std::vector<float> dist(36);
    condensed_distances<float>(exec, metric, x.in(), dist);
    return dist;
  };
  CHECK(run(metric::minkowski(1)) == run(metric::manhattan));
  CHECK(run(metric::minkowski(2)) == run(metric::euclidean));
  CHECK(run(metric::minkowski(HUGE_VAL)) == run(metric::chebyshev));
  const std::vector<float> large = run(metric::minkowski(1e4)), limit = run(metric::chebyshev);
  for (std::size_t i = 0; i < limit.size(); ++i) CHECK(large[i] == doctest::Approx(limit[i]).epsilon(1e-3));
}

TEST_CASE("distances and gradients have the same bits for any number of threads") {
  for (const Metric metric : k_metrics)
    for (const std::int64_t d : {2, 45}) {
      CAPTURE(name(metric.kind));
      const std::int64_t n = 131;
      const auto x = random_matrix<float>(n, d, 11);
      std::vector<float> g(static_cast<std::size_t>(condensed_size(n))), dist(g.size()), first_dist, first_dx;
      std::mt19937 random(12);
      for (float& v : g) v = static_cast<float>(uniform(random) - 0.5);
      for (const int threads : {1, 2, 3, 8}) {
        const Exec exec(Device::cpu, threads);
        GuardedMatrix<float> dx(n, d);
        condensed_distances<float>(exec, metric, x.in(), dist);
        condensed_distances_backward<float>(exec, metric, x.in(), dist, g, dx.view());
        if (threads == 1) {
          first_dist = dist;
          first_dx = dx.values();
        }
        CHECK(dist == first_dist);
        CHECK(dx.values() == first_dx);
      }
    }
}

TEST_CASE("condensed_to_square and its gradient") {
  const Exec exec(Device::cpu, 2);
  for (const std::int64_t n : {0, 1, 2, 31, 33, 100}) {
    std::vector<float> condensed(static_cast<std::size_t>(condensed_size(n))), back(condensed.size(), -1);
    for (std::size_t i = 0; i < condensed.size(); ++i) condensed[i] = static_cast<float>(i + 1);
    GuardedMatrix<float> square(n, n);
    condensed_to_square<float>(exec, condensed, square.view());
    CHECK(square.intact());
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        const auto at = static_cast<std::size_t>(condensed_index(n, std::min(i, j), std::max(i, j)));
        CHECK(square(i, j) == (i == j ? 0 : condensed[at]));
      }
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < i; ++j) square(i, j) *= 10;
    condensed_to_square_backward<float>(exec, square.in(), back);
    for (std::size_t i = 0; i < back.size(); ++i) CHECK(back[i] == 11 * condensed[i]);
  }
}

// Golden values by torch 1.13: functional.pdist (rows 3 and 17 are equal) and cdist with gradients.
TEST_CASE("condensed and cross distances equal torch's") {
  const Exec exec(Device::cpu, 2);
  const Tensor x = golden("pdist/X"), out = golden("pdist/out"), grad = golden("pdist/grad");
  std::vector<double> dist(out.values<double>().size());
  condensed_distances<double>(exec, metric::euclidean, x.matrix<double>(), dist);
  check_close<double>(dist, out.values<double>(), 8, 0);
  GuardedMatrix<double> dx(30, 3);
  condensed_distances_backward<double>(exec, metric::euclidean, x.matrix<double>(), dist,
                                       golden("pdist/upstream").values<double>(), dx.view());
  check_close<double>(dx.values(), grad.values<double>(), 100, 1);

  const Tensor a = golden("pdist/cdist_A"), b = golden("pdist/cdist_B"), g = golden("pdist/cdist_upstream");
  GuardedMatrix<double> cross(12, 9), da(12, 4), db(9, 4);
  cross_distances<double>(exec, metric::euclidean, a.matrix<double>(), b.matrix<double>(), cross.view());
  cross_distances_backward<double>(exec, metric::euclidean, a.matrix<double>(), b.matrix<double>(),
                                   cross.in(), g.matrix<double>(), da.view(), db.view());
  check_close<double>(cross.values(), golden("pdist/cdist_out").values<double>(), 8, 0);
  check_close<double>(da.values(), golden("pdist/cdist_grad_A").values<double>(), 100, 1);
  check_close<double>(db.values(), golden("pdist/cdist_grad_B").values<double>(), 100, 1);
}

TEST_CASE("wrong shapes and p are named") {
  const Exec exec(Device::cpu, 1);
  GuardedMatrix<float> x(4, 3), y(5, 2), out(4, 5);
  CHECK_THROWS_WITH_AS(cross_distances<float>(exec, metric::euclidean, x.in(), y.in(), out.view()),
                       "cross_distances: x is (4, 3) but y is (5, 2); the column counts must match", Error);
  CHECK_THROWS_WITH_AS(cross_distances<float>(exec, metric::euclidean, x.in(), x.in(), out.view()),
                       "cross_distances: dist is (4, 5) but x is (4, 3) and y is (4, 3); dist must be (4, 4)",
                       Error);
  std::vector<float> dist(7);
  CHECK_THROWS_WITH_AS(
      condensed_distances<float>(exec, metric::euclidean, x.in(), dist),
      "condensed_distances: x is (4, 3) but dist has 7 values; it must have N (N - 1) / 2 = 6", Error);
  CHECK_THROWS_WITH_AS(condensed_distances<float>(exec, metric::minkowski(0.5), x.in(), dist),
                       "condensed_distances: minkowski with p = 0.5 is no metric; give p >= 1", Error);
  CHECK_THROWS_AS(pair_distances<float>(exec, metric::euclidean, x.in(), y.in(), dist), Error);
  CHECK_THROWS_AS(condensed_to_square<float>(exec, dist, out.view()), Error);
}

TEST_CASE("every metric has its name") {
  CHECK(name(MetricKind::euclidean) == "euclidean");
  CHECK(name(MetricKind::sqeuclidean) == "sqeuclidean");
  CHECK(name(MetricKind::manhattan) == "manhattan");
  CHECK(name(MetricKind::chebyshev) == "chebyshev");
  CHECK(name(MetricKind::cosine) == "cosine");
  CHECK(name(MetricKind::correlation) == "correlation");
  CHECK(name(MetricKind::minkowski) == "minkowski");
}
