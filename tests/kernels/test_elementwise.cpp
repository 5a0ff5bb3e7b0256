#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/relation_reference.h"

#include <doctest/doctest.h>
#include <flatland/kernels/elementwise.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

using namespace flatland;
using kernels::BinaryOp;
using kernels::Exec;
using kernels::Strided;
using kernels::UnaryOp;
using test::Mirror;

namespace {

using Shape4 = std::array<std::int64_t, 4>;

const std::vector<std::int64_t> k_sizes{0, 1, 2, 7, 8, 9, 15, 16, 17, 1000, 16383, 16384, 16385, 40000};

double reference(UnaryOp op, double x) {
  switch (op) {
    case UnaryOp::neg:
      return -x;
    case UnaryOp::exp:
      return std::exp(x);
    case UnaryOp::log:
      return std::log(x);
    case UnaryOp::sqrt:
      return std::sqrt(x);
    case UnaryOp::abs:
      return std::abs(x);
    case UnaryOp::square:
      return x * x;
    default:
      return 1 / x;
  }
}

double reference(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::add:
      return a + b;
    case BinaryOp::sub:
      return a - b;
    case BinaryOp::mul:
      return a * b;
    case BinaryOp::div:
      return a / b;
    case BinaryOp::maximum:
      return std::isnan(a) || a > b ? a : b;
    case BinaryOp::minimum:
      return std::isnan(a) || a < b ? a : b;
    case BinaryOp::pow:
      return std::pow(a, b);
    case BinaryOp::less:
      return a < b;
    case BinaryOp::less_equal:
      return a <= b;
    default:
      return a == b;
  }
}

const std::vector<UnaryOp> k_unary{UnaryOp::neg, UnaryOp::exp,    UnaryOp::log,       UnaryOp::sqrt,
                                   UnaryOp::abs, UnaryOp::square, UnaryOp::reciprocal};
const std::vector<BinaryOp> k_binary{BinaryOp::add,        BinaryOp::sub,     BinaryOp::mul, BinaryOp::div,
                                     BinaryOp::maximum,    BinaryOp::minimum, BinaryOp::pow, BinaryOp::less,
                                     BinaryOp::less_equal, BinaryOp::equal};

// Two of the last place; only pow, exp and log need more than half of one.
template <class T>
constexpr double k_relative = 2 * static_cast<double>(std::numeric_limits<T>::epsilon());

template <class T>
Strided<const T> operand(const std::vector<T>& values, Shape4 strides) {
  return {values.data(), strides};
}

// Calls f(x, y) on exec's device with x's values and memory for as many, `offset` values after an aligned
// place; returns y. What surrounds y must stay.
template <class To, class From, class F>
std::vector<To> mapped(const Exec& exec, const std::vector<From>& x, std::size_t offset, F f) {
  std::vector<From> in(offset, From(55));
  in.insert(in.end(), x.begin(), x.end());
  std::vector<To> out(x.size() + offset + 1, To(77));
  {
    const Mirror din(exec, in);
    const Mirror dout(exec, out);
    f(std::span<const From>(din.span()).subspan(offset), dout.span().subspan(offset, x.size()));
  }
  CHECK(std::count(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(offset), To(77)) ==
        static_cast<std::ptrdiff_t>(offset));
  CHECK(out.back() == To(77));
  return {out.begin() + static_cast<std::ptrdiff_t>(offset), out.end() - 1};
}

// y = op(a, b) on exec's device, y with a sentinel.
template <class T>
std::vector<T> run_binary(const Exec& exec, BinaryOp op, const Shape4& shape, std::vector<T> a,
                          const Shape4& a_strides, std::vector<T> b, const Shape4& b_strides) {
  std::vector<T> y(static_cast<std::size_t>(shape[0] * shape[1] * shape[2] * shape[3]) + 1, T(77));
  {
    const Mirror da(exec, a), db(exec, b), dy(exec, y);
    kernels::binary<T>(exec, op, shape, {da.data(), a_strides}, {db.data(), b_strides}, dy.data());
  }
  CHECK(y.back() == 77);
  y.pop_back();
  return y;
}

}  // namespace

TEST_CASE_TEMPLATE("unary operations on every device", T, float, double) {
  for (const UnaryOp op : k_unary) {
    CAPTURE(static_cast<int>(op));
    for (const std::int64_t n : k_sizes) {
      const bool positive = op == UnaryOp::log || op == UnaryOp::sqrt;
      const std::vector<T> x = test::random_values<T>(n, 1, positive ? 0.01 : -8, 8);
      std::vector<double> want;
      for (const T v : x) want.push_back(reference(op, static_cast<double>(v)));
      const auto run = [&](const Exec& exec) {
        std::vector<T> y(x.size());
        kernels::unary<T>(exec, op, x, y);
        return y;
      };
      test::check_threads(run);
      for (const Device device : test::devices()) {
        const Exec exec(device);
        const auto unary = [&](std::span<const T> from, std::span<T> to) {
          kernels::unary<T>(exec, op, from, to);
        };
        const std::vector<T> y = mapped<T>(exec, x, 0, unary);
        test::check_close(y, want, k_relative<T>);
        CHECK(mapped<T>(exec, x, 1, unary) == y);
        std::vector<T> in_place = x;
        {
          const Mirror both(exec, in_place);
          kernels::unary<T>(exec, op, both.span(), both.span());
        }
        CHECK(in_place == y);
      }
    }
  }
}

TEST_CASE_TEMPLATE("unary operations follow IEEE at the ends on every device", T, float, double) {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> x{0, T(-0.0), inf, -inf, nan, -1, 1000000, -1000000};
  for (const Device device : test::devices())
    for (const UnaryOp op : k_unary) {
      const Exec exec(device);
      const std::vector<T> y = mapped<T>(exec, x, 0, [&](std::span<const T> from, std::span<T> to) {
        kernels::unary<T>(exec, op, from, to);
      });
      for (std::size_t i = 0; i < x.size(); ++i) {
        const T want = static_cast<T>(reference(op, static_cast<double>(x[i])));
        CAPTURE(static_cast<int>(op));
        CAPTURE(x[i]);
        if (std::isnan(want)) {
          CHECK(std::isnan(y[i]));
        } else if (op == UnaryOp::log && std::isfinite(want)) {
          CHECK(y[i] == doctest::Approx(want));
        } else {
          CHECK(y[i] == want);
          CHECK(std::signbit(y[i]) == std::signbit(want));
        }
      }
    }
}

TEST_CASE_TEMPLATE("binary operations on dense arrays on every device", T, float, double) {
  for (const BinaryOp op : k_binary) {
    CAPTURE(static_cast<int>(op));
    for (const std::int64_t n : k_sizes) {
      // Small integers, so that equal ones meet; pow takes positive bases.
      std::vector<T> a = test::random_values<T>(n, 2, 0.5, 4), b = test::random_values<T>(n, 3, -4, 4);
      for (std::size_t i = 0; i < a.size(); i += 2) {
        a[i] = std::round(a[i]);
        b[i] = std::round(b[i]);
      }
      std::vector<double> want;
      for (std::size_t i = 0; i < a.size(); ++i)
        want.push_back(reference(op, static_cast<double>(a[i]), static_cast<double>(b[i])));
      const Shape4 shape{1, 1, 1, n}, strides{0, 0, 0, 1};
      const auto run = [&](const Exec& exec) {
        std::vector<T> y(a.size());
        kernels::binary<T>(exec, op, shape, operand(a, strides), operand(b, strides), y.data());
        return y;
      };
      test::check_threads(run);
      for (const Device device : test::devices()) {
        const Exec exec(device);
        const std::vector<T> y = run_binary(exec, op, shape, a, strides, b, strides);
        // CUDA's powf is within 4 of the last place.
        const double slack = device == Device::cuda && op == BinaryOp::pow ? 4 : 1;
        test::check_close(y, want, slack * k_relative<T>);
        std::vector<T> left = a, right = b, a_again = a, b_again = b;
        {
          const Mirror dl(exec, left), dr(exec, right), da(exec, a_again), db(exec, b_again);
          kernels::binary<T>(exec, op, shape, {dl.data(), strides}, {db.data(), strides}, dl.data());
          kernels::binary<T>(exec, op, shape, {da.data(), strides}, {dr.data(), strides}, dr.data());
        }
        CHECK(left == y);
        CHECK(right == y);
      }
    }
  }
}

TEST_CASE_TEMPLATE("a number stands for an array in memory on every device", T, float, double) {
  for (const Device device : test::devices())
    for (const std::int64_t n : {1, 2, 5, 1000, 16385})
      for (const std::size_t offset : {0, 1}) {
        const Exec exec(device);
        const std::vector<T> x = test::random_values<T>(n, 9, -1, 1);
        const Strided<const T> number{.value = T(0.75)};
        const auto minus = mapped<T>(exec, x, offset, [&](std::span<const T> from, std::span<T> to) {
          kernels::binary<T>(exec, BinaryOp::sub, {1, 1, 1, n}, {from.data(), {0, 0, 0, 1}}, number,
                             to.data());
        });
        const auto divided = mapped<T>(exec, x, offset, [&](std::span<const T> from, std::span<T> to) {
          kernels::binary<T>(exec, BinaryOp::div, {1, 1, n, 1}, number, {from.data(), {0, 0, 1, 0}},
                             to.data());
        });
        const auto constant = mapped<T>(exec, x, offset, [&](std::span<const T>, std::span<T> to) {
          kernels::binary<T>(exec, BinaryOp::add, {1, 1, 1, n}, number, number, to.data());
        });
        for (std::size_t i = 0; i < x.size(); ++i) {
          if (minus[i] != x[i] - T(0.75) || divided[i] != T(0.75) / x[i] || constant[i] != T(1.5))
            FAIL("wrong at ", i, " of ", n);
        }
      }
}

TEST_CASE_TEMPLATE("maximum, minimum and comparisons meet NaN on every device", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> a{nan, 1, nan, 2}, b{1, nan, nan, 2};
  for (const Device device : test::devices()) {
    const auto run = [&](BinaryOp op) {
      return run_binary(Exec(device), op, {1, 1, 1, 4}, a, {0, 0, 0, 1}, b, {0, 0, 0, 1});
    };
    for (const BinaryOp op : {BinaryOp::maximum, BinaryOp::minimum}) {
      const std::vector<T> r = run(op);
      CHECK((std::isnan(r[0]) && std::isnan(r[1]) && std::isnan(r[2]) && r[3] == 2));
    }
    CHECK(run(BinaryOp::less) == std::vector<T>{0, 0, 0, 0});
    CHECK(run(BinaryOp::less_equal) == std::vector<T>{0, 0, 0, 1});
    CHECK(run(BinaryOp::equal) == std::vector<T>{0, 0, 0, 1});
  }
}

// Every way to repeat dimensions of a shape, each operand on its own.
TEST_CASE_TEMPLATE("binary operations broadcast on every device", T, float, double) {
  for (const Shape4 shape :
       {Shape4{2, 3, 4, 5}, Shape4{1, 1, 700, 33}, Shape4{1, 1, 1, 1}, Shape4{1, 5, 1, 2000},
        Shape4{3, 1, 2500, 1}, Shape4{1, 1, 17000, 2}, Shape4{0, 3, 4, 5}}) {
    const std::int64_t n = shape[0] * shape[1] * shape[2] * shape[3];
    const std::vector<T> a = test::random_values<T>(std::max<std::int64_t>(n, 1), 4, -1, 1),
                         b = test::random_values<T>(std::max<std::int64_t>(n, 1), 5, -1, 1);
    // Which dimensions are repeated in a (bits 0-3) and in b (4-7).
    for (int repeated = 0; repeated<256; repeated += shape[2]> 1000 ? 7 : 1) {
      Shape4 sa{}, sb{};
      std::int64_t da = 1, db = 1;
      for (int d = 3; d >= 0; --d) {
        const auto k = static_cast<std::size_t>(d);
        if ((repeated >> d & 1) == 0) {
          sa[k] = da;
          da *= shape[k];
        }
        if ((repeated >> (4 + d) & 1) == 0) {
          sb[k] = db;
          db *= shape[k];
        }
      }
      std::vector<T> want;
      for (std::int64_t i = 0; i < shape[0]; ++i)
        for (std::int64_t j = 0; j < shape[1]; ++j)
          for (std::int64_t k = 0; k < shape[2]; ++k)
            for (std::int64_t l = 0; l < shape[3]; ++l) {
              const auto pa = static_cast<std::size_t>(i * sa[0] + j * sa[1] + k * sa[2] + l * sa[3]);
              const auto pb = static_cast<std::size_t>(i * sb[0] + j * sb[1] + k * sb[2] + l * sb[3]);
              want.push_back(a[pa] - b[pb]);
            }
      CAPTURE(repeated);
      CAPTURE(n);
      for (const Device device : test::devices())
        CHECK(run_binary(Exec(device, repeated % 3 + 1), BinaryOp::sub, shape, a, sa, b, sb) == want);
    }
  }
}

TEST_CASE("binary takes any strides on every device: a transposed operand") {
  const std::vector<double> a{1, 2, 3, 4, 5, 6}, b{10, 20, 30, 40, 50, 60};
  for (const Device device : test::devices())
    CHECK(run_binary(Exec(device), BinaryOp::add, {1, 1, 2, 3}, a, {0, 0, 3, 1}, b, {0, 0, 1, 2}) ==
          std::vector<double>{11, 32, 53, 24, 45, 66});
}

TEST_CASE_TEMPLATE("axpby on every device", T, float, double) {
  for (const std::int64_t n : k_sizes) {
    const std::vector<T> x = test::random_values<T>(n, 6, -1, 1), y = test::random_values<T>(n, 7, -1, 1);
    for (const T beta : {T(0), T(1), T(-0.5)}) {
      std::vector<double> want;
      for (std::size_t i = 0; i < x.size(); ++i)
        want.push_back(1.25 * static_cast<double>(x[i]) +
                       static_cast<double>(beta) * static_cast<double>(y[i]));
      const auto run = [&](const Exec& exec) {
        std::vector<T> r = y;
        kernels::axpby<T>(exec, T(1.25), x, beta, r);
        return r;
      };
      test::check_threads(run);
      for (const Device device : test::devices()) {
        const Exec exec(device);
        std::vector<T> in = x, r = y;
        {
          const Mirror dx(exec, in), dr(exec, r);
          kernels::axpby<T>(exec, T(1.25), dx.span(), beta, dr.span());
        }
        test::check_close(r, want, k_relative<T>, 1);
      }
    }
    for (const Device device : test::devices()) {
      const Exec exec(device);
      std::vector<T> in = x, unread(x.size(), std::numeric_limits<T>::quiet_NaN());
      {
        const Mirror dx(exec, in), dy(exec, unread);
        kernels::axpby<T>(exec, T(1), dx.span(), T(0), dy.span());
      }
      CHECK(unread == x);
    }
  }
}

TEST_CASE_TEMPLATE("fill writes every value on every device", T, float, double, std::int32_t, std::int64_t) {
  for (const Device device : test::devices())
    for (const std::int64_t n : k_sizes)
      for (const std::size_t offset : {0, 1}) {
        const Exec exec(device, 2);
        const std::vector<T> x(static_cast<std::size_t>(n), T(1)), want(x.size(), T(3));
        CHECK(mapped<T>(exec, x, offset, [&](std::span<const T>, std::span<T> to) {
                kernels::fill<T>(exec, T(3), to);
              }) == want);
      }
}

TEST_CASE_TEMPLATE("clamp on every device", T, float, double) {
  const T inf = std::numeric_limits<T>::infinity();
  for (const Device device : test::devices()) {
    const Exec exec(device);
    const auto clamped = [&](const std::vector<T>& x, T low, T high) {
      return mapped<T>(exec, x, 0, [&](std::span<const T> from, std::span<T> to) {
        kernels::clamp<T>(exec, from, low, high, to);
      });
    };
    std::vector<T> y =
        clamped({-2, -1, 0, T(0.5), 1, 2, inf, -inf, std::numeric_limits<T>::quiet_NaN()}, -1, 1);
    CHECK(std::isnan(y.back()));
    y.pop_back();
    CHECK(y == std::vector<T>{-1, -1, 0, T(0.5), 1, 1, 1, -1});
    for (const std::int64_t n : k_sizes) {
      const std::vector<T> z = test::random_values<T>(n, 8, -3, 3);
      std::vector<T> want = z;
      for (T& v : want) v = v < -1 ? T(-1) : v > 2 ? T(2) : v;
      CHECK(clamped(z, -1, 2) == want);
    }
  }
}

namespace {

template <class From, class To>
void check_convert(const Exec& exec) {
  for (const std::int64_t n : {0, 1, 3, 4, 5, 1000, 16385})
    for (const std::size_t offset : {0, 1}) {
      std::vector<From> x;
      for (const double v : test::random_values<double>(n, 10, -1000, 1000))
        x.push_back(static_cast<From>(v));
      std::vector<To> want;
      for (const From v : x) want.push_back(static_cast<To>(v));
      CHECK(mapped<To>(exec, x, offset, [&](std::span<const From> from, std::span<To> to) {
              kernels::convert<To, From>(exec, from, to);
            }) == want);
    }
}

}  // namespace

TEST_CASE_TEMPLATE("convert goes between all types on every device", T, float, double, std::int32_t,
                   std::int64_t) {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    check_convert<float, T>(exec);
    check_convert<double, T>(exec);
    check_convert<std::int32_t, T>(exec);
    check_convert<std::int64_t, T>(exec);
  }
}

TEST_CASE("elementwise kernels name sizes that do not fit") {
  std::vector<float> x(3), y(4);
  CHECK(test::contains(test::error_of([&] { kernels::unary<float>(Exec(), UnaryOp::neg, x, y); }),
                       "unary: x has 3 values but y has 4"));
  CHECK(test::contains(test::error_of([&] { kernels::axpby<float>(Exec(), 1, x, 1, y); }), "axpby: x has 3"));
  CHECK(test::contains(test::error_of([&] { kernels::clamp<float>(Exec(), x, 2, 1, x); }),
                       "the range is 2 to 1"));
}

TEST_CASE("maps of very many values on every device") {
  const std::vector<float> x = test::random_values<float>(4'300'000, 9, -1, 1);
  const std::vector<float> b(x.begin(), x.begin() + 43'000);
  for (const Device device : test::devices()) {
    const Exec exec(device);
    std::vector<std::int64_t> wrong(3);
    for (const std::size_t offset : {0, 1}) {
      const auto y = mapped<float>(exec, x, offset, [&](std::span<const float> from, std::span<float> to) {
        kernels::clamp<float>(exec, from, -0.5f, 0.25f, to);
      });
      for (std::size_t i = 0; i < x.size(); ++i) wrong[offset] += y[i] != std::clamp(x[i], -0.5f, 0.25f);
    }
    const std::vector<float> sums =
        run_binary(exec, BinaryOp::add, {1, 1, 43'000, 100}, x, {0, 0, 100, 1}, b, {0, 0, 1, 0});
    for (std::size_t i = 0; i < x.size(); ++i) wrong[2] += sums[i] != x[i] + b[i / 100];
    CHECK(wrong == std::vector<std::int64_t>(3));
  }
}
