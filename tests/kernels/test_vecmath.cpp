#include <doctest/doctest.h>
#include <tests/support/ulps.h>
#include <tests/support/vecmath_levels.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace flatland;
using test::Function;

namespace {

struct Case {
  Function function;
  std::string name;
  long double (*exact)(long double);
  double max_ulp;
};

const Case k_cases[] = {
    {Function::exp, "exp", [](long double x) { return std::exp(x); }, 2},
    {Function::expm1, "expm1", [](long double x) { return std::expm1(x); }, 2.5},
    {Function::log, "log", [](long double x) { return std::log(x); }, 2},
    {Function::log1p, "log1p", [](long double x) { return std::log1p(x); }, 2},
    {Function::softplus, "softplus",
     [](long double x) { return x > 20 ? x : std::fmax(x, 0.0L) + std::log1p(std::exp(-std::fabs(x))); }, 3},
    {Function::sigmoid, "sigmoid",
     [](long double x) { return (x < 0 ? std::exp(x) : 1.0L) / (1 + std::exp(-std::fabs(x))); }, 3},
    {Function::tanh, "tanh", [](long double x) { return std::tanh(x); }, 3},
    {Function::sqrt, "sqrt", [](long double x) { return std::sqrt(x); }, 0.5001},
};

// Every magnitude from denormals to infinity, both signs, densely around where functions change their shape.
template <class T>
std::vector<T> inputs() {
  using L = std::numeric_limits<T>;
  std::vector<T> x = {0, L::infinity(), L::quiet_NaN(), L::denorm_min(), L::min(), L::max(), 1, 20, 20.0001};
  for (int e = L::min_exponent - L::digits; e < L::max_exponent; ++e)
    for (const double m : {1.0, 1.0000001, 1.2345, 1.41421356, 1.5, 1.999999})
      x.push_back(std::ldexp(T(m), e));
  const int steps = 20001;
  for (const double top : {0.4, 1.5, 22.0, sizeof(T) == 4 ? 105.0 : 750.0})
    for (int i = 0; i < steps; ++i) x.push_back(static_cast<T>(top * (i + 0.37) / steps));
  const std::size_t n = x.size();
  for (std::size_t i = 0; i < n; ++i) x.push_back(-x[i]);
  T near_one = 1;
  for (int i = 0; i < 200; ++i) x.push_back(near_one = std::nextafter(near_one, T(2)));
  for (int i = 0; i < 400; ++i) x.push_back(near_one = std::nextafter(near_one, T(0)));
  return x;
}

template <class T>
void check(const Case& c, const std::string& level, const std::vector<T>& x, const std::vector<T>& y) {
  double worst = 0;
  std::size_t where = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double u = test::ulps(y[i], c.exact(x[i]));
    if (u > worst) worst = u, where = i;
  }
  INFO(c.name, std::string(sizeof(T) == 4 ? " float " : " double "), level, ": ", worst, " ulp at ", x[where],
       " got ", y[where]);
  CHECK(worst <= c.max_ulp);
}

template <class T>
void check_all() {
  const std::vector<T> x = inputs<T>();
  std::vector<T> y(x.size());
  for (const Case& c : k_cases) {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = test::value(c.function, x[i]);
    check(c, "scalar", x, y);
    kernels::with_isa([&](auto isa) {
      test::apply_function<isa, T>(c.function, x.data(), y.data(), static_cast<std::int64_t>(x.size()));
    });
    check(c, std::string(name(kernels::active_isa())), x, y);
  }
}

}  // namespace

TEST_CASE("elementary functions stay within their ulps, in float") {
  check_all<float>();
}

TEST_CASE("elementary functions stay within their ulps, in double") {
  check_all<double>();
}

TEST_CASE_TEMPLATE("elementary functions at special values", T, float, double) {
  const T inf = std::numeric_limits<T>::infinity();
  const T nan = std::numeric_limits<T>::quiet_NaN();
  CHECK(kernels::exp(-inf) == 0);
  CHECK(kernels::exp(T(0)) == 1);
  CHECK(kernels::exp(inf) == inf);
  CHECK(kernels::exp(T(1000)) == inf);
  CHECK(std::isnan(kernels::exp(nan)));
  CHECK(kernels::log(T(0)) == -inf);
  CHECK(kernels::log(T(1)) == 0);
  CHECK(std::isnan(kernels::log(T(-1))));
  CHECK(kernels::log(inf) == inf);
  CHECK(kernels::log1p(T(-1)) == -inf);
  CHECK(std::isnan(kernels::log1p(T(-1.5))));
  CHECK(kernels::softplus(T(20.5)) == T(20.5));
  CHECK(kernels::softplus(-inf) == 0);
  CHECK(kernels::sigmoid(-inf) == 0);
  CHECK(kernels::sigmoid(inf) == 1);
  CHECK(kernels::tanh(-inf) == -1);
  CHECK(std::signbit(kernels::tanh(T(-0.0))));
  CHECK(std::signbit(kernels::expm1(T(-0.0))));
  CHECK(kernels::min(T(2), T(3)) == 2);
  CHECK(kernels::max(T(2), T(3)) == 3);
  CHECK(kernels::abs(T(-2.5)) == T(2.5));
  CHECK(kernels::copysign(T(2.5), T(-0.0)) == T(-2.5));
}
