#include "tests/support/devices.h"
#include "tests/support/errors.h"

#include <doctest/doctest.h>
#include <flatland/kernels/random.h>
#include <flatland/kernels/random_formulas.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

using namespace flatland;
using kernels::Exec;
using kernels::RandomBits;
using kernels::RandomStream;

namespace {

const std::vector<std::int64_t> k_counts{0, 1, 2, 3, 7, 8, 9, 100, 1023, 1024, 1025, 8191, 8192, 8193, 50000};

void check_words(const RandomBits& got, const RandomBits& want) {
  for (int k = 0; k < 4; ++k) CHECK(got[k] == want[k]);
}

// The permutation by its definition.
std::vector<std::int64_t> reference_permutation(RandomStream random, std::int64_t n, std::uint64_t first) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return random.bits64(first + static_cast<std::uint64_t>(a)) <
           random.bits64(first + static_cast<std::uint64_t>(b));
  });
  return order;
}

std::vector<std::int64_t> permutation(const Exec& exec, RandomStream random, std::int64_t n,
                                      std::uint64_t first = 0) {
  std::vector<std::int64_t> p(static_cast<std::size_t>(n), -1);
  kernels::random_permutation(exec, random, p, first);
  return p;
}

template <class T>
double mean_power(const std::vector<T>& y, double center, int power) {
  double total = 0;
  for (const T v : y) total += std::pow(static_cast<double>(v) - center, power);
  return total / static_cast<double>(y.size());
}

}  // namespace

TEST_CASE("philox gives Random123's known answers") {  // kat_vectors of Random123 1.14, philox4x32 10
  check_words(kernels::philox4x32({{0, 0, 0, 0}}, 0, 0), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  const std::uint32_t ones = 0xffffffff;
  check_words(kernels::philox4x32({{ones, ones, ones, ones}}, ones, ones),
              {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  check_words(kernels::philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0),
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
  // Random123's third vector, seen as seed, stream and index.
  check_words(RandomStream{0x299f31d0a4093822, 0x0370734413198a2e}.bits(0x85a308d3243f6a88),
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE("streams and seeds are told apart") {
  CHECK(RandomStream{1, 2}.bits64(3) != RandomStream{1, 3}.bits64(3));
  CHECK(RandomStream{1, 2}.bits64(3) != RandomStream{2, 2}.bits64(3));
  CHECK(RandomStream{1, 2}.bits64(3) != RandomStream{1, 2}.bits64(4));
  CHECK(RandomStream{1, 2}.bits64(3) != RandomStream{1, 2}.bits64(3 + (std::uint64_t{1} << 32)));
}

TEST_CASE("below stays in range and is uniform (chi-square)") {
  const RandomStream random{42, 7};
  for (const std::uint64_t n : {1u, 2u, 7u, 10u, 64u, 1000u}) {
    std::vector<int> counts(n, 0);
    const int draws = 100000;
    for (int i = 0; i < draws; ++i) {
      const std::uint64_t k = random.below(static_cast<std::uint64_t>(i), n);
      REQUIRE(k < n);
      ++counts[k];
    }
    const double expected = draws / static_cast<double>(n);
    double chi2 = 0;
    for (const int c : counts) chi2 += (c - expected) * (c - expected) / expected;
    const double freedom = static_cast<double>(n) - 1;
    CAPTURE(n);
    CHECK(chi2 <= freedom + 5 * std::sqrt(2 * freedom));
  }
  // The high half of the product, to the bit.
  const std::uint64_t n = 0xfedcba9876543211;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    __extension__ using Wide = unsigned __int128;
    CHECK(random.below(i, n) == static_cast<std::uint64_t>((Wide{random.bits64(i)} * n) >> 64));
  }
}

TEST_CASE_TEMPLATE("fill_uniform gives the scalar draws, for any number of threads", T, float, double) {
  const RandomStream random{5, 6};
  for (const std::int64_t n : k_counts) {
    for (const int threads : {1, 2, 3, 8}) {
      const Exec exec(Device::cpu, threads);
      std::vector<T> y(static_cast<std::size_t>(n) + 2, T(99));
      const std::uint64_t first = (std::uint64_t{1} << 32) - 5;  // carries into the second counter word
      kernels::fill_uniform<T>(exec, random, -2, 3, std::span(y).subspan(1, static_cast<std::size_t>(n)),
                               first);
      bool equal = y.front() == 99 && y.back() == 99;
      for (std::int64_t i = 0; i < n; ++i) {
        const double u = random.uniform(first + static_cast<std::uint64_t>(i));
        equal = equal && y[static_cast<std::size_t>(i + 1)] == static_cast<T>(-2 + 5 * u);
      }
      CAPTURE(n);
      CHECK(equal);
    }
  }
}

TEST_CASE("uniform numbers have the moments of the uniform distribution") {
  std::vector<double> y(1000000);
  kernels::fill_uniform<double>(Exec(), {1, 1}, 0, 1, y);
  for (const double v : y) {
    if (!(v >= 0 && v < 1)) FAIL("outside [0, 1): ", v);
  }
  // Standard errors of the mean powers are below 3e-4 / power; five of them.
  CHECK(std::abs(mean_power(y, 0, 1) - 0.5) < 5 * 2.9e-4);
  CHECK(std::abs(mean_power(y, 0.5, 2) - 1.0 / 12) < 5 * 7.5e-5);
  double lag = 0;
  for (std::size_t i = 1; i < y.size(); ++i) lag += (y[i] - 0.5) * (y[i - 1] - 0.5);
  CHECK(std::abs(lag / 1e6) < 5 * 8.4e-5);
}

TEST_CASE_TEMPLATE("fill_normal gives Box-Muller's values, for any number of threads", T, float, double) {
  const RandomStream random{8, 9};
  for (const std::int64_t n : k_counts) {
    std::vector<T> once;
    for (const int threads : {1, 2, 3, 8}) {
      std::vector<T> y(static_cast<std::size_t>(n), T(99));
      kernels::fill_normal<T>(Exec(Device::cpu, threads), random, 1, 2, y, 11);
      if (threads == 1) once = y;
      CHECK(y == once);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const RandomBits bits = random.bits(static_cast<std::uint64_t>(i + 11));
      const double u = 1 - kernels::uniform_of(std::uint64_t{bits[1]} << 32 | bits[0]);
      const double v = kernels::uniform_of(std::uint64_t{bits[3]} << 32 | bits[2]);
      const long double turn = std::cos(2 * std::numbers::pi_v<long double> * v);
      const long double want = 1 + 2 * std::sqrt(-2 * std::log(static_cast<long double>(u))) * turn;
      const double got = static_cast<double>(once[static_cast<std::size_t>(i)]);
      if (!(std::abs(got - want) <= 10 * static_cast<double>(std::numeric_limits<T>::epsilon()))) {
        FAIL("value ", i, " is ", got, ", want ", want);
      }
      // Vectors give the bits of the scalar formula.
      if (got != static_cast<double>(static_cast<T>(1 + 2 * kernels::box_muller(u, v)))) {
        FAIL("value ", i, " of ", n, " differs from the scalar formula");
      }
    }
  }
}

TEST_CASE("normal numbers have the moments of the normal distribution") {
  std::vector<double> y(1000000);
  kernels::fill_normal<double>(Exec(), {1, 2}, 0, 1, y);
  CHECK(std::abs(mean_power(y, 0, 1)) < 5e-3);
  CHECK(std::abs(mean_power(y, 0, 2) - 1) < 5 * 1.5e-3);
  CHECK(std::abs(mean_power(y, 0, 3)) < 5 * 3.9e-3);
  CHECK(std::abs(mean_power(y, 0, 4) - 3) < 5 * 9.8e-3);
  const auto beyond = std::count_if(y.begin(), y.end(), [](double v) { return std::abs(v) > 1.959964; });
  CHECK(std::abs(static_cast<double>(beyond) - 50000) < 5 * 218);
}

TEST_CASE("box_muller at the corners") {
  CHECK(kernels::box_muller(1.0, 0.3) == 0);
  CHECK(kernels::box_muller(0x1p-53, 0.0) == doctest::Approx(std::sqrt(2 * 53 * std::numbers::ln2)));
  for (const double v : {0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1 - 0x1p-53, 0x1p-53}) {
    CAPTURE(v);
    const double got = kernels::detail::cos_turns(v), want = std::cos(2 * std::numbers::pi * v);
    CHECK(std::abs(got - want) < 3e-16);
  }
  CHECK(kernels::detail::cos_turns(0.25) == 0);
  CHECK(kernels::detail::cos_turns(0.5) == -1);
}

TEST_CASE("random_permutation sorts positions by their draws") {
  for (const std::int64_t n : k_counts) {
    const RandomStream random{static_cast<std::uint64_t>(n), 3};
    const std::vector<std::int64_t> want = reference_permutation(random, n, 17);
    for (const int threads : {1, 2, 3, 8}) {
      CAPTURE(n);
      CHECK(permutation(Exec(Device::cpu, threads), random, n, 17) == want);
    }
  }
}

TEST_CASE("random_permutation tells draws apart that agree in their leading bits") {
  // Positions 132901 and 42682 share the leading 46 bits, all that stands beside 18 bits of position in a
  // word; the later bits put the later position first (found by searching over seeds).
  const RandomStream random{3111, 0};
  REQUIRE((random.bits64(132901) >> 18) == (random.bits64(42682) >> 18));
  REQUIRE(random.bits64(132901) < random.bits64(42682));
  const auto p = permutation(Exec(), random, 1 << 18);
  const auto at = std::find(p.begin(), p.end() - 1, 132901);
  CHECK(*(at + 1) == 42682);
}

TEST_CASE("random_permutation moves every item everywhere (chi-square)") {
  const Exec exec;
  const int n = 8, rounds = 20000;
  std::vector<int> counts(n * n, 0);
  for (int r = 0; r < rounds; ++r) {
    const auto p = permutation(exec, {9, static_cast<std::uint64_t>(r)}, n);
    for (int i = 0; i < n; ++i) ++counts[static_cast<std::size_t>(i * n + p[static_cast<std::size_t>(i)])];
  }
  double chi2 = 0;
  for (const int c : counts) chi2 += (c - rounds / 8.0) * (c - rounds / 8.0) / (rounds / 8.0);
  const double freedom = (n - 1) * (n - 1);
  CHECK(chi2 < freedom + 5 * std::sqrt(2 * freedom));
}

TEST_CASE_TEMPLATE("random numbers have the same bits on every device", T, float, double) {
  const RandomStream random{8, 9};
  const std::uint64_t first = (std::uint64_t{1} << 32) - 5;  // carries into the second counter word
  for (const Device device : test::devices())
    for (const std::int64_t n : k_counts) {
      const Exec exec(device);
      std::vector<T> uniform(static_cast<std::size_t>(n) + 2, T(99)), normal = uniform;
      {
        const test::Mirror du(exec, uniform), dn(exec, normal);
        const auto inside = [n](std::span<T> all) { return all.subspan(1, static_cast<std::size_t>(n)); };
        kernels::fill_uniform<T>(exec, random, -2, 3, inside(du.span()), first);
        kernels::fill_normal<T>(exec, random, 1, 2, inside(dn.span()), first);
      }
      std::vector<T> want_uniform{T(99)}, want_normal{T(99)};
      for (std::uint64_t i = first; i < first + static_cast<std::uint64_t>(n); ++i) {
        want_uniform.push_back(static_cast<T>(-2 + 5 * random.uniform(i)));
        want_normal.push_back(static_cast<T>(1 + 2 * kernels::normal_of(random.bits(i))));
      }
      want_uniform.push_back(T(99));
      want_normal.push_back(T(99));
      CAPTURE(n);
      CHECK(uniform == want_uniform);
      CHECK(normal == want_normal);
    }
}

TEST_CASE("random_permutation sorts positions by their draws on every device") {
  for (const Device device : test::devices())
    for (const std::int64_t n : {0,    1,    2,    3,    31,   32,   33,   255,  256,   257,
                                 1000, 2047, 2048, 2049, 4097, 8191, 8192, 8193, 16385, 70000}) {
      const Exec exec(device);
      const RandomStream random{static_cast<std::uint64_t>(n), 3};
      std::vector<std::int64_t> p(static_cast<std::size_t>(n) + 1, -1);
      {
        const test::Mirror dp(exec, p);
        kernels::random_permutation(exec, random, dp.span().first(static_cast<std::size_t>(n)), 17);
      }
      CHECK(p.back() == -1);
      p.pop_back();
      CAPTURE(n);
      CHECK(p == reference_permutation(random, n, 17));
    }
}

TEST_CASE("random fills name a bad range") {
  const Exec exec;
  std::vector<float> y(3);
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(test::contains(test::error_of([&] { kernels::fill_uniform<float>(exec, {}, 0, inf, y); }),
                       "fill_uniform: the range is 0 to inf"));
  CHECK(test::contains(test::error_of([&] { kernels::fill_normal<float>(exec, {}, 0, -1, y); }),
                       "fill_normal: mean 0 and deviation -1"));
}
