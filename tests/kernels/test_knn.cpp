#include <doctest/doctest.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/pairwise.h>

#include <set>

#include "tests/support/golden.h"
#include "tests/support/knn_reference.h"

using namespace flatland;
using namespace flatland::kernels;
using namespace flatland::test;

namespace {

template <class T>
Neighbors<T> search(Metric metric, const GuardedMatrix<T>& x, std::int64_t k, int threads = 2) {
  const Exec exec(Device::cpu, threads);
  GuardedMatrix<T> dist(x.rows(), k);
  std::vector<std::int32_t> index(static_cast<std::size_t>(x.rows() * (k + 1)), -5);
  knn<T>(exec, metric, x.in(), k, {index.data(), x.rows(), k, k + 1}, dist.view());
  CHECK(dist.intact());
  Neighbors<T> result;
  result.dist = dist.values();
  for (std::size_t at = 0; at < index.size(); ++at) {
    const auto column = static_cast<std::int64_t>(at) % (k + 1);
    if (column == k)
      CHECK(index[at] == -5);
    else
      result.index.push_back(index[at]);
  }
  return result;
}

template <class T>
Neighbors<T> search_queries(Metric metric, const GuardedMatrix<T>& query, const GuardedMatrix<T>& base,
                            std::int64_t k, int threads = 2) {
  const Exec exec(Device::cpu, threads);
  Neighbors<T> result;
  result.index.resize(static_cast<std::size_t>(query.rows() * k));
  result.dist.resize(result.index.size());
  knn_query<T>(exec, metric, query.in(), base.in(), k, {result.index.data(), query.rows(), k},
               {result.dist.data(), query.rows(), k});
  return result;
}

template <class T>
void check_exact(Metric metric, const GuardedMatrix<T>& x, std::int64_t k) {
  CAPTURE(name(metric.kind));
  CAPTURE(x.rows());
  CAPTURE(x.cols());
  CAPTURE(k);
  const Neighbors<T> got = search(metric, x, k), want = reference_neighbors(metric, x, x, k, true);
  CHECK(got.index == want.index);
  CHECK(got.dist == want.dist);
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

TEST_CASE("neighbours equal those of the double loop, bit for bit") {
  struct Case {
    std::int64_t n, d, k;
  };
  // All distances: few rows for the k; tiles: blocks of 64 rows, at and past their edges.
  for (const Case c : {Case{1, 3, 0}, Case{2, 3, 1}, Case{3, 2, 2}, Case{64, 5, 63}, Case{150, 8, 5},
                       Case{192, 17, 10}, Case{193, 2, 9}, Case{320, 64, 1}, Case{447, 33, 90},
                       Case{193, 70, 3}, Case{500, 100, 9}, Case{70, 0, 3}, Case{200, 0, 3}}) {
    for (const Metric metric : k_keyed) {
      check_exact(metric, random_matrix<float>(c.n, c.d, 1), c.k);
      check_exact(metric, random_matrix<double>(c.n, c.d, 2), c.k);
    }
  }
}

TEST_CASE("more blocks of rows than a round has tasks") {
  check_exact(metric::euclidean, random_matrix<float>(1500, 10, 3), 20);
  check_exact(metric::euclidean, random_matrix<float>(1500, 40, 3), 20);
}

TEST_CASE("duplicates: never a row itself, ties by index") {
  for (const std::int64_t different : {1, 2, 50}) {
    check_exact(metric::euclidean, with_duplicates<float>(400, 60, different, 4), 15);
    check_exact(metric::manhattan, with_duplicates<float>(400, 60, different, 4), 15);
    check_exact(metric::euclidean, with_duplicates<double>(60, 3, different, 5), 59);
  }
  const auto equal = search(metric::euclidean, with_duplicates<float>(300, 9, 1, 6), 3);
  CHECK(std::vector<std::int32_t>(equal.index.begin(), equal.index.begin() + 9) ==
        std::vector<std::int32_t>{1, 2, 3, 0, 2, 3, 0, 1, 3});
}

TEST_CASE("data with an offset, tiny, huge, or in far clusters") {
  check_exact(metric::euclidean, random_matrix<float>(300, 20, 7, 1, 1e6), 10);
  check_exact(metric::euclidean, random_matrix<double>(300, 20, 7, 1e-6, 1e6), 10);
  check_exact(metric::euclidean, random_matrix<float>(300, 20, 8, 1e-20), 10);
  check_exact(metric::sqeuclidean, random_matrix<double>(300, 20, 8, 1e-20), 10);
  check_exact(metric::euclidean, random_matrix<float>(300, 20, 9, 1e18), 10);
  check_exact(metric::euclidean, random_matrix<double>(300, 20, 9, 1e150), 10);
  auto clusters = random_matrix<float>(500, 40, 10);
  for (std::int64_t i = 0; i < 500; ++i)
    for (std::int64_t k = 0; k < 40; ++k) clusters(i, k) += static_cast<float>(i % 3) * 1e4f;
  check_exact(metric::euclidean, clusters, 10);
  auto outlier = random_matrix<float>(500, 40, 11);
  outlier(123, 4) = 1e18f;
  check_exact(metric::euclidean, outlier, 10);
}

TEST_CASE("values that are not finite do no harm") {
  auto x = random_matrix<float>(300, 4, 12);
  x(7, 1) = std::numeric_limits<float>::quiet_NaN();
  x(8, 2) = HUGE_VALF;
  const Neighbors<float> got = search(metric::euclidean, x, 5);
  for (const std::int32_t j : got.index) CHECK((j >= 0 && j < 300));
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
