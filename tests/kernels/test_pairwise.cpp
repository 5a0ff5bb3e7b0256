#include <doctest/doctest.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/graph.h>
#include <flatland/kernels/pairwise.h>

#include "tests/support/devices.h"
#include "tests/support/distance_reference.h"
#include "tests/support/golden.h"
#include "tests/support/pairwise_cases.h"

using namespace flatland;
using namespace flatland::kernels;
using namespace flatland::test;

namespace {

template <class T>
std::vector<double> reference_cross(Metric metric, const GuardedMatrix<T>& x, const GuardedMatrix<T>& y) {
  std::vector<double> result;
  const auto to = y.all_rows();
  for (const auto& from : x.all_rows())
    for (const auto& row : to) result.push_back(reference_distance(metric, from, row));
  return result;
}

template <class T>
std::vector<T> upper_triangle(const GuardedMatrix<T>& square) {
  std::vector<T> result;
  for (std::int64_t i = 0; i < square.rows(); ++i)
    for (std::int64_t j = i + 1; j < square.rows(); ++j) result.push_back(square(i, j));
  return result;
}

template <class T>
void check_forward(const Exec& exec, Metric metric, Sizes s) {
  CAPTURE(name(exec.device()));
  CAPTURE(name(metric.kind));
  CAPTURE(s.n);
  CAPTURE(s.m);
  CAPTURE(s.d);
  auto x = random_matrix<T>(s.n, s.d, 1), y = random_matrix<T>(s.m, s.d, 2);
  GuardedMatrix<T> cross(s.n, s.m), self(s.n, s.n);
  std::vector<T> condensed(static_cast<std::size_t>(condensed_size(s.n)) + 1, T(-7));
  const std::int64_t pairs = std::min(s.n, s.m);
  std::vector<T> dist(static_cast<std::size_t>(pairs) + 1, T(-7));
  {
    const Mirror mx(exec, x.block()), my(exec, y.block()), mc(exec, cross.block()), ms(exec, self.block());
    const Mirror mt(exec, condensed), md(exec, dist);
    const MatView<T> xv = mx.view(x.view()), yv = my.view(y.view());
    cross_distances<T>(exec, metric, xv, yv, mc.view(cross.view()));
    cross_distances<T>(exec, metric, xv, xv, ms.view(self.view()));
    condensed_distances<T>(exec, metric, xv, mt.span().first(condensed.size() - 1));
    pair_distances<T>(exec, metric, {xv.data, pairs, s.d, xv.ld}, {yv.data, pairs, s.d, yv.ld},
                      md.span().first(dist.size() - 1));
  }
  const std::vector<double> want = reference_cross(metric, x, y);
  check_close<T>(cross.values(), want, growth(s.d), smallest_scale(metric));
  CHECK((cross.intact() && self.intact()));

  CHECK(condensed.back() == T(-7));
  condensed.pop_back();
  CHECK(condensed == upper_triangle(self));
  for (std::int64_t i = 0; i < s.n; ++i) CHECK(self(i, i) == 0);

  CHECK(dist.back() == T(-7));
  dist.pop_back();
  std::vector<double> want_pairs;
  for (std::int64_t i = 0; i < pairs; ++i) want_pairs.push_back(want[static_cast<std::size_t>(i * s.m + i)]);
  check_close<T>(dist, want_pairs, growth(s.d), smallest_scale(metric));
}

}  // namespace

TEST_CASE_TEMPLATE("distances of all metrics equal the double loop, in all three forms, on every device", T,
                   float, double) {
  for (const Device device : devices()) {
    const Exec exec(device, 2);
    for (const Metric metric : all_metrics())
      for (const Sizes s : pairwise_sizes()) check_forward<T>(exec, metric, s);
  }
}

TEST_CASE("distances of many items equal the double loop on every device") {
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const Metric metric : {metric::euclidean, metric::manhattan, metric::chebyshev})
      check_forward<float>(exec, metric, {1030, 1023, 2});  // all pairs of x fill large tiles on a GPU
    check_forward<double>(exec, metric::cosine, {1025, 1031, 17});
  }
}

namespace {

// Condensed distances of the rows of x, and their gradient for the given g.
struct Condensed {
  std::vector<float> dist;
  GuardedMatrix<float> dx;

  Condensed(const Exec& exec, Metric metric, GuardedMatrix<float> x, std::vector<float> g)
      : dist(g.size()), dx(x.rows(), x.cols()) {
    const Mirror mx(exec, x.block()), mg(exec, g), md(exec, dist), mdx(exec, dx.block());
    condensed_distances<float>(exec, metric, mx.view(x.view()), md.span());
    condensed_distances_backward<float>(exec, metric, mx.view(x.view()), md.span(), mg.span(),
                                        mdx.view(dx.view()));
  }
};

}  // namespace

TEST_CASE("equal rows are at distance 0, with gradient 0, on every device") {
  for (const Device device : devices())
    for (const Metric metric : all_metrics())
      for (const std::int64_t d : {2, 50}) {
        CAPTURE(name(metric.kind));
        const auto row = random_matrix<float>(1, d, 9, 1, 1000);
        GuardedMatrix<float> x(3, d);
        for (std::int64_t i = 0; i < 3; ++i)
          for (std::int64_t k = 0; k < d; ++k) x(i, k) = row(0, k);
        const Condensed got(Exec(device), metric, x, {1, -2, 3});
        CHECK(got.dist == std::vector<float>{0, 0, 0});
        for (const float v : got.dx.values()) CHECK(v == 0);
      }
}

TEST_CASE("cosine and correlation: rows of zeros and constant rows on every device") {
  GuardedMatrix<float> x(4, 3);
  const float rows[4][3] = {{0, 0, 0}, {0, 0, 0}, {1, 2, 4}, {0.1f, 0.1f, 0.1f}};
  for (std::int64_t i = 0; i < 4; ++i)
    for (std::int64_t k = 0; k < 3; ++k) x(i, k) = rows[i][k];
  for (const Device device : devices()) {
    const Condensed cosine(Exec(device), metric::cosine, x, std::vector<float>(6, 1.f));
    const std::vector<float>& dist = cosine.dist;
    CHECK((dist[0] == 0 && dist[1] == 1 && dist[2] == 1 && dist[3] == 1 && dist[4] == 1));
    for (std::int64_t k = 0; k < 3; ++k)
      CHECK((cosine.dx(0, k) == 0 && cosine.dx(1, k) == 0 && std::isfinite(cosine.dx(2, k))));
    const Condensed correlation(Exec(device), metric::correlation, x, std::vector<float>(6, 1.f));
    CHECK(correlation.dist == std::vector<float>{0, 1, 0, 1, 0, 1});
  }
}

TEST_CASE(
    "distances and gradients are recorded and replayed with other values on every device that records") {
  for (const Device device : devices())
    for (const Metric metric : all_metrics()) {
      if (device == Device::cpu) continue;
      CAPTURE(name(metric.kind));
      auto x = random_matrix<float>(70, 3, 1), other = random_matrix<float>(70, 3, 2);
      std::vector<float> g(static_cast<std::size_t>(condensed_size(70)), 1.f), dist(g.size());
      GuardedMatrix<float> dx(70, 3);
      {
        Exec exec(device);
        const Mirror mx(exec, x.block()), mg(exec, g), md(exec, dist), mdx(exec, dx.block());
        const auto step = [&] {
          condensed_distances<float>(exec, metric, mx.view(x.view()), md.span());
          condensed_distances_backward<float>(exec, metric, mx.view(x.view()), md.span(), mg.span(),
                                              mdx.view(dx.view()));
        };
        step();  // scratch memory has its size from here on
        const Graph graph = Graph::record(exec, step);
        const bool unit = metric.kind == MetricKind::cosine || metric.kind == MetricKind::correlation;
        CHECK(graph.kernels() == (unit ? 4 : 2));
        copy_to_device(exec, mx.data(), other.block().data(), other.block().size() * sizeof(float));
        graph.launch(exec);
      }
      const Condensed want(Exec(device), metric, other, g);
      CHECK(dist == want.dist);
      CHECK(dx.values() == want.dx.values());
    }
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
  for (const Metric metric : all_metrics())
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

TEST_CASE_TEMPLATE("the square and the condensed form and their gradients on every device", T, float,
                   double) {
  for (const Device device : devices())
    for (const std::int64_t n :
         {0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 40, 63, 64, 65, 66, 96, 97, 100, 257}) {
      CAPTURE(n);
      const Exec exec(device, 2);
      std::vector<T> condensed(static_cast<std::size_t>(condensed_size(n))), summed(condensed.size(), T(-1)),
          upper(condensed.size(), T(-1));
      for (std::size_t i = 0; i < condensed.size(); ++i) condensed[i] = static_cast<T>(i + 1);
      GuardedMatrix<T> square(n, n), triangle(n, n), any(n, n);
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j) any(i, j) = static_cast<T>(i < j ? i * n + j : -3 * (i * n + j));
      {
        const Mirror mc(exec, condensed), ms(exec, summed), mu(exec, upper), msq(exec, square.block()),
            mt(exec, triangle.block()), ma(exec, any.block());
        condensed_to_square<T>(exec, mc.span(), msq.view(square.view()));
        condensed_to_square_backward<T>(exec, ma.view(any.view()), ms.span());
        square_to_condensed<T>(exec, ma.view(any.view()), mu.span());
        square_to_condensed_backward<T>(exec, mc.span(), mt.view(triangle.view()));
      }
      CHECK((square.intact() && triangle.intact()));
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j) {
          const auto at = static_cast<std::size_t>(condensed_index(n, std::min(i, j), std::max(i, j)));
          REQUIRE(square(i, j) == (i == j ? T(0) : condensed[at]));
          REQUIRE(triangle(i, j) == (i < j ? condensed[at] : T(0)));
          if (i >= j) continue;
          REQUIRE(summed[at] == any(i, j) + any(j, i));
          REQUIRE(upper[at] == any(i, j));
        }
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
  CHECK_THROWS_AS(square_to_condensed<float>(exec, out.in(), dist), Error);
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
