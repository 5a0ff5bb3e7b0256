#include <doctest/doctest.h>
#include <flatland/kernels/activation.h>
#include <tests/support/devices.h>
#include <tests/support/errors.h>
#include <tests/support/golden.h>
#include <tests/support/matmul_reference.h>
#include <tests/support/ulps.h>

#include <array>
#include <string>

using namespace flatland;
using kernels::Exec;
using kernels::MatView;
using test::Guarded;

namespace {

constexpr std::array k_all = {activation::identity, activation::relu,     activation::leaky_relu(0.2),
                              activation::elu(1.5), activation::softplus, activation::sigmoid,
                              activation::tanh};

long double exact(const Activation& a, long double x) {
  switch (a.kind) {
    case ActivationKind::identity:
      return x;
    case ActivationKind::relu:
      return x > 0 ? x : 0;
    case ActivationKind::leaky_relu:
      return x > 0 ? x : x * static_cast<long double>(a.slope);
    case ActivationKind::elu:
      return x > 0 ? x : std::expm1(x) * static_cast<long double>(a.slope);
    case ActivationKind::softplus:
      return x > 20 ? x : std::log1p(std::exp(x));
    case ActivationKind::sigmoid:
      return 1 / (1 + std::exp(-x));
    case ActivationKind::tanh:
      return std::tanh(x);
  }
  return 0;
}

// From the input, not from the output: what activate_backward has to come to.
double exact_derivative(const Activation& a, double x) {
  switch (a.kind) {
    case ActivationKind::identity:
      return 1;
    case ActivationKind::relu:
      return x > 0 ? 1 : 0;
    case ActivationKind::leaky_relu:
      return x > 0 ? 1 : a.slope;
    case ActivationKind::elu:
      return x > 0 ? 1 : a.slope * std::exp(x);
    case ActivationKind::softplus:
      return x > 20 ? 1 : 1 / (1 + std::exp(-x));
    case ActivationKind::sigmoid:
      return 1 / (1 + std::exp(-x)) / (1 + std::exp(x));
    case ActivationKind::tanh:
      return 1 / (std::cosh(x) * std::cosh(x));
  }
  return 0;
}

template <class T>
std::vector<T> run(const Activation& a, const std::vector<T>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<T> y(x.size());
  kernels::activate<T>(Exec(), a, {x.data(), 1, n}, MatView<T>(y.data(), 1, n));
  return y;
}
template <class T>
std::vector<T> run_backward(const Activation& a, const std::vector<T>& y, const std::vector<T>& dy) {
  const auto n = static_cast<std::int64_t>(y.size());
  std::vector<T> dx(y.size());
  kernels::activate_backward<T>(Exec(), a, {y.data(), 1, n}, {dy.data(), 1, n}, MatView<T>(dx.data(), 1, n));
  return dx;
}

template <class T>
std::vector<T> golden_values(const std::string& name) {
  const std::vector<double> values = test::golden("activations/" + name).to_vector<double>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE_TEMPLATE("activations are within their ulps of the exact value", T, float, double) {
  std::vector<T> x;
  for (int i = 0; i < 40001; ++i) x.push_back(static_cast<T>(-25 + 50 * i / 40000.0));
  for (int e = -60; e < 60; ++e)
    x.insert(x.end(), {static_cast<T>(std::ldexp(1.3, e)), static_cast<T>(std::ldexp(-1.3, e))});
  for (Activation a : k_all) {
    a.slope = static_cast<T>(a.slope);
    const std::vector<T> y = run(a, x);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      // results below the normal numbers are flushed to zero
      if (const long double want = exact(a, x[i]);
          std::fabs(want) >= std::numeric_limits<T>::min() || want == 0)
        worst = test::worse(worst, test::ulps(y[i], want));
    INFO(std::string(name(a.kind)), " ", worst, " ulp");
    CHECK(worst <= (sizeof(T) == 4 ? 3 : 4));
  }
}

TEST_CASE_TEMPLATE("activations keep NaN and take infinity to their limits", T, float, double) {
  const T inf = std::numeric_limits<T>::infinity();
  for (const Activation& a : k_all) {
    const std::vector<T> y = run<T>(a, {std::numeric_limits<T>::quiet_NaN(), inf, -inf, 0});
    INFO(std::string(name(a.kind)));
    CHECK(std::isnan(y[0]));
    CHECK(y[1] == static_cast<T>(exact(a, inf)));
    CHECK(y[2] == static_cast<T>(exact(a, -inf)));
    CHECK(y[3] == static_cast<T>(exact(a, 0)));
  }
}

TEST_CASE("derivatives from the output equal those from the input") {
  std::vector<double> x;
  for (int i = 0; i < 2001; ++i) x.push_back(-12 + 24 * (i + 0.3) / 2001);
  for (const double far : {-700.0, -40.0, -20.0, 0.0, 19.9, 20.5, 40.0, 700.0}) x.push_back(far);
  const std::vector<double> ones(x.size(), 1.0);
  for (const Activation& a : k_all) {
    const std::vector<double> dx = run_backward(a, run(a, x), ones);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = exact_derivative(a, x[i]);
      // 1 - y loses what y has beyond 1's last place; the others keep all digits, softplus for tiny y too
      const bool saturates = a.kind == ActivationKind::sigmoid || a.kind == ActivationKind::tanh ||
                             a.kind == ActivationKind::elu;
      INFO(std::string(name(a.kind)), " at ", x[i], ": ", dx[i], " want ", want);
      CHECK(std::abs(dx[i] - want) <= 1e-14 * std::abs(want) + (saturates ? 1e-15 : 0));
    }
  }
}

TEST_CASE_TEMPLATE("activations work on any shape, in place, with rows apart, for any number of threads", T,
                   float, double) {
  for (const auto& [rows, cols] :
       {std::pair{0, 5}, {1, 1}, {3, 0}, {7, 15}, {5, 16}, {4, 17}, {333, 100}, {2, 20000}})
    for (const Activation& a : k_all) {
      Guarded<T> x(rows, cols), dy(rows, cols);
      x.fill_normal(1);
      dy.fill_normal(2);
      Guarded<T> first_y = x, first_dx = x;
      for (const int threads : {1, 2, 3, 8}) {
        const Exec exec(Device::cpu, threads);
        Guarded<T> y = x, dx = dy;
        kernels::activate<T>(exec, a, y.view(), y.view());
        kernels::activate_backward<T>(exec, a, y.view(), dx.view(), dx.view());
        CHECK((y.guards_intact() && dx.guards_intact()));
        if (threads == 1) first_y = y, first_dx = dx;
        for (std::int64_t i = 0; i < rows; ++i)
          for (std::int64_t j = 0; j < cols; ++j) {
            if (y(i, j) != first_y(i, j) || dx(i, j) != first_dx(i, j)) FAIL("threads change bits");
            if (threads == 1 && !(std::abs(y(i, j) - exact(a, x(i, j))) <= 1e-6))
              FAIL("wrong at ", i, " ", j);
          }
      }
      // a matrix without gaps goes another way and must come to the same
      Guarded<T> dense_x(rows, cols, 0);
      dense_x.fill_normal(1);
      Guarded<T> dense_y(rows, cols, 0);
      kernels::activate<T>(Exec(), a, dense_x.view(), dense_y.view());
      CHECK(dense_y.guards_intact());
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < cols; ++j)
          if (dense_y(i, j) != first_y(i, j)) FAIL("gaps change bits");
    }
}

// torch 1.13, float64: tests/golden/activations.
TEST_CASE_TEMPLATE("activations and their gradients equal PyTorch's", T, float, double) {
  const std::pair<const char*, Activation> cases[] = {{"relu", activation::relu},
                                                      {"leaky_0.2", activation::leaky_relu(0.2)},
                                                      {"leaky_0.01", activation::leaky_relu()},
                                                      {"elu", activation::elu()},
                                                      {"softplus", activation::softplus},
                                                      {"sigmoid", activation::sigmoid},
                                                      {"tanh", activation::tanh}};
  const double relative = sizeof(T) == 8 ? 1e-12 : 1e-5;
  const std::vector<T> x = golden_values<T>("x"), upstream = golden_values<T>("upstream");
  REQUIRE(x.size() == 120);
  for (const auto& item : cases) {
    const std::string file = item.first;
    const Activation& a = item.second;
    const std::vector<T> y = run(a, x), dx = run_backward(a, y, upstream);
    const std::vector<double> want_y = golden_values<double>(file),
                              want_dx = golden_values<double>(file + "_grad");
    for (std::size_t i = 0; i < x.size(); ++i) {
      // what 1 - y loses near saturation, and what is flushed below the normal numbers
      const double lost = 2 * std::numeric_limits<T>::epsilon() * std::abs(upstream[i]);
      INFO(file, " at ", x[i], ": ", y[i], " want ", want_y[i], ", gradient ", dx[i], " want ", want_dx[i]);
      // PyTorch's elu is exp(x) - 1, which is off by half an epsilon at tiny x where ours is not
      CHECK(std::abs(y[i] - want_y[i]) <= relative * std::abs(want_y[i]) + 0x1p-53);
      CHECK(std::abs(dx[i] - want_dx[i]) <= relative * std::abs(want_dx[i]) + lost);
    }
  }
}

TEST_CASE("activations name shapes that differ") {
  Guarded<float> x(2, 3, 0), y(3, 2, 0);
  CHECK(test::error_of([&] { kernels::activate<float>(Exec(), activation::relu, x.view(), y.view()); }) ==
        "activate: x is (2, 3) but y is (3, 2); they must have the same shape");
  CHECK(test::contains(test::error_of([&] {
                         kernels::activate_backward<float>(Exec(), activation::relu, x.view(), y.view(),
                                                           x.view());
                       }),
                       "dy is (3, 2)"));
}

TEST_CASE_TEMPLATE("activations and their gradients equal the formula at every size on every device", T,
                   float, double) {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    for (const std::int64_t rows : {0, 1, 2, 31, 33, 100})
      for (const std::int64_t cols : {1, 2, 31, 32, 33, 257}) {
        INFO(std::string(name(device)), " ", rows, " x ", cols);
        for (const Activation& a : k_all) {
          Guarded<T> x(rows, cols), y(rows, cols), dy(rows, cols), dx(rows, cols);
          x.fill_normal(1);
          dy.fill_normal(2);
          {
            const test::Mirror mx(exec, x.block), my(exec, y.block), mdy(exec, dy.block), mdx(exec, dx.block);
            kernels::activate<T>(exec, a, mx.view(x.view()), my.view(y.view()));
            kernels::activate_backward<T>(exec, a, my.view(y.view()), mdy.view(dy.view()),
                                          mdx.view(dx.view()));
          }
          double worst = 0;
          for (std::int64_t i = 0; i < rows; ++i)
            for (std::int64_t j = 0; j < cols; ++j) {
              const double value = static_cast<double>(exact(a, x(i, j)));
              const double slope =
                  exact_derivative(a, static_cast<double>(x(i, j))) * static_cast<double>(dy(i, j));
              worst = test::worse(worst, std::abs(static_cast<double>(y(i, j)) - value));
              worst = test::worse(worst, std::abs(static_cast<double>(dx(i, j)) - slope));
            }
          CHECK(worst <= (sizeof(T) == 4 ? 2e-6 : 2e-15));
          CHECK(y.guards_intact());
          CHECK(dx.guards_intact());
        }
      }
  }
}

TEST_CASE("activations of very many values on every device") {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    constexpr std::int64_t n = 1030;
    Guarded<float> x(n, n), y(n, n), dy(n, n), dx(n, n);
    x.fill_normal(1);
    dy.fill_normal(2);
    {
      const test::Mirror mx(exec, x.block), my(exec, y.block), mdy(exec, dy.block), mdx(exec, dx.block);
      kernels::activate<float>(exec, activation::relu, mx.view(x.view()), my.view(y.view()));
      kernels::activate_backward<float>(exec, activation::relu, my.view(y.view()), mdy.view(dy.view()),
                                        mdx.view(dx.view()));
    }
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        wrong += y(i, j) != std::max(x(i, j), 0.f) || dx(i, j) != (x(i, j) > 0 ? dy(i, j) : 0.f);
    CHECK(wrong == 0);
    CHECK((y.guards_intact() && dx.guards_intact()));
  }
}
