// dr/metrics.h. Golden values: tests/golden/quality, by scikit-learn 1.2.1.
#include <flatland/dr/metrics.h>

#include <doctest/doctest.h>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/golden.h"

using namespace flatland;
using flatland::test::contains;
using flatland::test::error_of;
using flatland::test::golden;

namespace {

Tensor first_rows(const Tensor& x, std::int64_t begin, std::int64_t end) {
  const std::vector<double> values = x.to_vector<double>();
  const std::int64_t d = x.rank() == 2 ? x.size(1) : 1;
  const std::vector<double> part(values.begin() + begin * d, values.begin() + end * d);
  return x.rank() == 2 ? Tensor::from(part, {end - begin, d}) : Tensor::from(part).to(x.dtype());
}

Tensor random_points(std::int64_t n, std::int64_t d, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<double> values(static_cast<std::size_t>(n * d));
  for (double& value : values) value = bits() * 0x1p-32 + bits() * 0x1p-32 - 1;
  return Tensor::from(values, {n, d});
}

// The definition, by sorting all distances.
double trustworthiness_by_sorting(const Tensor& x, const Tensor& y, std::int64_t k) {
  const std::int64_t n = x.size(0);
  const auto ordered = [&](const Tensor& space, std::int64_t i) {
    std::vector<std::pair<double, std::int64_t>> others;
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t c = 0; c < space.size(1); ++c) sum += std::pow(space.at(i, c) - space.at(j, c), 2);
      if (j != i) others.emplace_back(sum, j);
    }
    std::ranges::sort(others);
    return others;
  };
  double penalty = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto in_x = ordered(x, i), in_y = ordered(y, i);
    for (std::int64_t a = 0; a < k; ++a) {
      const std::int64_t j = in_y[static_cast<std::size_t>(a)].second;
      const auto found = std::ranges::find(in_x, j, [](const auto& entry) { return entry.second; });
      penalty += static_cast<double>(std::max<std::int64_t>(0, found - in_x.begin() + 1 - k));
    }
  }
  return 1 - penalty * 2 / static_cast<double>(n * k * (2 * n - 3 * k - 1));
}

}  // namespace

TEST_CASE("trustworthiness equals scikit-learn's") {
  const Tensor x = golden("quality/X"), y = golden("quality/Y");
  CHECK(trustworthiness(x, y, 5) == doctest::Approx(0.7299895833333334).epsilon(1e-12));
  CHECK(trustworthiness(x, y, 15) == doctest::Approx(0.737045197740113).epsilon(1e-12));
  CHECK(trustworthiness(x, y, 30) == doctest::Approx(0.7541078748651564).epsilon(1e-12));
  // In float32 a tie may break another way: one rank is 1 / (200 * 15 * 177).
  const double single = trustworthiness(x.to(Dtype::float32), y.to(Dtype::float32), 15);
  CHECK(single == doctest::Approx(0.737045197740113).epsilon(1e-5));
  CHECK(trustworthiness(x.to(Dtype::float32), y, 15) == doctest::Approx(single).epsilon(1e-5));
}

TEST_CASE("trustworthiness and continuity equal their definition") {
  for (const std::int64_t n : {5, 63, 257, 300}) {
    const Tensor x = random_points(n, 7, 1), y = random_points(n, 2, 2);
    const std::int64_t k = std::min<std::int64_t>(10, (n - 1) / 2);
    CHECK(trustworthiness(x, y, k) == doctest::Approx(trustworthiness_by_sorting(x, y, k)).epsilon(1e-12));
    CHECK(continuity(x, y, k) == doctest::Approx(trustworthiness_by_sorting(y, x, k)).epsilon(1e-12));
  }
}

TEST_CASE("an embedding that is the data itself keeps all, whatever its scale and place") {
  const Tensor x = random_points(100, 3, 3);
  for (const double scale : {1.0, 1e-150, 1e-20, 1e20, 1e150}) {
    std::vector<double> moved = x.to_vector<double>();
    for (double& value : moved) value = (value + 3) * scale;
    CAPTURE(scale);
    CHECK(trustworthiness(Tensor::from(moved, {100, 3}), x, 9) == 1);
    CHECK(continuity(Tensor::from(moved, {100, 3}), x, 9) == 1);
  }
}

TEST_CASE("points far off do not blur the ranks of the others") {
  std::vector<double> values = random_points(200, 5, 4).to_vector<double>();
  values[3] = 1e9;
  const Tensor x = Tensor::from(values, {200, 5}), y = random_points(200, 2, 5);
  CHECK(trustworthiness(x, y, 7) == doctest::Approx(trustworthiness_by_sorting(x, y, 7)).epsilon(1e-12));
}

TEST_CASE("equal points are ranked by index") {
  std::vector<double> grid, flat;
  for (int i = 0; i < 60; ++i) {
    grid.push_back(i % 3);
    grid.push_back(i % 2);
    flat.push_back(0);
    flat.push_back(0);
  }
  const Tensor x = Tensor::from(grid, {60, 2}), y = random_points(60, 2, 6),
               zero = Tensor::from(flat, {60, 2});
  CHECK(trustworthiness(x, y, 6) == doctest::Approx(trustworthiness_by_sorting(x, y, 6)).epsilon(1e-12));
  CHECK(trustworthiness(zero, y, 6) ==
        doctest::Approx(trustworthiness_by_sorting(zero, y, 6)).epsilon(1e-12));
  CHECK(continuity(zero, y, 6) == doctest::Approx(trustworthiness_by_sorting(y, zero, 6)).epsilon(1e-12));
}

TEST_CASE("k-NN accuracy equals scikit-learn's") {
  const Tensor y = golden("quality/Y"), labels = golden("quality/labels");
  for (const Dtype dtype : {Dtype::float64, Dtype::float32}) {
    CHECK(knn_accuracy(y.to(dtype), labels, 10) == doctest::Approx(0.63).epsilon(1e-12));
    CHECK(knn_accuracy(first_rows(y, 0, 150).to(dtype), first_rows(labels, 0, 150),
                       first_rows(y, 150, 200).to(dtype), first_rows(labels, 150, 200),
                       10) == doctest::Approx(0.58).epsilon(1e-12));
  }
}

TEST_CASE("equally frequent labels: the smaller one wins") {
  const Tensor base = Tensor::of({{0}, {1}, {10}, {11}});
  const Tensor labels = Tensor::from<std::int64_t>({7, 3, 9, 9});
  const Tensor query = Tensor::of({{0.4}});
  CHECK(knn_accuracy(base, labels, query, Tensor::from<std::int64_t>({3}), 2) == 1);
  CHECK(knn_accuracy(base, labels, query, Tensor::from<std::int64_t>({7}), 1) == 1);
  CHECK(knn_accuracy(base, labels, 1) == 0.5);
}

TEST_CASE("silhouette equals scikit-learn's") {
  const Tensor y = golden("quality/Y"), labels = golden("quality/labels");
  CHECK(silhouette(y, labels) == doctest::Approx(0.12239158804431943).epsilon(1e-12));
  CHECK(silhouette(y.to(Dtype::float32), labels) == doctest::Approx(0.12239158804431943).epsilon(1e-6));
  const std::vector<double> samples = golden("quality/silhouette_samples").to_vector<double>();
  CHECK(silhouette(y, labels) ==
        doctest::Approx(std::accumulate(samples.begin(), samples.end(), 0.0) / 200).epsilon(1e-12));
}

TEST_CASE("silhouette of small sets") {
  // Two classes of two: a = 1, b = mean of 9.5 and 10.5 around each.
  const Tensor y = Tensor::of({{0}, {1}, {10}, {11}});
  const Tensor labels = Tensor::from<std::int64_t>({5, 5, -2, -2});
  const double outer = 1 - 1 / 10.5, inner = 1 - 1 / 9.5;
  CHECK(silhouette(y, labels) == doctest::Approx((outer + inner) / 2).epsilon(1e-12));
  // A class of one counts 0; equal points count 0.
  CHECK(silhouette(Tensor::of({{0}, {0}, {5}}), Tensor::from<std::int64_t>({0, 0, 1})) ==
        doctest::Approx(2.0 / 3).epsilon(1e-12));
  CHECK(silhouette(Tensor::zeros({4, 2}), labels) == 0);
}

TEST_CASE("accuracy") {
  const Tensor scores = Tensor::of({{1, 3, 2}, {0, 0, 0}, {-1, -2, -0.5}});
  CHECK(accuracy(scores, Tensor::from<std::int64_t>({1, 0, 2})) == 1);
  CHECK(accuracy(scores, Tensor::from<std::int32_t>({1, 2, 0})) == doctest::Approx(1.0 / 3));
}

TEST_CASE("any number of threads gives the same bits") {
  const Tensor x = random_points(600, 20, 7), y = random_points(600, 2, 8);
  std::vector<std::int64_t> classes;
  for (int i = 0; i < 600; ++i) classes.push_back(i % 7);
  const Tensor labels = Tensor::from(classes);
  const auto all = [&] {
    return std::vector<double>{trustworthiness(x, y), continuity(x, y), knn_accuracy(y, labels),
                               silhouette(y, labels)};
  };
  const std::vector<double> expected = all();
  for (const int threads : {1, 2, 3, 8}) {
    kernels::Exec exec(Device::cpu, threads);
    const ExecScope scope(exec);
    CHECK(all() == expected);
  }
}

TEST_CASE("metrics of tensors that lie on a device, on every device") {
  const Tensor x = random_points(300, 9, 7), y = random_points(300, 2, 8);
  std::vector<std::int64_t> classes;
  for (int i = 0; i < 300; ++i) classes.push_back(i % 7);
  const Tensor labels = Tensor::from(classes);
  for (const Device device : test::devices()) {
    CAPTURE(name(device));
    const Tensor dx = x.to(device), dy = y.to(device), there = labels.to(device);
    CHECK(trustworthiness(dx, dy) == trustworthiness(x, y));
    CHECK(continuity(dx.to(Dtype::float32), dy) == continuity(x.to(Dtype::float32), y));
    CHECK(trustworthiness(x, dy) == trustworthiness(x, y));
    CHECK(knn_accuracy(dy, there) == knn_accuracy(y, labels));
    CHECK(knn_accuracy(dx, there, dx, labels, 3) == knn_accuracy(x, labels, x, labels, 3));
    CHECK(silhouette(dy, there) == silhouette(y, labels));
    CHECK(accuracy(dx, there) == accuracy(x, labels));
    std::vector<double> values = y.to_vector<double>();
    values[5] = NAN;
    const Tensor bad = Tensor::from(values, {300, 2}).to(device);
    CHECK(contains(error_of([&] { trustworthiness(dx, bad, 3); }),
                   "y has NaN or infinity, first at row 2, column 1"));
  }
}

TEST_CASE("errors say who, what and what to do") {
  const Tensor x = random_points(20, 3, 1), y = random_points(20, 2, 2);
  const Tensor labels = Tensor::from(std::vector<std::int64_t>(20, 1));
  CHECK(contains(error_of([&] { trustworthiness(x, y, 10); }),
                 "trustworthiness: k = 10 neighbours need more than 20 items but there are 20"));
  CHECK(contains(error_of([&] { continuity(x, y, 0); }), "continuity: k = 0"));
  CHECK(contains(error_of([&] { trustworthiness(x, first_rows(y, 0, 19), 3); }),
                 "x has 20 items but y has 19"));
  CHECK(contains(error_of([&] { trustworthiness(labels, y, 3); }), "x must be a (N, D) tensor"));
  CHECK(contains(error_of([&] { trustworthiness(Tensor(), y, 3); }), "x must be a (N, D) tensor"));
  std::vector<double> values = y.to_vector<double>();
  values[5] = NAN;
  CHECK(contains(error_of([&] {
                   trustworthiness(x, Tensor::from(values, {20, 2}), 3);
                 }),
                 "y has NaN or infinity, first at row 2, column 1"));
  CHECK(contains(error_of([&] { knn_accuracy(y, labels, 20); }),
                 "knn_accuracy: k = 20 neighbours need more than 20"));
  CHECK(contains(error_of([&] { knn_accuracy(y, first_rows(labels, 0, 3), 2); }), "20 items but 3 labels"));
  const std::string kind = "the labels must be a vector of class numbers (int64 or int32)";
  CHECK(contains(error_of([&] { knn_accuracy(y, y, 2); }), kind));
  CHECK(contains(error_of([&] { accuracy(y, Tensor::zeros({y.size(0), 1}, Dtype::int64)); }), kind));
  CHECK(contains(error_of([&] { knn_accuracy(y, labels, x, labels, 3); }), "columns and types must match"));
  CHECK(contains(error_of([&] { knn_accuracy(y, labels, y, labels, 21); }), "base has 20 items"));
  CHECK(contains(error_of([&] { silhouette(y, labels); }), "silhouette: 1 different labels among 20 items"));
  CHECK(contains(error_of([&] { silhouette(y, Tensor::arange(20)); }), "20 different labels among 20 items"));
  CHECK(contains(error_of([&] { accuracy(y, Tensor::full({20}, 2, Dtype::int64)); }),
                 "label 2 of item 0 is none of the 2 classes"));
}
