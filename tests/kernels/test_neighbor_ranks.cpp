// kernels/neighbor_ranks.h.
#include <flatland/kernels/neighbor_ranks.h>

#include <doctest/doctest.h>
#include <flatland/kernels/knn.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/support/devices.h"
#include "tests/support/errors.h"

using namespace flatland;
using namespace flatland::kernels;

namespace {

template <class T>
struct Case {
  std::int64_t n, d, k;
  std::vector<T> x;  // (N, D + 1), the last column a guard of NaN
  std::vector<std::int32_t> index;

  MatView<const T> view() const { return {x.data(), n, d, d + 1}; }
};

// `levels` > 0: coordinates take so few values that most distances are tied.
template <class T>
Case<T> make_case(std::int64_t n, std::int64_t d, std::int64_t k, int levels) {
  Case<T> c{n, d, k, {}, {}};
  std::mt19937 bits(static_cast<unsigned>(n * 1000 + d));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < d; ++j)
      c.x.push_back(levels > 0 ? static_cast<T>(bits() % static_cast<unsigned>(levels))
                               : static_cast<T>(bits() * 0x1p-32));
    c.x.push_back(std::numeric_limits<T>::quiet_NaN());
    for (std::int64_t a = 0; a < k; ++a)
      c.index.push_back(static_cast<std::int32_t>(
          (i + 1 + static_cast<std::int64_t>(bits() % static_cast<unsigned>(n - 1))) % n));
  }
  return c;
}

template <class T>
std::vector<std::int32_t> ranks_on(const Exec& exec, Case<T> c) {
  constexpr std::int32_t guard = -77;
  std::vector<std::int32_t> rank(static_cast<std::size_t>(c.n * (c.k + 1)), guard);
  {
    const test::Mirror x(exec, c.x);
    const test::Mirror index(exec, c.index), there(exec, rank);
    neighbor_ranks<T>(exec, {x.data(), c.n, c.d, c.d + 1}, {index.data(), c.n, c.k},
                      {there.data(), c.n, c.k, c.k + 1});
  }
  std::vector<std::int32_t> result;
  for (std::int64_t i = 0; i < c.n; ++i) {
    const auto row = rank.begin() + i * (c.k + 1);
    result.insert(result.end(), row, row + c.k);
    CHECK(row[c.k] == guard);
  }
  return result;
}

template <class T>
std::vector<std::int32_t> ranks(const Case<T>& c, int threads = 2) {
  return ranks_on(Exec(Device::cpu, threads), c);
}

template <class T>
std::vector<std::int32_t> ranks_by_counting(const Case<T>& c) {
  const auto d2 = [&](std::int64_t i, std::int64_t j) {
    double sum = 0;
    for (std::int64_t q = 0; q < c.d; ++q)
      sum += std::pow(double(c.view()(i, q)) - double(c.view()(j, q)), 2);
    return sum;
  };
  std::vector<std::int32_t> result;
  for (std::int64_t i = 0; i < c.n; ++i) {
    for (std::int64_t a = 0; a < c.k; ++a) {
      const std::int32_t j = c.index[static_cast<std::size_t>(i * c.k + a)];
      const double own = d2(i, j);
      std::int32_t rank = 1;
      for (std::int64_t l = 0; l < c.n; ++l)
        rank += l != i && l != j && (d2(i, l) < own || (d2(i, l) == own && l < j));
      result.push_back(rank);
    }
  }
  return result;
}

template <class T>
void check_ranks(const Case<T>& c, const std::vector<std::int32_t>& want) {
  for (const Device device : test::devices()) {
    CAPTURE(name(device));
    CAPTURE(c.n);
    CAPTURE(c.d);
    CAPTURE(c.k);
    CHECK(ranks_on(Exec(device, 2), c) == want);
  }
}
template <class T>
void check_ranks(const Case<T>& c) {
  check_ranks(c, ranks_by_counting(c));
}

}  // namespace

TEST_CASE_TEMPLATE("ranks are those of all distances in order, ties by index, on every device", T, float,
                   double) {
  for (const std::int64_t n : {2, 15, 16, 17, 33})
    for (const std::int64_t d : {0, 1, 2, 33})
      for (const int levels : {0, 3}) check_ranks(make_case<T>(n, d, d == 1 ? 1 : 9, levels));
  for (const std::int64_t n : {127, 129, 255, 257}) check_ranks(make_case<T>(n, 33, 9, 0));
  check_ranks(make_case<T>(131, 5, 24, 2));
  check_ranks(make_case<T>(50, 5, 3, 1));  // all equal
}

TEST_CASE("ranks in blocks of 2,048 items on every device") {
  check_ranks(make_case<float>(2049, 1, 1, 0));
}

TEST_CASE("ranks do not depend on where the points lie, nor on their scale, on every device") {
  const Case<double> near = make_case<double>(100, 4, 5, 0);
  const std::vector<std::int32_t> expected = ranks_by_counting(near);
  for (const double scale : {1e-306, 1e-200, 1e-30, 1e30, 1e150, 1e306}) {
    Case<double> c = near;
    for (double& value : c.x) value = (value + 10) * scale;
    check_ranks(c, expected);
  }
  Case<double> c = near;
  c.x[7] = 1e12;  // one point far off must not blur the others
  check_ranks(c);
}

TEST_CASE("what knn finds has the ranks 1, ..., k on every device") {
  for (const int levels : {0, 3})
    for (const Device device : test::devices()) {
      const Exec exec(device, 2);
      Case<float> c = make_case<float>(200, 6, 12, levels);
      for (float& value : c.x) value += 1e4f;  // close to each other for products
      std::vector<float> dist(c.index.size());
      {
        const test::Mirror x(exec, c.x), there(exec, dist);
        const test::Mirror index(exec, c.index);
        knn<float>(exec, metric::euclidean, {x.data(), c.n, c.d, c.d + 1}, c.k, {index.data(), c.n, c.k},
                   {there.data(), c.n, c.k});
      }
      std::vector<std::int32_t> want;
      for (std::size_t at = 0; at < c.index.size(); ++at)
        want.push_back(static_cast<std::int32_t>(at % 12) + 1);
      CHECK(ranks_on(exec, c) == want);
    }
}

TEST_CASE("any number of threads gives the same ranks") {
  const Case<float> c = make_case<float>(300, 6, 4, 5);
  for (const int threads : {1, 2, 3, 8}) CHECK(ranks(c, threads) == ranks(c));
}

TEST_CASE("nothing to rank, and shapes that do not match") {
  CHECK(ranks(Case<float>{0, 3, 2, {}, {}}).empty());
  const Case<float> c = make_case<float>(4, 2, 2, 0);
  std::vector<std::int32_t> rank(8);
  CHECK(test::contains(test::error_of([&] {
                         neighbor_ranks<float>(Exec(), c.view(), {c.index.data(), 3, 2}, {rank.data(), 3, 2});
                       }),
                       "neighbor_ranks: x is (4, 2) but index is (3, 2)"));
  CHECK(test::contains(test::error_of([&] {
                         neighbor_ranks<float>(Exec(), c.view(), {c.index.data(), 4, 2}, {rank.data(), 4, 1});
                       }),
                       "but rank is (4, 1)"));
}
