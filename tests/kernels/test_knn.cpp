#include <doctest/doctest.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/pairwise.h>

#include <set>

#include "tests/support/devices.h"
#include "tests/support/golden.h"
#include "tests/support/knn_reference.h"

using namespace flatland;
using namespace flatland::kernels;
using namespace flatland::test;

namespace {

template <class T>
Neighbors<T> search_on(const Exec& exec, Metric metric, const GuardedMatrix<T>& x, std::int64_t k) {
  std::vector<T> from(x.in().data, x.in().data + x.in().ld * x.rows()),
      dist(static_cast<std::size_t>(x.rows() * (k + 1)), T(-5));
  std::vector<std::int32_t> index(static_cast<std::size_t>(x.rows() * (k + 1)), -5);
  {
    const Mirror mx(exec, from);
    const Mirror mi(exec, index);
    const Mirror md(exec, dist);
    knn<T>(exec, metric, {mx.data(), x.rows(), x.cols(), x.in().ld}, k, {mi.data(), x.rows(), k, k + 1},
           {md.data(), x.rows(), k, k + 1});
  }
  Neighbors<T> result;
  for (std::size_t at = 0; at < index.size(); ++at) {
    if (static_cast<std::int64_t>(at) % (k + 1) == k) {
      CHECK((index[at] == -5 && dist[at] == T(-5)));
    } else {
      result.index.push_back(index[at]);
      result.dist.push_back(dist[at]);
    }
  }
  return result;
}
template <class T>
Neighbors<T> search(Metric metric, const GuardedMatrix<T>& x, std::int64_t k, int threads = 2) {
  return search_on(Exec(Device::cpu, threads), metric, x, k);
}

template <class T>
Neighbors<T> search_queries_on(const Exec& exec, Metric metric, const GuardedMatrix<T>& query,
                               const GuardedMatrix<T>& base, std::int64_t k) {
  Neighbors<T> result;
  result.index.resize(static_cast<std::size_t>(query.rows() * k));
  result.dist.resize(result.index.size());
  std::vector<T> q(query.in().data, query.in().data + query.in().ld * query.rows()),
      b(base.in().data, base.in().data + base.in().ld * base.rows());
  {
    const Mirror mq(exec, q), mb(exec, b), md(exec, result.dist);
    const Mirror mi(exec, result.index);
    knn_query<T>(exec, metric, {mq.data(), query.rows(), query.cols(), query.in().ld},
                 {mb.data(), base.rows(), base.cols(), base.in().ld}, k, {mi.data(), query.rows(), k},
                 {md.data(), query.rows(), k});
  }
  return result;
}
template <class T>
Neighbors<T> search_queries(Metric metric, const GuardedMatrix<T>& query, const GuardedMatrix<T>& base,
                            std::int64_t k, int threads = 2) {
  return search_queries_on(Exec(Device::cpu, threads), metric, query, base, k);
}

template <class T>
void check_exact(Metric metric, const GuardedMatrix<T>& x, std::int64_t k) {
  const Neighbors<T> want = reference_neighbors(metric, x, x, k, true);
  for (const Device device : devices()) {
    CAPTURE(name(device));
    CAPTURE(name(metric.kind));
    CAPTURE(x.rows());
    CAPTURE(x.cols());
    CAPTURE(k);
    const Neighbors<T> got = search_on(Exec(device, 2), metric, x, k);
    CHECK(got.index == want.index);
    CHECK(got.dist == want.dist);
  }
}

template <class T>
void check_exact_queries(Metric metric, const GuardedMatrix<T>& query, const GuardedMatrix<T>& base,
                         std::int64_t k) {
  const Neighbors<T> want = reference_neighbors(metric, query, base, k, false);
  for (const Device device : devices()) {
    CAPTURE(name(device));
    CAPTURE(name(metric.kind));
    CAPTURE(query.rows());
    CAPTURE(base.rows());
    CAPTURE(k);
    const Neighbors<T> got = search_queries_on(Exec(device, 2), metric, query, base, k);
    CHECK(got.index == want.index);
    CHECK(got.dist == want.dist);
  }
}

template <class T>
GuardedMatrix<T> zeros(std::int64_t n, std::int64_t d) {
  GuardedMatrix<T> x(n, d);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t k = 0; k < d; ++k) x(i, k) = 0;
  return x;
}

// Few different rows, each many times.
template <class T>
GuardedMatrix<T> with_duplicates(std::int64_t n, std::int64_t d, std::int64_t different, unsigned seed) {
  const auto rows = random_matrix<T>(different, d, seed);
  GuardedMatrix<T> x(n, d);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t k = 0; k < d; ++k) x(i, k) = rows(i * 7 % different, k);
  return x;
}

const std::vector<Metric> k_keyed = {metric::euclidean, metric::sqeuclidean, metric::manhattan,
                                     metric::chebyshev};

}  // namespace

TEST_CASE("neighbours equal those of the double loop, bit for bit, on every device") {
  struct Case {
    std::int64_t n, d, k;
  };
  // All distances: few rows for the k; tiles: blocks of 64 rows, at and past their edges.
  for (const Case c :
       {Case{1, 3, 0}, Case{2, 3, 1}, Case{3, 2, 2}, Case{64, 5, 63}, Case{150, 8, 5}, Case{192, 17, 10},
        Case{193, 2, 9}, Case{320, 64, 1}, Case{447, 33, 90}, Case{193, 70, 3}, Case{500, 100, 9},
        Case{160, 130, 7}, Case{70, 0, 3}, Case{200, 0, 3}}) {
    for (const Metric metric : k_keyed) {
      if (c.n > 150 && metric.kind != MetricKind::euclidean) continue;
      check_exact(metric, random_matrix<float>(c.n, c.d, 1), c.k);
      if (c.n <= 200) check_exact(metric, random_matrix<double>(c.n, c.d, 2), c.k);
    }
  }
}

TEST_CASE("more blocks of rows than a round has tasks") {
  for (const std::int64_t d : {10, 40}) {
    const auto x = random_matrix<float>(1500, d, 3);
    CHECK(search(metric::euclidean, x, 20) == reference_neighbors(metric::euclidean, x, x, 20, true));
  }
}

TEST_CASE("duplicates: never a row itself, ties by index, on every device") {
  for (const std::int64_t different : {1, 2, 50}) {
    check_exact(metric::euclidean, with_duplicates<float>(250, 60, different, 4), 15);
    check_exact(metric::manhattan, with_duplicates<float>(250, 60, different, 4), 15);
    check_exact(metric::euclidean, with_duplicates<double>(60, 3, different, 5), 59);
  }
  const auto equal = search(metric::euclidean, with_duplicates<float>(300, 9, 1, 6), 3);
  CHECK(std::vector<std::int32_t>(equal.index.begin(), equal.index.begin() + 9) ==
        std::vector<std::int32_t>{1, 2, 3, 0, 2, 3, 0, 1, 3});
}

TEST_CASE("data with an offset, tiny, huge, or in far clusters on every device") {
  check_exact(metric::euclidean, random_matrix<float>(300, 20, 7, 1, 1e6), 10);
  check_exact(metric::euclidean, random_matrix<double>(300, 20, 7, 1e-6, 1e6), 10);
  check_exact(metric::euclidean, random_matrix<float>(300, 20, 8, 1e-20), 10);
  check_exact(metric::sqeuclidean, random_matrix<double>(300, 20, 8, 1e-20), 10);
  check_exact(metric::euclidean, random_matrix<float>(300, 20, 9, 1e18), 10);
  check_exact(metric::euclidean, random_matrix<double>(300, 20, 9, 1e150), 10);
  auto clusters = random_matrix<float>(300, 40, 10);
  for (std::int64_t i = 0; i < 300; ++i)
    for (std::int64_t k = 0; k < 40; ++k) clusters(i, k) += static_cast<float>(i % 3) * 1e4f;
  check_exact(metric::euclidean, clusters, 10);
  auto outlier = random_matrix<float>(300, 40, 11);
  outlier(123, 4) = 1e18f;
  check_exact(metric::euclidean, outlier, 10);
}

TEST_CASE("values that are not finite are infinitely far on every device") {
  for (const std::int64_t n : {40, 300}) {
    auto x = random_matrix<float>(n, 9, 12);
    x(7, 1) = x(12, 8) = std::numeric_limits<float>::quiet_NaN();
    x(8, 2) = x(9, 2) = HUGE_VALF;
    x(10, 2) = -HUGE_VALF;
    for (std::int64_t k = 0; k < 9; ++k) x(n - 1, k) = std::numeric_limits<float>::quiet_NaN();
    for (const Metric metric : k_keyed) check_exact(metric, x, n == 40 ? 39 : 5);
  }
}

// Items at distances 1, 1 + gap, ... from the origin, in an order that is not theirs.
template <class T>
GuardedMatrix<T> shells(std::int64_t n, std::int64_t d, double gap, unsigned seed) {
  GuardedMatrix<T> x = random_matrix<T>(n, d, seed);
  for (std::int64_t i = 0; i < n; ++i) {
    const double radius = 1 + gap * static_cast<double>(i * 7 % n);
    double sum = 0;
    for (std::int64_t k = 0; k < d; ++k) sum += static_cast<double>(x(i, k)) * static_cast<double>(x(i, k));
    for (std::int64_t k = 0; k < d; ++k) x(i, k) = static_cast<T>(x(i, k) * (radius / std::sqrt(sum)));
  }
  return x;
}

TEST_CASE("distances that products cannot tell apart on every device") {
  const GuardedMatrix<double> origin = zeros<double>(2, 140);
  for (const double gap : {1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-9})
    check_exact_queries(metric::euclidean, origin, shells<double>(401, 140, gap, 30), 10);
  check_exact_queries(metric::euclidean, zeros<float>(2, 140), shells<float>(401, 140, 1e-6, 31), 10);
  check_exact_queries(metric::euclidean, zeros<double>(2, 20), shells<double>(401, 20, 1e-8, 32), 10);
}

// Values of 11 significant bits take the ten nearest away from the origin and the others towards it.
TEST_CASE("all roundings of tensor cores against the order on every device") {
  const double unit = 0x1p-10;
  GuardedMatrix<double> x(310, 140);
  for (std::int64_t i = 0; i < 310; ++i)
    for (std::int64_t k = 0; k < 140; ++k) {
      const double near = k % 2 == 0 ? 1545.6 : 1280.6, far = 1419.4;  // 0.1 further
      x(i, k) = (i >= 100 && i < 110 ? near : far) * (i % 2 == 0 ? unit : -unit);
    }
  check_exact_queries(metric::euclidean, zeros<double>(2, 140), x, 10);
}

TEST_CASE("blocks of rows on the GPU: at their edges, and many neighbours, on every device") {
  // 2,048 queries and 4,096 items a block.
  const auto query = random_matrix<float>(3, 3, 34);
  for (const std::int64_t n : {4096, 4097})
    for (const Metric metric : {metric::euclidean, metric::manhattan})
      check_exact_queries(metric, query, random_matrix<float>(n, 3, 33), 7);
  check_exact_queries(metric::euclidean, query, with_duplicates<float>(4129, 3, 2, 35), 2100);
  for (const std::int64_t different : {1, 140})
    check_exact_queries(metric::euclidean, random_matrix<float>(2049, 2, 36),
                        with_duplicates<float>(140, 2, different, 37), 2);
  check_exact(metric::euclidean, random_matrix<float>(2049, 1, 38), 1);
  for (const std::int64_t n : {1024, 1025, 3300})
    check_exact_queries(metric::euclidean, random_matrix<float>(2, 5, 39), random_matrix<float>(n, 5, 40),
                        1024);
}

TEST_CASE("the GPU finds the CPU's neighbours by every metric, in sets and for queries, on every device") {
  const auto x = random_matrix<float>(300, 140, 21), query = random_matrix<float>(70, 140, 22);
  const auto wide = with_duplicates<double>(260, 150, 90, 23);
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const Metric metric : {metric::euclidean, metric::cosine, metric::correlation, metric::manhattan}) {
      CAPTURE(name(metric.kind));
      CHECK(search_on(exec, metric, x, 15) == search(metric, x, 15));
      CHECK(search_on(exec, metric, wide, 8) == search(metric, wide, 8));
      CHECK(search_queries_on(exec, metric, query, x, 9) == search_queries(metric, query, x, 9));
    }
    auto odd = random_matrix<float>(150, 4, 12);
    odd(7, 1) = std::numeric_limits<float>::quiet_NaN();
    odd(8, 2) = HUGE_VALF;
    for (std::int64_t i = 0; i < 5; ++i)
      for (std::int64_t k = 0; k < 4; ++k) odd(20 + 3 * i, k) = 0;
    for (const Metric metric : {metric::cosine, metric::correlation}) {
      CHECK(search_on(exec, metric, odd, 5) == search(metric, odd, 5));
      CHECK(search_on(exec, metric, odd, 149) == search(metric, odd, 149));
    }
    const auto power = search_on(exec, metric::minkowski(3), query, 6);
    const auto cpu = search(metric::minkowski(3), query, 6).dist;
    check_close<float>(power.dist, std::vector<double>(cpu.begin(), cpu.end()), 4, 1);
  }
}

TEST_CASE("cosine, correlation and minkowski: distances ascend and equal the double loop's") {
  for (const Metric metric : {metric::cosine, metric::correlation, metric::minkowski(3)})
    for (const std::int64_t n : {40, 300}) {
      CAPTURE(name(metric.kind));
      const std::int64_t d = 12, k = 7;
      auto x = random_matrix<double>(n, d, 13);
      for (std::int64_t i = 0; i < 4; ++i)
        for (std::int64_t c = 0; c < d; ++c) x(i * 9, c) = 0;  // zero rows: 0 apart, 1 from others
      const Neighbors<double> got = search(metric, x, k);
      std::vector<double> want, dist_of_index;
      for (std::int64_t i = 0; i < n; ++i) {
        std::vector<double> all;
        for (std::int64_t j = 0; j < n; ++j)
          if (i != j) all.push_back(reference_distance(metric, x.row(i), x.row(j)));
        std::sort(all.begin(), all.end());
        want.insert(want.end(), all.begin(), all.begin() + k);
        std::set<std::int32_t> seen;
        for (std::int64_t j = 0; j < k; ++j) {
          const std::int32_t other = got.index[static_cast<std::size_t>(i * k + j)];
          CHECK((other != i && seen.insert(other).second));
          dist_of_index.push_back(reference_distance(metric, x.row(i), x.row(other)));
        }
      }
      check_close<double>(got.dist, want, 64, 1);
      check_close<double>(got.dist, dist_of_index, 64, 1);
    }
}

TEST_CASE("queries: a row of base equal to the query counts") {
  for (const std::int64_t n : {30, 500})
    for (const std::int64_t m : {0, 1, 200}) {
      const auto base = random_matrix<float>(n, 11, 14), query = random_matrix<float>(m, 11, 15, 2, 0.5);
      for (const Metric metric : k_keyed)
        CHECK(search_queries(metric, query, base, 9) == reference_neighbors(metric, query, base, 9, false));
    }
  const auto x = random_matrix<float>(500, 11, 14);
  const Neighbors<float> self = search_queries(metric::cosine, x, x, 1);
  for (std::int32_t i = 0; i < 500; ++i) {
    CHECK(self.index[static_cast<std::size_t>(i)] == i);
    CHECK(self.dist[static_cast<std::size_t>(i)] == 0);
  }
  CHECK(search_queries(metric::euclidean, x, x, 500) ==
        reference_neighbors(metric::euclidean, x, x, 500, false));
}

TEST_CASE("neighbours do not depend on the number of threads") {
  const auto x = random_matrix<float>(700, 50, 16);
  const auto far = with_duplicates<float>(700, 50, 5, 17);
  for (const Metric metric : {metric::euclidean, metric::correlation, metric::manhattan}) {
    const Neighbors<float> one = search(metric, x, 20, 1), one_far = search(metric, far, 20, 1);
    const Neighbors<float> one_query = search_queries(metric, far, x, 20, 1);
    for (const int threads : {2, 3, 8}) {
      CHECK(search(metric, x, 20, threads) == one);
      CHECK(search(metric, far, 20, threads) == one_far);
      CHECK(search_queries(metric, far, x, 20, threads) == one_query);
    }
  }
}

// Golden values by scikit-learn 1.2.1, NearestNeighbors brute force. Its first column is the point itself.
TEST_CASE("neighbours equal scikit-learn's") {
  const Exec exec(Device::cpu, 2);
  const auto check = [&](const std::string& group, std::int64_t skip) {
    const Tensor x = golden(group + "/X"), want = golden(group + "/knn_idx"),
                 dist = golden(group + "/knn_dist");
    const std::int64_t n = x.size(0), k = want.size(1) - skip;
    std::vector<std::int32_t> index(static_cast<std::size_t>(n * k));
    std::vector<double> got(index.size()), want_dist;
    knn<double>(exec, metric::euclidean, x.matrix<double>(), k, {index.data(), n, k}, {got.data(), n, k});
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < k; ++j) {
        CHECK(index[static_cast<std::size_t>(i * k + j)] == static_cast<std::int32_t>(want.at(i, j + skip)));
        want_dist.push_back(dist.at(i, j + skip));
      }
    check_close<double>(got, want_dist, 1000, 1);
  };
  check("neighbors", 1);
  check("quality", 0);
}

TEST_CASE("wrong k and shapes are named") {
  const Exec exec(Device::cpu, 1);
  GuardedMatrix<float> x(4, 3), y(5, 2), dist(4, 4);
  std::vector<std::int32_t> index(16);
  CHECK_THROWS_WITH_AS(knn<float>(exec, metric::euclidean, x.in(), 4, {index.data(), 4, 4}, dist.view()),
                       "knn: 4 neighbours among 4 rows; a row has at most 3", Error);
  CHECK_THROWS_WITH_AS(knn<float>(exec, metric::euclidean, x.in(), 3, {index.data(), 4, 4}, dist.view()),
                       "knn: index is (4, 4) but must be (4, 3)", Error);
  CHECK_THROWS_WITH_AS(
      knn_query<float>(exec, metric::euclidean, x.in(), y.in(), 4, {index.data(), 4, 4}, dist.view()),
      "knn_query: query is (4, 3) but base is (5, 2); the column counts must match", Error);
  CHECK_THROWS_AS(
      knn_query<float>(exec, metric::euclidean, x.in(), x.in(), 5, {index.data(), 4, 5}, dist.view()), Error);
  CHECK_THROWS_AS(knn<float>(exec, metric::minkowski(0), x.in(), 1, {index.data(), 4, 1}, dist.view()),
                  Error);
}
