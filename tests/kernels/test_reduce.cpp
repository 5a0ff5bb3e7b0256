#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/matmul_reference.h"
#include "tests/support/relation_reference.h"

#include <doctest/doctest.h>
#include <flatland/kernels/reduce.h>

#include <cmath>
#include <limits>
#include <span>
#include <vector>

using namespace flatland;
using kernels::Exec;
using kernels::MatView;
using test::Guarded;

namespace {

struct Shape {
  std::int64_t rows, cols;
};
// Below, at and past the edges of lanes, of 128 columns, of 512 rows and of 16384 values.
const std::vector<Shape> k_shapes{{1, 1},     {1, 31},    {1, 32},   {1, 33},    {3, 7},
                                  {500, 100}, {511, 128}, {512, 5},  {513, 129}, {1, 16384},
                                  {1, 16385}, {40000, 2}, {4, 5000}, {1030, 257}};

template <class T>
Guarded<T> random_matrix(Shape shape, unsigned seed, double offset = 0) {
  Guarded<T> m(shape.rows, shape.cols);
  m.fill_normal(seed);
  for (std::int64_t i = 0; i < shape.rows; ++i)
    for (std::int64_t j = 0; j < shape.cols; ++j)
      m(i, j) = static_cast<T>(static_cast<double>(m(i, j)) + offset);
  return m;
}
// The same values without gaps.
template <class T>
Guarded<T> packed(Guarded<T>& m) {
  Guarded<T> p(m.rows, m.cols, 0);
  for (std::int64_t i = 0; i < m.rows; ++i)
    for (std::int64_t j = 0; j < m.cols; ++j) p(i, j) = m(i, j);
  return p;
}
template <class T>
MatView<const T> in(Guarded<T>& m) {
  return m.view();
}

// Rounding to T, and n additions in double.
template <class T>
double tolerance(std::int64_t n) {
  return std::max(static_cast<double>(std::numeric_limits<T>::epsilon()), 1e-16 * static_cast<double>(n));
}

}  // namespace

TEST_CASE_TEMPLATE("sum adds all values, with gaps and without", T, float, double) {
  for (const Shape shape : k_shapes) {
    Guarded<T> x = random_matrix<T>(shape, 1), dense = packed(x);
    long double total = 0, size = 0;
    for (std::int64_t i = 0; i < shape.rows; ++i)
      for (std::int64_t j = 0; j < shape.cols; ++j) {
        total += x(i, j);
        size += std::abs(x(i, j));
      }
    const T got = kernels::sum<T>(Exec(), in(dense));
    CAPTURE(shape.rows);
    CAPTURE(shape.cols);
    CHECK(std::abs(static_cast<double>(got - total)) <=
          static_cast<double>(size) * 1e-15 +
              std::abs(static_cast<double>(total)) * static_cast<double>(std::numeric_limits<T>::epsilon()));
    CHECK(std::abs(kernels::sum<T>(Exec(), in(x)) - got) <=
          std::abs(got) * 2 * std::numeric_limits<T>::epsilon());
    test::check_threads([&](const Exec& exec) { return kernels::sum<T>(exec, in(x)); });
    test::check_threads([&](const Exec& exec) { return kernels::sum<T>(exec, in(dense)); });
  }
  CHECK(kernels::sum<T>(Exec(), MatView<const T>()) == 0);
  CHECK(kernels::sum<T>(Exec(), MatView<const T>(nullptr, 0, 7)) == 0);
}

TEST_CASE("a float sum of many small values keeps them") {
  const std::vector<float> x(10000000, 0.1F);
  const double want = 1e7 * static_cast<double>(0.1F);
  CHECK(kernels::sum<float>(Exec(), {x.data(), 1, std::ssize(x)}) == static_cast<float>(want));
}

TEST_CASE_TEMPLATE("row and column sums", T, float, double) {
  for (const Shape shape : k_shapes) {
    Guarded<T> x = random_matrix<T>(shape, 2);
    std::vector<double> rows(static_cast<std::size_t>(shape.rows)),
        cols(static_cast<std::size_t>(shape.cols));
    for (std::int64_t i = 0; i < shape.rows; ++i)
      for (std::int64_t j = 0; j < shape.cols; ++j) {
        rows[static_cast<std::size_t>(i)] += static_cast<double>(x(i, j));
        cols[static_cast<std::size_t>(j)] += static_cast<double>(x(i, j));
      }
    CAPTURE(shape.rows);
    CAPTURE(shape.cols);
    const auto row_sums = [&](const Exec& exec) {
      std::vector<T> s(rows.size());
      kernels::row_sums<T>(exec, in(x), s);
      return s;
    };
    const auto column_sums = [&](const Exec& exec) {
      std::vector<T> s(cols.size());
      kernels::column_sums<T>(exec, in(x), s);
      return s;
    };
    test::check_close(row_sums(Exec()), rows, tolerance<T>(shape.cols), 2.0 * std::sqrt(shape.cols));
    test::check_close(column_sums(Exec()), cols, tolerance<T>(shape.rows), 2.0 * std::sqrt(shape.rows));
    test::check_threads(row_sums);
    test::check_threads(column_sums);

    std::vector<T> added(cols.size(), T(2));
    kernels::column_sums<T>(Exec(), in(x), added, true);
    for (double& c : cols) c += 2;
    test::check_close(added, cols, tolerance<T>(shape.rows), 2.0 * std::sqrt(shape.rows));
  }
}

TEST_CASE_TEMPLATE("sums of no rows or no columns are zero", T, float, double) {
  std::vector<T> s(3, T(9));
  kernels::column_sums<T>(Exec(), MatView<const T>(nullptr, 0, 3), s);
  CHECK(s == std::vector<T>(3, T(0)));
  s.assign(3, T(9));
  kernels::column_sums<T>(Exec(), MatView<const T>(nullptr, 0, 3), s, true);
  CHECK(s == std::vector<T>(3, T(9)));
  kernels::row_sums<T>(Exec(), MatView<const T>(nullptr, 3, 0), s);
  CHECK(s == std::vector<T>(3, T(0)));
  kernels::column_sums<T>(Exec(), MatView<const T>(nullptr, 3, 0), std::span<T>());
}

TEST_CASE_TEMPLATE("max finds the largest value anywhere, and NaN wins", T, float, double) {
  const T inf = std::numeric_limits<T>::infinity();
  for (const Shape shape : k_shapes) {
    Guarded<T> x = random_matrix<T>(shape, 3, -10);
    CAPTURE(shape.rows);
    CAPTURE(shape.cols);
    for (const std::int64_t at :
         {std::int64_t{0}, shape.rows * shape.cols / 2, shape.rows * shape.cols - 1}) {
      T& value = x(at / shape.cols, at % shape.cols);
      const T before = value;
      for (const T largest : {T(-0.5), inf, std::numeric_limits<T>::quiet_NaN()}) {
        value = largest;
        Guarded<T> dense = packed(x);
        for (const MatView<const T> view : {in(x), in(dense)}) {
          const T got = kernels::max<T>(Exec(Device::cpu, 3), view);
          if (std::isnan(largest)) {
            CHECK(std::isnan(got));
          } else {
            CHECK(got == largest);
          }
        }
      }
      value = before;
    }
  }
  const std::vector<T> lowest(100, -inf);
  CHECK(kernels::max<T>(Exec(), {lowest.data(), 10, 10}) == -inf);
  CHECK(test::contains(test::error_of([] { kernels::max<T>(Exec(), MatView<const T>(nullptr, 0, 4)); }),
                       "max: x is (0, 4)"));
}

TEST_CASE_TEMPLATE("row_argmax takes the first of equals, and NaN as the largest", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  const std::vector<T> x{1, 3, 3, 2, -inf, -inf, -inf, -inf, 5, nan, 9, nan, inf, 1, inf, 0};
  std::vector<std::int64_t> index(4, -1);
  kernels::row_argmax<T>(Exec(), {x.data(), 4, 4}, index);
  CHECK(index == std::vector<std::int64_t>{1, 0, 1, 0});
  for (const Shape shape : k_shapes) {
    Guarded<T> m = random_matrix<T>(shape, 4);
    const auto argmax = [&](const Exec& exec) {
      std::vector<std::int64_t> found(static_cast<std::size_t>(shape.rows));
      kernels::row_argmax<T>(exec, in(m), found);
      return found;
    };
    const auto found = argmax(Exec());
    bool right = true;
    for (std::int64_t i = 0; i < shape.rows; ++i)
      for (std::int64_t j = 0; j < shape.cols; ++j) {
        const std::int64_t best = found[static_cast<std::size_t>(i)];
        right = right && (j < best ? m(i, j) < m(i, best) : m(i, j) <= m(i, best));
      }
    CHECK(right);
    test::check_threads(argmax);
  }
  CHECK(test::contains(
      test::error_of([&] { kernels::row_argmax<T>(Exec(), MatView<const T>(x.data(), 4, 0), index); }),
      "row_argmax: x is (4, 0)"));
}

TEST_CASE_TEMPLATE("column_moments far from zero", T, float, double) {
  for (const Shape shape : k_shapes) {
    for (const int ddof : {0, 1}) {
      if (shape.rows <= ddof) continue;
      Guarded<T> x = random_matrix<T>(shape, 5, 1000);
      std::vector<double> mean, variance;
      for (std::int64_t j = 0; j < shape.cols; ++j) {
        double m = 0, v = 0;
        for (std::int64_t i = 0; i < shape.rows; ++i)
          m += static_cast<double>(x(i, j)) / static_cast<double>(shape.rows);
        for (std::int64_t i = 0; i < shape.rows; ++i) v += std::pow(static_cast<double>(x(i, j)) - m, 2);
        mean.push_back(m);
        variance.push_back(v / static_cast<double>(shape.rows - ddof));
      }
      const auto moments = [&](const Exec& exec) {
        std::vector<T> both(2 * mean.size());
        const std::span<T> all(both);
        kernels::column_moments<T>(exec, in(x), ddof, all.first(mean.size()), all.last(mean.size()));
        return both;
      };
      const std::vector<T> both = moments(Exec());
      const auto half = both.begin() + std::ssize(mean);
      CAPTURE(shape.rows);
      CAPTURE(shape.cols);
      // The reference's own mean is off by some 1e-13.
      test::check_close(std::vector<T>(both.begin(), half), mean, std::max(tolerance<T>(0), 1e-14));
      test::check_close(std::vector<T>(half, both.end()), variance, std::max(tolerance<T>(0), 1e-12), 1e-3);
      test::check_threads(moments);
    }
  }
}

TEST_CASE_TEMPLATE("a constant column has variance zero", T, float, double) {
  const std::vector<T> x(3 * 1001, T(0.1));
  std::vector<T> mean(3), variance(3, T(9));
  kernels::column_moments<T>(Exec(), {x.data(), 1001, 3}, 1, mean, variance);
  CHECK(mean == std::vector<T>(3, T(0.1)));
  CHECK(variance == std::vector<T>(3, T(0)));
  CHECK(test::contains(test::error_of([&] {
                         kernels::column_moments<T>(Exec(), MatView<const T>(x.data(), 1, 3), 1, mean,
                                                    variance);
                       }),
                       "column_moments: 1 rows with ddof 1"));
}

TEST_CASE_TEMPLATE("find_non_finite names the first place and the count", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  for (const Shape shape : k_shapes) {
    Guarded<T> x = random_matrix<T>(shape, 6);
    x(0, 0) = std::numeric_limits<T>::max();
    x(shape.rows - 1, shape.cols - 1) = std::numeric_limits<T>::denorm_min();
    const std::int64_t n = shape.rows * shape.cols;
    const auto check = [&](std::int64_t count, std::int64_t at) {
      Guarded<T> dense = packed(x);
      for (const MatView<const T> view : {in(x), in(dense)}) {
        for (const int threads : {1, 2, 3, 8}) {
          const kernels::NonFinite found = kernels::find_non_finite<T>(Exec(Device::cpu, threads), view);
          CHECK(found.count == count);
          CHECK(found.row == (at < 0 ? -1 : at / shape.cols));
          CHECK(found.col == (at < 0 ? -1 : at % shape.cols));
        }
      }
    };
    CAPTURE(shape.rows);
    CAPTURE(shape.cols);
    check(0, -1);
    x((n - 1) / shape.cols, (n - 1) % shape.cols) = -inf;
    check(1, n - 1);
    if (n < 3) continue;
    x((n / 2) / shape.cols, (n / 2) % shape.cols) = nan;
    check(2, n / 2);
  }
  CHECK(kernels::find_non_finite<T>(Exec(), MatView<const T>()).count == 0);
}

TEST_CASE("reductions name sizes that do not fit") {
  const std::vector<float> x(12);
  std::vector<float> s(5);
  const MatView<const float> m(x.data(), 3, 4);
  CHECK(test::contains(test::error_of([&] { kernels::row_sums<float>(Exec(), m, s); }),
                       "row_sums: s has 5 values"));
  CHECK(test::contains(test::error_of([&] { kernels::column_sums<float>(Exec(), m, s); }),
                       "column_sums: s has 5 values"));
}

namespace {

// More about the edges of blocks, warps and of tiles of 1024 rows.
const std::vector<Shape> k_device_shapes{{1, 1},     {1, 31},    {3, 7},     {5, 8},    {5, 9},
                                         {8, 32},    {9, 33},    {500, 100}, {511, 31}, {1023, 5},
                                         {1024, 32}, {1025, 33}, {4, 5000},  {2, 4097}, {1, 4096},
                                         {1, 4097},  {1, 40000}, {4100, 2},  {3000, 3}, {40, 257}};

}  // namespace

TEST_CASE_TEMPLATE("sums, means and variances on every device", T, float, double) {
  for (const Device device : test::devices())
    for (const Shape shape : k_device_shapes) {
      if (std::is_same_v<T, double> && shape.rows * shape.cols > 10000) continue;
      const Exec exec(device);
      Guarded<T> x = random_matrix<T>(shape, 2, 0.5), dense = packed(x);
      std::vector<double> rows(static_cast<std::size_t>(shape.rows)),
          cols(static_cast<std::size_t>(shape.cols));
      double total = 0;
      for (std::int64_t i = 0; i < shape.rows; ++i)
        for (std::int64_t j = 0; j < shape.cols; ++j) {
          const auto v = static_cast<double>(x(i, j));
          rows[static_cast<std::size_t>(i)] += v;
          cols[static_cast<std::size_t>(j)] += v;
          total += v;
        }
      std::vector<double> added = cols, mean, variance;
      for (double& c : added) c += 2;
      const int ddof = shape.rows > 1;
      for (std::int64_t j = 0; j < shape.cols; ++j) {
        const double m = cols[static_cast<std::size_t>(j)] / static_cast<double>(shape.rows);
        double v = 0;
        for (std::int64_t i = 0; i < shape.rows; ++i) v += std::pow(static_cast<double>(x(i, j)) - m, 2);
        mean.push_back(m);
        variance.push_back(v / static_cast<double>(shape.rows - ddof));
      }
      std::vector<T> got_rows(rows.size()), got_cols(cols.size()), got_added(cols.size(), T(2)),
          got_mean(cols.size()), got_variance(cols.size());
      T all = 0, all_dense = 0;
      {
        const test::Mirror dx(exec, x.block), ddense(exec, dense.block), drows(exec, got_rows),
            dcols(exec, got_cols), dadded(exec, got_added), dmean(exec, got_mean),
            dvariance(exec, got_variance);
        const MatView<T> view = dx.view(x.view());
        all = kernels::sum<T>(exec, view);
        all_dense = kernels::sum<T>(exec, ddense.view(dense.view()));
        kernels::row_sums<T>(exec, view, drows.span());
        kernels::column_sums<T>(exec, view, dcols.span());
        kernels::column_sums<T>(exec, view, dadded.span(), true);
        kernels::column_moments<T>(exec, view, ddof, dmean.span(), dvariance.span());
      }
      CAPTURE(shape.rows);
      CAPTURE(shape.cols);
      const std::int64_t n = shape.rows * shape.cols;
      const double limit = tolerance<T>(n) * 2 * std::sqrt(n);
      CHECK(std::abs(static_cast<double>(all) - total) <= limit + tolerance<T>(0) * std::abs(total));
      CHECK(std::abs(static_cast<double>(all_dense) - total) <= limit + tolerance<T>(0) * std::abs(total));
      test::check_close(got_rows, rows, tolerance<T>(shape.cols), 2.0 * std::sqrt(shape.cols));
      test::check_close(got_cols, cols, tolerance<T>(shape.rows), 2.0 * std::sqrt(shape.rows));
      test::check_close(got_added, added, tolerance<T>(shape.rows), 2.0 * std::sqrt(shape.rows));
      test::check_close(got_mean, mean, std::max(tolerance<T>(0), 1e-14), 1);
      test::check_close(got_variance, variance, std::max(tolerance<T>(0), 1e-12), 1e-3);
    }
}

TEST_CASE_TEMPLATE("largest values and their places on every device", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (const Device device : test::devices())
    for (const Shape shape : k_device_shapes) {
      const Exec exec(device);
      Guarded<T> x(shape.rows, shape.cols);
      x.fill_integers(4);  // with equal ones
      for (const bool with_nan : {false, true}) {
        const std::int64_t last = shape.rows * shape.cols - 1;
        if (with_nan)
          x(last / 2 / shape.cols, last / 2 % shape.cols) = x(shape.rows - 1, shape.cols - 1) = nan;
        std::vector<std::int64_t> index(static_cast<std::size_t>(shape.rows), -1), want;
        T largest = 0;
        kernels::NonFinite found;
        {
          const test::Mirror dx(exec, x.block);
          const test::Mirror di(exec, index);
          kernels::row_argmax<T>(exec, dx.view(x.view()), di.span());
          largest = kernels::max<T>(exec, dx.view(x.view()));
          found = kernels::find_non_finite<T>(exec, dx.view(x.view()));
        }
        T top = x(0, 0);
        for (std::int64_t i = 0; i < shape.rows; ++i) {
          std::int64_t best = 0;
          for (std::int64_t j = 0; j < shape.cols; ++j) {
            if (!std::isnan(x(i, best)) && (x(i, j) > x(i, best) || std::isnan(x(i, j)))) best = j;
            top = std::max(top, x(i, j));
          }
          want.push_back(best);
        }
        CAPTURE(shape.rows);
        CAPTURE(shape.cols);
        CHECK(index == want);
        if (with_nan) {
          CHECK(std::isnan(largest));
          CHECK(found.count == (last / 2 == last ? 1 : 2));
          CHECK(found.row * shape.cols + found.col == last / 2);
        } else {
          CHECK(largest == top);
          CHECK((found.count == 0 && found.row == -1 && found.col == -1));
        }
      }
    }
}

TEST_CASE_TEMPLATE("negative values have a largest, and infinities are not finite on every device", T, float,
                   double) {
  const T inf = std::numeric_limits<T>::infinity();
  for (const Device device : test::devices())
    for (const Shape shape : k_device_shapes) {
      const Exec exec(device);
      Guarded<T> x(shape.rows, shape.cols);
      x.fill_integers(4);
      T top = -inf;
      for (std::int64_t i = 0; i < shape.rows; ++i)
        for (std::int64_t j = 0; j < shape.cols; ++j) top = std::max(top, x(i, j) -= 100);
      const auto check = [&](T largest, std::int64_t infinities, std::int64_t first) {
        const test::Mirror dx(exec, x.block);
        CHECK(kernels::max<T>(exec, dx.view(x.view())) == largest);
        const kernels::NonFinite found = kernels::find_non_finite<T>(exec, dx.view(x.view()));
        CHECK(found.count == infinities);
        CHECK((infinities == 0 || found.row * shape.cols + found.col == first));
      };
      CAPTURE(shape.rows);
      CAPTURE(shape.cols);
      check(top, 0, -1);
      const std::int64_t last = shape.rows * shape.cols - 1;
      x(shape.rows - 1, shape.cols - 1) = inf;
      check(inf, 1, last);
      if (last == 0) continue;
      x(0, 0) = -inf;
      check(inf, 2, 0);
    }
}

TEST_CASE_TEMPLATE("sums of nothing are zero on every device", T, float, double) {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    CHECK(kernels::sum<T>(exec, MatView<const T>()) == 0);
    std::vector<T> rows(3, T(9)), cols(3, T(9)), added(3, T(9));
    {
      const test::Mirror drows(exec, rows), dcols(exec, cols), dadded(exec, added);
      kernels::row_sums<T>(exec, MatView<const T>(nullptr, 3, 0), drows.span());
      kernels::column_sums<T>(exec, MatView<const T>(nullptr, 0, 3), dcols.span());
      kernels::column_sums<T>(exec, MatView<const T>(nullptr, 0, 3), dadded.span(), true);
    }
    CHECK(rows == std::vector<T>(3, T(0)));
    CHECK(cols == std::vector<T>(3, T(0)));
    CHECK(added == std::vector<T>(3, T(9)));
  }
}
