#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/matmul_reference.h"

#include <doctest/doctest.h>
#include <flatland/kernels/gather.h>
#include <flatland/kernels/random.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

using namespace flatland;
using kernels::Exec;
using kernels::MatView;
using test::Guarded;

namespace {

template <class T>
Guarded<T> random_matrix(std::int64_t rows, std::int64_t cols, unsigned seed) {
  Guarded<T> m(rows, cols);
  m.fill_normal(seed);
  return m;
}

template <class T>
bool same_values(Guarded<T>& a, Guarded<T>& b) {
  bool same = true;
  for (std::int64_t i = 0; i < a.rows; ++i)
    for (std::int64_t j = 0; j < a.cols; ++j) same = same && a(i, j) == b(i, j);
  return same;
}

std::vector<std::int64_t> random_index(std::int64_t n, std::int64_t rows) {
  std::vector<std::int64_t> index(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < index.size(); ++i) {
    index[i] =
        static_cast<std::int64_t>(kernels::RandomStream{3, 4}.below(i, static_cast<std::uint64_t>(rows)));
  }
  return index;
}

}  // namespace

TEST_CASE_TEMPLATE("gather_rows copies rows and nothing else", T, float, double) {
  for (const std::int64_t cols : {0, 1, 2, 15, 16, 17, 100, 784}) {
    for (const std::int64_t n : {0, 1, 5, 333}) {
      Guarded<T> x = random_matrix<T>(50, cols, 1);
      const std::vector<std::int64_t> index = random_index(n, 50);
      for (const int threads : {1, 2, 3, 8}) {
        Guarded<T> y(n, cols);
        kernels::gather_rows<T>(Exec(Device::cpu, threads), x.view(), index, y.view());
        bool equal = y.guards_intact();
        for (std::int64_t i = 0; i < n; ++i)
          for (std::int64_t j = 0; j < cols; ++j)
            equal = equal && y(i, j) == x(index[static_cast<std::size_t>(i)], j);
        CAPTURE(cols);
        CAPTURE(n);
        CHECK(equal);
      }
    }
  }
}

TEST_CASE_TEMPLATE("gather_rows takes integers", T, std::int32_t, std::int64_t) {
  const std::vector<T> x{1, 2, 3, 4, 5, 6};
  const std::vector<std::int64_t> index{2, 0, 2};
  std::vector<T> y(6);
  kernels::gather_rows<T>(Exec(), MatView<const T>(x.data(), 3, 2), index, MatView<T>(y.data(), 3, 2));
  CHECK(y == std::vector<T>{5, 6, 1, 2, 5, 6});
}

TEST_CASE_TEMPLATE("scatter_add_rows adds repeated indices in order", T, float, double) {
  for (const std::int64_t cols : {0, 1, 2, 63, 64, 65, 200}) {
    for (const std::int64_t n : {0, 1, 7, 500}) {
      Guarded<T> y = random_matrix<T>(n, cols, 2);
      const std::vector<std::int64_t> index = random_index(n, 20);
      Guarded<T> want = random_matrix<T>(20, cols, 3);
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < cols; ++j) want(index[static_cast<std::size_t>(i)], j) += y(i, j);
      for (const int threads : {1, 2, 3, 8}) {
        Guarded<T> x = random_matrix<T>(20, cols, 3);
        kernels::scatter_add_rows<T>(Exec(Device::cpu, threads), y.view(), index, x.view());
        CAPTURE(cols);
        CAPTURE(n);
        CHECK(same_values(x, want));
        CHECK(x.guards_intact());
      }
    }
  }
}

TEST_CASE_TEMPLATE("gather_rows and scatter_add_rows do the same on every device", T, float, double) {
  for (const Device device : test::devices())
    for (const std::int64_t cols : {0, 1, 2, 3, 4, 31, 32, 33, 128, 129, 200})
      for (const std::int64_t n : {0, 1, 31, 33, 500})
        for (const std::int64_t gap : {0, 3, 4}) {
          const Exec exec(device);
          Guarded<T> x(20, cols, gap), y(n, cols, gap);
          x.fill_normal(3);
          y.fill_normal(2);
          std::vector<std::int64_t> index = random_index(n, 20);
          Guarded<T> gathered = y, scattered = x;
          {
            const test::Mirror dx(exec, x.block), dy(exec, y.block), dg(exec, gathered.block),
                ds(exec, scattered.block);
            const test::Mirror di(exec, index);
            kernels::gather_rows<T>(exec, dx.view(x.view()), di.span(), dg.view(gathered.view()));
            kernels::scatter_add_rows<T>(exec, dy.view(y.view()), di.span(), ds.view(scattered.view()));
          }
          CAPTURE(cols);
          CAPTURE(n);
          CHECK(gathered.guards_intact());
          CHECK(scattered.guards_intact());
          Guarded<T> want = x;
          bool equal = true;
          for (std::int64_t i = 0; i < n; ++i)
            for (std::int64_t j = 0; j < cols; ++j) {
              const std::int64_t row = index[static_cast<std::size_t>(i)];
              equal = equal && gathered(i, j) == x(row, j);
              want(row, j) += y(i, j);
            }
          CHECK(equal);
          CHECK(same_values(scattered, want));
        }
}

TEST_CASE("scatter_add_rows of equal and of very many rows on every device") {
  for (const Device device : test::devices())
    for (const auto& [n, rows] : {std::pair<std::int64_t, std::int64_t>{100, 1},
                                  {100, 2},
                                  {8192, 300},
                                  {8193, 300},
                                  {20000, 1},
                                  {20000, 70000}}) {
      const Exec exec(device);
      Guarded<float> x(rows, 2), y(n, 2);
      x.fill_normal(3);
      y.fill_normal(2);
      std::vector<std::int64_t> index = random_index(n, rows);
      Guarded<float> want = x;
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < 2; ++j) want(index[static_cast<std::size_t>(i)], j) += y(i, j);
      {
        const test::Mirror dx(exec, x.block), dy(exec, y.block);
        const test::Mirror di(exec, index);
        kernels::scatter_add_rows<float>(exec, dy.view(y.view()), di.span(), dx.view(x.view()));
      }
      CHECK(same_values(x, want));
      CHECK(x.guards_intact());
    }
}

TEST_CASE("gather_rows of very many rows on every device") {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    constexpr std::int64_t n = 1'100'000;
    Guarded<float> x(7, 1, 0), y(n, 1, 0);
    x.fill_normal(3);
    std::vector<std::int64_t> index = random_index(n, 7);
    {
      const test::Mirror dx(exec, x.block), dy(exec, y.block);
      const test::Mirror di(exec, index);
      kernels::gather_rows<float>(exec, dx.view(x.view()), di.span(), dy.view(y.view()));
    }
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < n; ++i) wrong += y(i, 0) != x(index[static_cast<std::size_t>(i)], 0);
    CHECK(wrong == 0);
    CHECK(y.guards_intact());
  }
}

TEST_CASE("indices out of range give zeros and add nothing on every device that does not name them") {
  for (const Device device : test::devices()) {
    if (device == Device::cpu) continue;  // Error, see below
    for (const std::int64_t n : {4, 9000}) {
      const Exec exec(device);
      Guarded<float> x(3, 2), y(n, 2), gathered(n, 2);
      x.fill_normal(1);
      y.fill_normal(2);
      std::vector<std::int64_t> index;
      Guarded<float> want = x;
      const std::int64_t any[] = {0, -1, 3, 2, std::int64_t{1} << 40};
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t row = any[i % 5];
        index.push_back(row);
        for (std::int64_t j = 0; j < 2 && row >= 0 && row < 3; ++j) want(row, j) += y(i, j);
      }
      Guarded<float> scattered = x;
      {
        const test::Mirror dx(exec, x.block), dy(exec, y.block), dg(exec, gathered.block),
            ds(exec, scattered.block);
        const test::Mirror di(exec, index);
        kernels::gather_rows<float>(exec, dx.view(x.view()), di.span(), dg.view(gathered.view()));
        kernels::scatter_add_rows<float>(exec, dy.view(y.view()), di.span(), ds.view(scattered.view()));
      }
      bool equal = true;
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < 2; ++j) {
          const std::int64_t row = index[static_cast<std::size_t>(i)];
          equal = equal && gathered(i, j) == (row >= 0 && row < 3 ? x(row, j) : 0.f);
        }
      CHECK(equal);
      CHECK(same_values(scattered, want));
      CHECK((gathered.guards_intact() && scattered.guards_intact()));
    }
  }
}

TEST_CASE_TEMPLATE("renormalize_rows shortens the rows that are looked up, once, on every device", T, float,
                   double) {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    for (const std::int64_t rows : {1, 7, 33, 100})
      for (const std::int64_t cols : {1, 2, 31, 33, 100})
        for (const std::int64_t n : {0, 1, 31, 33, 200}) {
          Guarded<T> x = random_matrix<T>(rows, cols, 1), before = x;
          std::vector<std::int64_t> index = random_index(n, rows);
          const double max_norm = 0.5 * std::sqrt(static_cast<double>(cols));
          {
            const test::Mirror mx(exec, x.block);
            const test::Mirror mi(exec, index);
            kernels::renormalize_rows<T>(exec, max_norm, mi.span(), mx.view(x.view()));
          }
          bool right = x.guards_intact();
          for (std::int64_t i = 0; i < rows; ++i) {
            long double squares = 0;
            for (std::int64_t j = 0; j < cols; ++j)
              squares += static_cast<long double>(before(i, j)) * static_cast<long double>(before(i, j));
            const double norm = static_cast<double>(std::sqrt(squares));
            const bool used = std::find(index.begin(), index.end(), i) != index.end();
            const double factor = used && norm > max_norm ? max_norm / (norm + 1e-7) : 1;
            for (std::int64_t j = 0; j < cols; ++j) {
              const double want = static_cast<double>(before(i, j)) * factor;
              right =
                  right && std::abs(static_cast<double>(x(i, j)) - want) <=
                               8 * static_cast<double>(std::numeric_limits<T>::epsilon()) * std::abs(want);
            }
          }
          INFO(rows, " x ", cols, ", ", n, " looked up");
          CHECK(right);
        }
  }
  Guarded<T> x(2, 2);
  x.fill_normal(1);
  CHECK(test::contains(test::error_of([&] {
                         kernels::renormalize_rows<T>(Exec(), 1, std::vector<std::int64_t>{0, 2}, x.view());
                       }),
                       "renormalize_rows: index[1] is 2"));
  CHECK(test::contains(test::error_of([&] { kernels::renormalize_rows<T>(Exec(), 0, {}, x.view()); }),
                       "max_norm is 0"));
}

TEST_CASE("gather and scatter are each other's transpose") {
  const std::vector<std::int64_t> index = random_index(40, 9);
  Guarded<double> x = random_matrix<double>(9, 5, 1), y = random_matrix<double>(40, 5, 2);
  Guarded<double> gathered(40, 5), scattered(9, 5);
  for (std::int64_t i = 0; i < 9; ++i)
    for (std::int64_t j = 0; j < 5; ++j) scattered(i, j) = 0;
  kernels::gather_rows<double>(Exec(), x.view(), index, gathered.view());
  kernels::scatter_add_rows<double>(Exec(), y.view(), index, scattered.view());
  double left = 0, right = 0;
  for (std::int64_t j = 0; j < 5; ++j) {
    for (std::int64_t i = 0; i < 40; ++i) left += gathered(i, j) * y(i, j);
    for (std::int64_t i = 0; i < 9; ++i) right += scattered(i, j) * x(i, j);
  }
  CHECK(left == doctest::Approx(right).epsilon(1e-13));
}

TEST_CASE("gather_rows and scatter_add_rows name the bad index and leave the output alone") {
  Guarded<float> x = random_matrix<float>(3, 2, 1);
  Guarded<float> y = random_matrix<float>(4, 2, 2);
  Guarded<float> before_x = x, before_y = y;
  for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{3}}) {
    const std::vector<std::int64_t> index{0, 2, bad, 1};
    const std::string want = "index[2] is " + std::to_string(bad) + " but there are 3 rows";
    CHECK(test::contains(
        test::error_of([&] { kernels::gather_rows<float>(Exec(), x.view(), index, y.view()); }), want));
    CHECK(test::contains(
        test::error_of([&] { kernels::scatter_add_rows<float>(Exec(), y.view(), index, x.view()); }), want));
  }
  CHECK(same_values(x, before_x));
  CHECK(same_values(y, before_y));
  const std::vector<std::int64_t> short_index{0};
  CHECK(test::contains(
      test::error_of([&] { kernels::gather_rows<float>(Exec(), x.view(), short_index, y.view()); }),
      "y must be (1, 2)"));
}
