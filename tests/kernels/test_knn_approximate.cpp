#include <doctest/doctest.h>
#include <flatland/dr/readers.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/knn.h>
#include <flatland/kernels/knn_approximate.h>

#include <filesystem>
#include <set>

#include "tests/support/knn_reference.h"

using namespace flatland;
using namespace flatland::kernels;
using namespace flatland::test;

namespace {

// By clusters whatever the number of rows.
constexpr KnnApproximateOptions k_always{.seed = 3, .exact_below = 0};

template <class T>
struct Found {
  Neighbors<T> neighbors;
  KnnApproximateWork work;
  double recall;
};

template <class T>
Found<T> approximate(Metric metric, MatView<const T> x, std::int64_t k,
                     const KnnApproximateOptions& options = k_always, int threads = 2) {
  const Exec exec(Device::cpu, threads);
  Found<T> found;
  found.neighbors.index.resize(static_cast<std::size_t>(x.rows * k));
  found.neighbors.dist.resize(found.neighbors.index.size());
  const MatView<T> dist(found.neighbors.dist.data(), x.rows, k);
  found.work =
      knn_approximate<T>(exec, metric, x, k, options, {found.neighbors.index.data(), x.rows, k}, dist);
  found.recall = knn_recall<T>(exec, metric, x, dist, 500, 1);
  return found;
}

Tensor digits() {
  const Table table = read_csv(std::filesystem::path(FLATLAND_GOLDEN_DIR) / "../../examples/data/digits.csv");
  return table.numbers_except({"digit"}).to(Dtype::float32);
}

// Other items than the row, each once, ascending, ties by index; the distances are those of the exact keys.
template <class T>
void check_contract(const GuardedMatrix<T>& x, std::int64_t k, const Neighbors<T>& found) {
  int wrong = 0;
  for (std::int64_t i = 0; i < x.rows(); ++i) {
    std::set<std::int32_t> seen;
    std::pair<double, std::int32_t> before{-1, -1};
    for (std::int64_t j = 0; j < k; ++j) {
      const auto at = static_cast<std::size_t>(i * k + j);
      const std::int32_t item = found.index[at];
      const bool is_item = item >= 0 && item < x.rows() && item != i && seen.insert(item).second;
      REQUIRE(is_item);
      const std::pair<double, std::int32_t> here{reference_key(metric::euclidean, x.row(i), x.row(item)),
                                                 item};
      wrong += !(before < here) || found.dist[at] != static_cast<T>(std::sqrt(here.first));
      before = here;
    }
  }
  CHECK(wrong == 0);
}

// n rows of which `different` differ.
GuardedMatrix<float> mostly_duplicates(std::int64_t n, std::int64_t d, std::int64_t different) {
  const auto rows = random_matrix<float>(different, d, 5);
  GuardedMatrix<float> x(n, d);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t c = 0; c < d; ++c) x(i, c) = rows(i * 7 % different, c);
  return x;
}

}  // namespace

TEST_CASE("nearly all neighbours of handwritten digits are found") {
  const Tensor x = digits();
  for (const Metric metric : {metric::euclidean, metric::cosine, metric::correlation})
    for (const std::int64_t k : {5, 15, 90}) {
      CAPTURE(name(metric.kind));
      CAPTURE(k);
      const Found<float> found = approximate<float>(metric, x.matrix<float>(), k);
      CHECK(found.recall >= 0.95);
      CHECK(found.work.distances <= x.size(0) * (x.size(0) - 1) / 2);
      if (k <= 15) CHECK(found.work.clusters > 0);
    }
}

TEST_CASE("a recall is the share of true neighbours") {
  const Tensor x = digits();
  Found<float> found = approximate<float>(metric::euclidean, x.matrix<float>(), 10, {});
  CHECK(found.recall == 1);
  for (std::size_t at = 0; at < found.neighbors.dist.size(); at += 4) found.neighbors.dist[at] = 1e6f;
  const Exec exec(Device::cpu, 1);
  const MatView<const float> dist(found.neighbors.dist.data(), x.size(0), 10);
  CHECK(knn_recall<float>(exec, metric::euclidean, x.matrix<float>(), dist, 5000, 1) ==
        doctest::Approx(0.75).epsilon(1e-3));
}

TEST_CASE("the result is what knn says of these neighbours") {
  for (const std::int64_t d : {1, 16, 17, 40}) {
    CAPTURE(d);
    const auto x = random_matrix<float>(700, d, 11);
    KnnApproximateOptions few_visits = k_always;
    few_visits.recall = 0.4;
    const Found<float> found = approximate(metric::euclidean, x.in(), 9, few_visits);
    CHECK(found.work.clusters > 0);
    check_contract(x, 9, found.neighbors);
  }
  // A far offset is taken away before anything is rounded.
  const auto far = random_matrix<double>(1500, 3, 12, 1, 1e6);
  const Found<double> found = approximate(metric::euclidean, far.in(), 20);
  check_contract(far, 20, found.neighbors);
  CHECK(found.recall >= 0.95);
}

TEST_CASE("equal rows and constant columns") {
  for (const std::int64_t different : {1, 2, 60}) {
    CAPTURE(different);
    const auto x = mostly_duplicates(900, 20, different);
    check_contract(x, 12, approximate(metric::euclidean, x.in(), 12).neighbors);
  }
  GuardedMatrix<float> x = random_matrix<float>(900, 30, 6);
  for (std::int64_t i = 0; i < x.rows(); ++i)
    for (std::int64_t c = 2; c < x.cols(); ++c) x(i, c) = 7;
  const Found<float> found = approximate(metric::euclidean, x.in(), 12);
  check_contract(x, 12, found.neighbors);
  CHECK(found.recall >= 0.95);
  const GuardedMatrix<float> empty(300, 0);
  check_contract(empty, 4, approximate(metric::euclidean, empty.in(), 4).neighbors);
}

TEST_CASE("the recall is what was asked for, by visits to as many clusters as that takes") {
  const Tensor x = digits();
  KnnApproximateOptions options = k_always;
  std::int64_t visits = 0;
  for (const double recall : {0.5, 0.8, 0.9, 0.97, 0.995}) {
    CAPTURE(recall);
    options.recall = recall;
    const Found<float> found = approximate<float>(metric::euclidean, x.matrix<float>(), 10, options);
    CHECK(found.recall >= recall - 0.02);
    if (found.work.clusters == 0) continue;
    CHECK(found.work.visits >= visits);
    visits = found.work.visits;
  }
  CHECK(visits > 1);
  options.recall = 1;
  CHECK(approximate<float>(metric::euclidean, x.matrix<float>(), 10, options).recall >= 0.998);
}

// Groups of `size` rows about random centres.
GuardedMatrix<double> groups(std::int64_t n, std::int64_t size, double spread) {
  const auto centres = random_matrix<double>(n / size, 6, 21), noise = random_matrix<double>(n, 6, 22);
  GuardedMatrix<double> x(n, 6);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t c = 0; c < x.cols(); ++c) x(i, c) = centres(i % (n / size), c) + spread * noise(i, c);
  return x;
}

TEST_CASE("rows near small clusters alone find as many neighbours as others") {
  // Two centres in a group of 20 leave each with fewer than 15 others.
  const auto x = groups(6000, 20, 1e-2);
  KnnApproximateOptions one_visit = k_always;
  one_visit.recall = 1e-6;
  const Found<double> found = approximate(metric::euclidean, x.in(), 15, one_visit);
  CHECK(found.work.visits == 1);
  check_contract(x, 15, found.neighbors);
}

TEST_CASE("tight groups: where float32 cannot tell neighbours apart, float64 does") {
  for (const double spread : {1e-2, 3e-5, 1e-6, 1e-8}) {
    CAPTURE(spread);
    const auto x = groups(6000, 50, spread);
    const Found<double> found = approximate(metric::euclidean, x.in(), 15);
    CHECK(found.work.clusters > 0);
    CHECK(found.recall >= 0.95);
    check_contract(x, 15, found.neighbors);
  }
}

TEST_CASE("by cosine and correlation, with rows of zeros, neighbours are those of knn but for a few") {
  constexpr std::int64_t n = 3000, k = 12;
  GuardedMatrix<float> x = random_matrix<float>(n, 4, 23);
  for (std::int64_t i = 0; i < n; i += 30)
    for (std::int64_t c = 0; c < x.cols(); ++c) x(i, c) = 0;
  for (const Metric metric : {metric::cosine, metric::correlation}) {
    CAPTURE(name(metric.kind));
    const Found<float> found = approximate(metric, x.in(), k);
    CHECK(found.work.clusters > 0);
    const Exec exec(Device::cpu, 2);
    Neighbors<float> exact = found.neighbors;
    knn<float>(exec, metric, x.in(), k, {exact.index.data(), n, k}, {exact.dist.data(), n, k});
    std::int64_t same_rows = 0;
    for (std::size_t i = 0; i < exact.index.size(); i += k)
      same_rows += std::equal(&exact.index[i], &exact.index[i] + k, &found.neighbors.index[i]) &&
                   std::equal(&exact.dist[i], &exact.dist[i] + k, &found.neighbors.dist[i]);
    CHECK(same_rows >= n * 3 / 4);
  }
}

TEST_CASE("so many rows that they go in waves") {
  const auto x = random_matrix<float>(70000, 2, 24);
  const Found<float> one = approximate(metric::euclidean, x.in(), 4, k_always, 1);
  CHECK(one.work.clusters > 256);
  CHECK(one.recall >= 0.95);
  CHECK(approximate(metric::euclidean, x.in(), 4, k_always, 3).neighbors == one.neighbors);
}

TEST_CASE("half of the rows equal: no cluster grows large") {
  GuardedMatrix<float> x = random_matrix<float>(6000, 3, 20);
  for (std::int64_t i = 0; i < x.rows(); i += 2)
    for (std::int64_t c = 0; c < x.cols(); ++c) x(i, c) = 0;
  const Found<float> found = approximate(metric::euclidean, x.in(), 15);
  check_contract(x, 15, found.neighbors);
  CHECK(found.recall >= 0.95);
  CHECK(found.work.clusters > 0);
  CHECK(found.work.distances < x.rows() * x.rows() / 4);
}

TEST_CASE("the bits depend on the seed alone, not on the number of threads") {
  const auto x = random_matrix<float>(3000, 4, 16);
  const Found<float> one = approximate(metric::euclidean, x.in(), 10, k_always, 1);
  CHECK(one.work.clusters > 0);
  for (const int threads : {2, 3, 8}) {
    const Found<float> found = approximate(metric::euclidean, x.in(), 10, k_always, threads);
    CHECK(found.neighbors == one.neighbors);
    CHECK(found.work.distances == one.work.distances);
    CHECK(found.work.visits == one.work.visits);
  }
  KnnApproximateOptions other = k_always;
  other.seed = 4;
  CHECK(approximate(metric::euclidean, x.in(), 10, other).work.distances != one.work.distances);
}

TEST_CASE("few rows, and many neighbours of each, are searched exactly") {
  const auto x = random_matrix<float>(500, 12, 17);
  CHECK(approximate(metric::euclidean, x.in(), 9, {}).neighbors ==
        reference_neighbors(metric::euclidean, x, x, 9, true));
  CHECK(approximate(metric::euclidean, x.in(), 63).neighbors ==
        reference_neighbors(metric::euclidean, x, x, 63, true));
  CHECK(approximate(metric::manhattan, x.in(), 9, {}).neighbors ==
        reference_neighbors(metric::manhattan, x, x, 9, true));
}

TEST_CASE("what an approximate search cannot do is named") {
  auto x = random_matrix<float>(600, 3, 18);
  CHECK_THROWS_WITH_AS(approximate(metric::manhattan, x.in(), 9),
                       "knn_approximate: metric manhattan is not among euclidean, sqeuclidean, cosine, "
                       "correlation and minkowski with p = 2; use knn",
                       Error);
  CHECK_THROWS_WITH_AS(approximate(metric::euclidean, x.in(), 600),
                       "knn_approximate: 600 neighbours among 600 rows; a row has at most 599", Error);
  KnnApproximateOptions none = k_always;
  none.recall = 0;
  CHECK_THROWS_WITH_AS(approximate(metric::euclidean, x.in(), 9, none),
                       "knn_approximate: a recall of 0; it must be above 0 and at most 1", Error);
  x(77, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(
      approximate(metric::euclidean, x.in(), 9),
      "knn_approximate: x has values that are not finite, or too large or too small for float32; "
      "rescale them, or use knn",
      Error);
}
