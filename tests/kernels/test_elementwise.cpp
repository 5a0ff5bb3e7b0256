#include "tests/support/message.h"
#include "tests/support/relation_reference.h"

#include <doctest/doctest.h>
#include <flatland/kernels/elementwise.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

using namespace flatland;
using kernels::BinaryOp;
using kernels::Exec;
using kernels::Strided;
using kernels::UnaryOp;

namespace {

using Shape = std::array<std::int64_t, 4>;

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
Strided<const T> operand(const std::vector<T>& values, Shape strides) {
  return {values.data(), strides};
}

}  // namespace

TEST_CASE_TEMPLATE("unary operations", T, float, double) {
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
      const std::vector<T> y = run(Exec());
      test::check_close(y, want, k_relative<T>);
      test::check_threads(run);
      std::vector<T> in_place = x;
      kernels::unary<T>(Exec(), op, in_place, in_place);
      CHECK(in_place == y);
    }
  }
}

TEST_CASE_TEMPLATE("unary operations follow IEEE at the ends", T, float, double) {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> x{0, T(-0.0), inf, -inf, nan, -1, 1000000, -1000000};
  for (const UnaryOp op : k_unary) {
    std::vector<T> y(x.size());
    kernels::unary<T>(Exec(), op, x, y);
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

TEST_CASE_TEMPLATE("binary operations on dense arrays", T, float, double) {
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
      const Shape shape{1, 1, 1, n}, strides{0, 0, 0, 1};
      const auto run = [&](const Exec& exec) {
        std::vector<T> y(a.size());
        kernels::binary<T>(exec, op, shape, operand(a, strides), operand(b, strides), y.data());
        return y;
      };
      const std::vector<T> y = run(Exec());
      test::check_close(y, want, k_relative<T>);
      test::check_threads(run);
      std::vector<T> left = a, right = b;
      kernels::binary<T>(Exec(), op, shape, operand(left, strides), operand(b, strides), left.data());
      kernels::binary<T>(Exec(), op, shape, operand(a, strides), operand(right, strides), right.data());
      CHECK(left == y);
      CHECK(right == y);
    }
  }
}

TEST_CASE_TEMPLATE("maximum, minimum and comparisons meet NaN", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> a{nan, 1, nan, 2}, b{1, nan, nan, 2};
  std::vector<T> y(4);
  const auto run = [&](BinaryOp op) {
    kernels::binary<T>(Exec(), op, {1, 1, 1, 4}, operand(a, {0, 0, 0, 1}), operand(b, {0, 0, 0, 1}),
                       y.data());
    return y;
  };
  for (const BinaryOp op : {BinaryOp::maximum, BinaryOp::minimum}) {
    const std::vector<T> r = run(op);
    CHECK((std::isnan(r[0]) && std::isnan(r[1]) && std::isnan(r[2]) && r[3] == 2));
  }
  CHECK(run(BinaryOp::less) == std::vector<T>{0, 0, 0, 0});
  CHECK(run(BinaryOp::less_equal) == std::vector<T>{0, 0, 0, 1});
  CHECK(run(BinaryOp::equal) == std::vector<T>{0, 0, 0, 1});
}

// Every way to repeat dimensions of a shape, each operand on its own.
TEST_CASE_TEMPLATE("binary operations broadcast", T, float, double) {
  for (const Shape shape : {Shape{2, 3, 4, 5}, Shape{1, 1, 700, 33}, Shape{1, 1, 1, 1}, Shape{1, 5, 1, 2000},
                            Shape{3, 1, 2500, 1}, Shape{1, 1, 17000, 2}, Shape{0, 3, 4, 5}}) {
    const std::int64_t n = shape[0] * shape[1] * shape[2] * shape[3];
    const std::vector<T> a = test::random_values<T>(std::max<std::int64_t>(n, 1), 4, -1, 1),
                         b = test::random_values<T>(std::max<std::int64_t>(n, 1), 5, -1, 1);
    // Which dimensions are repeated in a (bits 0-3) and in b (4-7).
    for (int repeated = 0; repeated<256; repeated += shape[2]> 1000 ? 7 : 1) {
      Shape sa{}, sb{};
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
      std::vector<T> y(static_cast<std::size_t>(n) + 1, T(77));
      kernels::binary<T>(Exec(Device::cpu, repeated % 3 + 1), BinaryOp::sub, shape, operand(a, sa),
                         operand(b, sb), y.data());
      bool equal = y.back() == 77;
      std::size_t at = 0;
      for (std::int64_t i = 0; i < shape[0]; ++i)
        for (std::int64_t j = 0; j < shape[1]; ++j)
          for (std::int64_t k = 0; k < shape[2]; ++k)
            for (std::int64_t l = 0; l < shape[3]; ++l) {
              const auto pa = static_cast<std::size_t>(i * sa[0] + j * sa[1] + k * sa[2] + l * sa[3]);
              const auto pb = static_cast<std::size_t>(i * sb[0] + j * sb[1] + k * sb[2] + l * sb[3]);
              equal = equal && y[at++] == a[pa] - b[pb];
            }
      CAPTURE(repeated);
      CAPTURE(n);
      CHECK(equal);
    }
  }
}

TEST_CASE("binary takes any strides: a transposed operand") {
  const std::vector<double> a{1, 2, 3, 4, 5, 6}, b{10, 20, 30, 40, 50, 60};
  std::vector<double> y(6);
  kernels::binary<double>(Exec(), BinaryOp::add, {1, 1, 2, 3}, operand(a, {0, 0, 3, 1}),
                          operand(b, {0, 0, 1, 2}), y.data());
  CHECK(y == std::vector<double>{11, 32, 53, 24, 45, 66});
}

TEST_CASE_TEMPLATE("axpby", T, float, double) {
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
      test::check_close(run(Exec()), want, k_relative<T>, 1);
      test::check_threads(run);
    }
    std::vector<T> unread(x.size(), std::numeric_limits<T>::quiet_NaN());
    kernels::axpby<T>(Exec(), T(1), x, T(0), unread);
    CHECK(unread == x);
  }
}

TEST_CASE_TEMPLATE("fill and clamp", T, float, double) {
  for (const std::int64_t n : k_sizes) {
    std::vector<T> y(static_cast<std::size_t>(n) + 2, T(5));
    kernels::fill<T>(Exec(Device::cpu, 2), T(3), std::span(y).subspan(1, static_cast<std::size_t>(n)));
    std::vector<T> want(y.size(), T(3));
    want.front() = want.back() = T(5);
    CHECK(y == want);
  }
  const T inf = std::numeric_limits<T>::infinity();
  const std::vector<T> x{-2, -1, 0, T(0.5), 1, 2, inf, -inf, std::numeric_limits<T>::quiet_NaN()};
  std::vector<T> y(x.size());
  kernels::clamp<T>(Exec(), x, -1, 1, y);
  CHECK(std::isnan(y.back()));
  y.pop_back();
  CHECK(y == std::vector<T>{-1, -1, 0, T(0.5), 1, 1, 1, -1});
  for (const std::int64_t n : k_sizes) {
    std::vector<T> z = test::random_values<T>(n, 8, -3, 3), want = z;
    for (T& v : want) v = v < -1 ? T(-1) : v > 2 ? T(2) : v;
    kernels::clamp<T>(Exec(), z, -1, 2, z);
    CHECK(z == want);
  }
}

TEST_CASE("elementwise kernels name sizes that do not fit") {
  std::vector<float> x(3), y(4);
  CHECK(test::contains(test::message([&] { kernels::unary<float>(Exec(), UnaryOp::neg, x, y); }),
                       "unary: x has 3 values but y has 4"));
  CHECK(test::contains(test::message([&] { kernels::axpby<float>(Exec(), 1, x, 1, y); }), "axpby: x has 3"));
  CHECK(test::contains(test::message([&] { kernels::clamp<float>(Exec(), x, 2, 1, x); }),
                       "the range is 2 to 1"));
}
