#include <doctest/doctest.h>
#include <flatland/kernels/loss.h>
#include <tests/support/devices.h>
#include <tests/support/errors.h>
#include <tests/support/matmul_reference.h>
#include <tests/support/relation_reference.h>
#include <tests/support/ulps.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace flatland;
using kernels::Exec;
using kernels::GaussianRule;
using kernels::LossKind;
using kernels::LossOut;
using kernels::LossRule;
using kernels::TripletRule;
using test::Guarded;
using test::Mirror;

namespace {

constexpr std::array k_all_rules = {LossRule{LossKind::squared}, LossRule{LossKind::absolute},
                                    LossRule{LossKind::smooth_absolute, 0.7}, LossRule{LossKind::binary},
                                    LossRule{LossKind::binary_logit}};

double exact(const LossRule& rule, double x, double t) {
  const double d = std::abs(x - t);
  switch (rule.kind) {
    case LossKind::squared:
      return d * d;
    case LossKind::absolute:
      return d;
    case LossKind::smooth_absolute:
      return d < rule.beta ? d * d / (2 * rule.beta) : d - rule.beta / 2;
    case LossKind::binary:
      return -t * std::max(std::log(x), -100.0) - (1 - t) * std::max(std::log1p(-x), -100.0);
    case LossKind::binary_logit:
      break;
  }
  return std::max(x, 0.0) - x * t + std::log1p(std::exp(-std::abs(x)));
}

double exact_derivative(const LossRule& rule, double x, double t) {
  const double d = x - t, sign = (d > 0) - (d < 0);
  switch (rule.kind) {
    case LossKind::squared:
      return 2 * d;
    case LossKind::absolute:
      return sign;
    case LossKind::smooth_absolute:
      return std::abs(d) < rule.beta ? d / rule.beta : sign;
    case LossKind::binary:
      return d / std::max(x * (1 - x), static_cast<double>(1e-12f));
    case LossKind::binary_logit:
      break;
  }
  return 1 / (1 + std::exp(-x)) - t;
}

// Values with guards behind them: NaN, which a loss must neither read nor change.
template <class T>
struct Values {
  std::vector<T> all;
  explicit Values(std::int64_t n, unsigned seed = 0, double low = 0, double high = 0)
      : all(seed > 0 ? test::random_values<T>(n, seed, low, high)
                     : std::vector<T>(static_cast<std::size_t>(n))) {
    all.insert(all.end(), 20, std::numeric_limits<T>::quiet_NaN());
  }
  std::int64_t size() const { return std::ssize(all) - 20; }
  bool intact() const {
    return std::all_of(all.end() - 20, all.end(), [](T v) { return std::isnan(v); });
  }
  double operator[](std::int64_t i) const { return static_cast<double>(all[static_cast<std::size_t>(i)]); }
};
template <class T>
std::span<T> first(const Mirror<T>& mirror, std::int64_t n) {
  return mirror.span().first(static_cast<std::size_t>(n));
}

// Below, at and past vectors, tiles of 4,096 and the shares of blocks.
const std::vector<std::int64_t> k_sizes{0,  1,  2,   3,   7,   8,    9,    15,   16,   17,   31,   32,   33,
                                        63, 64, 255, 256, 257, 1000, 4095, 4096, 4097, 8191, 8193, 20000};

template <class T>
constexpr double k_epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());

// The value and the losses in one pass, then both again without the gradient.
template <class T>
void check_pointwise(const Exec& exec, const LossRule& rule, std::int64_t n) {
  const bool shares = rule.kind == LossKind::binary;
  Values<T> x(n, 1, shares ? 0.01 : -3, shares ? 0.99 : 3), t(n, 2, shares ? 0 : -3, shares ? 1 : 3);
  if (n > 4) x.all[2] = t.all[2];
  Values<T> loss(n), dx(n);
  std::vector<T> value(2, T(-7));
  const double divisor = n > 0 ? static_cast<double>(n) : 1;
  {
    const Mirror mx(exec, x.all), mt(exec, t.all), ml(exec, loss.all), md(exec, dx.all), mv(exec, value);
    kernels::pointwise_loss<T>(exec, rule, first(mx, n), first(mt, n), {divisor, mv.data(), ml.data()},
                               first(md, n));
    kernels::pointwise_loss<T>(exec, rule, first(mx, n), first(mt, n), {divisor, mv.data() + 1}, {});
  }
  long double sum = 0;
  double size = 0, worst = 0, worst_dx = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double want = exact(rule, x[i], t[i]), want_dx = exact_derivative(rule, x[i], t[i]);
    sum += want;
    size += std::abs(want);
    worst = test::worse(worst, std::abs(loss[i] - want) / std::max(1.0, std::abs(want)));
    worst_dx = test::worse(worst_dx, std::abs(dx[i] * divisor - want_dx) / std::max(1.0, std::abs(want_dx)));
  }
  CHECK(worst <= 16 * k_epsilon<T>);
  CHECK(worst_dx <= 8 * k_epsilon<T>);
  CHECK(std::abs(static_cast<double>(value[0]) - static_cast<double>(sum) / divisor) <=
        16 * k_epsilon<T> * (1e-300 + size / divisor));
  CHECK(value[0] == value[1]);
  CHECK((loss.intact() && dx.intact()));
}

}  // namespace

TEST_CASE_TEMPLATE("pointwise losses equal their formulas at every size on every device", T, float, double) {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    for (const LossRule& rule : k_all_rules)
      for (const std::int64_t n : k_sizes) {
        INFO(std::string(name(device)), " loss ", static_cast<int>(rule.kind), " of ", n);
        check_pointwise<T>(exec, rule, n);
      }
  }
}

TEST_CASE("pointwise losses at their edges on every device") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const Device device : test::devices()) {
    const Exec exec(device);
    const auto run = [&](const LossRule& rule, double x, double t) {
      std::vector<double> in{x, t}, out(2, -7);
      {
        const Mirror mi(exec, in), mo(exec, out);
        kernels::pointwise_loss<double>(exec, rule, mi.span().first(1), mi.span().last(1), {1, mo.data()},
                                        mo.span().last(1));
      }
      return out;
    };
    using Pair = std::vector<double>;
    CHECK(run({LossKind::absolute}, 2, 2) == Pair{0, 0});
    CHECK(run({LossKind::smooth_absolute, 2}, 3, 1) == Pair{1, 1});  // where the two pieces meet
    CHECK(run({LossKind::binary}, 0, 1)[0] == 100);
    CHECK(run({LossKind::binary}, 1, 0)[0] == 100);
    CHECK(run({LossKind::binary}, 0, 1)[1] == -1 / static_cast<double>(1e-12f));
    CHECK(run({LossKind::binary}, 1, 1) == Pair{0, 0});
    CHECK(run({LossKind::binary_logit}, 1000, 1) == Pair{0, 0});
    CHECK(run({LossKind::binary_logit}, -1000, 1) == Pair{1000, -1});
    CHECK(run({LossKind::binary_logit}, 1000, 0) == Pair{1000, 1});
    for (const LossRule& rule : k_all_rules) {
      CHECK(std::isnan(run(rule, nan, 0.5)[0]));
      CHECK(std::isnan(run(rule, nan, 0.5)[1]));
      CHECK(std::isnan(run(rule, 0.5, nan)[0]));
    }
  }
}

TEST_CASE_TEMPLATE("the Gaussian loss equals its formula at every size on every device", T, float, double) {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    for (const std::int64_t n : k_sizes) {
      const GaussianRule rule{.full = n % 2 == 1, .eps = 0.05};
      Values<T> mean(n, 1, -2, 2), variance(n, 2, 0.001, 0.5), target(n, 3, -2, 2);
      Values<T> loss(n), dm(n), dv(n);
      std::vector<T> value(2, T(-7));
      {
        const Mirror mm(exec, mean.all), mv(exec, variance.all), mt(exec, target.all), ml(exec, loss.all),
            mdm(exec, dm.all), mdv(exec, dv.all), mo(exec, value);
        kernels::gaussian_loss<T>(exec, rule, first(mm, n), first(mv, n), first(mt, n),
                                  {2, mo.data(), ml.data()}, first(mdm, n), first(mdv, n));
        kernels::gaussian_loss<T>(exec, rule, first(mm, n), first(mv, n), first(mt, n), {2, mo.data() + 1},
                                  {}, {});
      }
      long double sum = 0;
      double size = 0, worst = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        const double d = mean[i] - target[i], v = std::max(variance[i], static_cast<double>(T(0.05)));
        const double want = 0.5 * (std::log(v) + d * d / v) + (rule.full ? 0.5 * std::log(2 * M_PI) : 0);
        const double by_v = 0.5 / v * (1 - d * d / v);
        sum += want, size += std::abs(want);
        worst = test::worse(worst, std::abs(loss[i] - want) / std::max(1.0, std::abs(want)));
        worst = test::worse(worst, std::abs(2 * dm[i] - d / v) / std::max(1.0, std::abs(d / v)));
        worst = test::worse(worst, std::abs(2 * dv[i] - by_v) / std::max(0.5 / v, std::abs(by_v)));
      }
      INFO(std::string(name(device)), ' ', n);
      CHECK(worst <= 16 * k_epsilon<T>);
      CHECK(std::abs(static_cast<double>(value[0]) - static_cast<double>(sum) / 2) <=
            16 * k_epsilon<T> * (1 + size));
      CHECK(value[0] == value[1]);
      CHECK((loss.intact() && dm.intact() && dv.intact()));
    }
  }
}

namespace {

// The gradients of one triplet, in double.
struct TripletReference {
  double loss = 0;
  std::vector<double> da, dp, dn;

  template <class T>
  TripletReference(Guarded<T>& a, Guarded<T>& p, Guarded<T>& n, std::int64_t i, const TripletRule& rule) {
    double near = 0, far = 0;
    const auto apart = [&](Guarded<T>& other, std::int64_t j) {
      return static_cast<double>(a(i, j)) - static_cast<double>(other(i, j)) + rule.eps;
    };
    for (std::int64_t j = 0; j < a.cols; ++j)
      near += apart(p, j) * apart(p, j), far += apart(n, j) * apart(n, j);
    near = std::sqrt(near), far = std::sqrt(far);
    loss = std::max(0.0, near - far + rule.margin);
    const bool on = near - far + rule.margin >= 0;
    for (std::int64_t j = 0; j < a.cols; ++j) {
      const double to_p = on && near > 0 ? apart(p, j) / near : 0,
                   to_n = on && far > 0 ? apart(n, j) / far : 0;
      da.push_back(to_p - to_n), dp.push_back(-to_p), dn.push_back(to_n);
    }
  }
};

template <class T>
void check_triplets(const Exec& exec, std::int64_t rows, std::int64_t cols) {
  const TripletRule rule{.margin = 0.3, .eps = 1e-3};
  Guarded<T> a(rows, cols), p(rows, cols), n(rows, cols), da(rows, cols), dp(rows, cols), dn(rows, cols);
  a.fill_normal(1), p.fill_normal(2), n.fill_normal(3);
  std::vector<T> loss(static_cast<std::size_t>(rows)), value(2, T(-7));
  {
    const Mirror ma(exec, a.block), mp(exec, p.block), mn(exec, n.block), mda(exec, da.block),
        mdp(exec, dp.block), mdn(exec, dn.block), ml(exec, loss), mv(exec, value);
    kernels::triplet_loss<T>(exec, rule, ma.view(a.view()), mp.view(p.view()), mn.view(n.view()),
                             {4, mv.data(), ml.data()},
                             {mda.view(da.view()), mdp.view(dp.view()), mdn.view(dn.view())});
    kernels::triplet_loss<T>(exec, rule, ma.view(a.view()), mp.view(p.view()), mn.view(n.view()),
                             {4, mv.data() + 1}, {});
  }
  double sum = 0, worst = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const TripletReference want(a, p, n, i, rule);
    sum += want.loss;
    // Distances grow with the root of the number of columns.
    worst = test::worse(worst, std::abs(static_cast<double>(loss[static_cast<std::size_t>(i)]) - want.loss) /
                                   (1 + std::sqrt(static_cast<double>(cols))));
    for (std::int64_t j = 0; j < cols; ++j) {
      const auto at = static_cast<std::size_t>(j);
      worst = test::worse(worst, std::abs(4 * static_cast<double>(da(i, j)) - want.da[at]));
      worst = test::worse(worst, std::abs(4 * static_cast<double>(dp(i, j)) - want.dp[at]));
      worst = test::worse(worst, std::abs(4 * static_cast<double>(dn(i, j)) - want.dn[at]));
    }
  }
  CHECK(worst <= 32 * k_epsilon<T>);
  CHECK(std::abs(static_cast<double>(value[0]) - sum / 4) <= 64 * k_epsilon<T> * (1 + sum));
  CHECK(value[0] == value[1]);
  CHECK((da.guards_intact() && dp.guards_intact() && dn.guards_intact()));
}

}  // namespace

TEST_CASE_TEMPLATE("triplet losses equal their formula at every size on every device", T, float, double) {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    for (const std::int64_t rows : {0, 1, 2, 31, 33, 300})
      for (const std::int64_t cols : {1, 2, 15, 16, 17, 31, 33, 100}) {
        INFO(std::string(name(device)), ' ', rows, " x ", cols);
        check_triplets<T>(exec, rows, cols);
      }
  }
}

TEST_CASE("triplets of coincident points have no gradient on every device") {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    std::vector<double> a{1, 2}, d(6, -7), value{-7};
    {
      const Mirror ma(exec, a), md(exec, d), mv(exec, value);
      const kernels::MatView<const double> same(ma.data(), 1, 2);
      kernels::triplet_loss<double>(exec, {.margin = 1, .eps = 0}, same, same, same, {1, mv.data()},
                                    {{md.data(), 1, 2}, {md.data() + 2, 1, 2}, {md.data() + 4, 1, 2}});
    }
    CHECK(value[0] == 1);
    for (const double v : d) CHECK(v == 0);
  }
}

TEST_CASE_TEMPLATE("losses give the same bits for any number of threads", T, float, double) {
  const std::int64_t n = 20000;
  const Values<T> x(n, 1, -3, 3), t(n, 2, -3, 3), v(n, 3, 0.1, 1);
  const auto span = [&](const Values<T>& values) { return std::span<const T>(values.all).first(n); };
  test::check_threads([&](const Exec& exec) {
    std::vector<T> out(2);
    kernels::pointwise_loss<T>(exec, {LossKind::squared}, span(x), span(t), {1, &out[0]}, {});
    kernels::gaussian_loss<T>(exec, {}, span(x), span(v), span(t), {1, &out[1]}, {}, {});
    return out;
  });
  const auto rows = [&](const Values<T>& values) { return kernels::In<T>(values.all.data(), 2000, 10); };
  test::check_threads([&](const Exec& exec) {
    T out = 0;
    kernels::triplet_loss<T>(exec, {}, rows(x), rows(t), rows(v), {1, &out}, {});
    return out;
  });
}

TEST_CASE("losses name what does not fit") {
  std::vector<float> three(3), four(4);
  float value = 0;
  const LossOut<float> out{1, &value};
  const auto pointwise = [&](LossRule rule, std::vector<float>& t, std::vector<float>& dx,
                             const LossOut<float>& where) {
    return test::error_of(
        [&] { kernels::pointwise_loss<float>(Exec(), rule, three, t, where, std::span(dx)); });
  };
  CHECK(test::contains(pointwise({}, four, three, out), "3 predictions but an input of 4"));
  CHECK(test::contains(pointwise({}, three, four, out), "3 predictions but a gradient of 4"));
  CHECK(test::contains(pointwise({}, three, three, {0, &value}), "the divisor is 0"));
  CHECK(test::contains(pointwise({LossKind::smooth_absolute, 0}, three, three, out), "beta is 0"));
  CHECK(test::contains(
      test::error_of([&] { kernels::gaussian_loss<float>(Exec(), {}, three, four, three, out, {}, {}); }),
      "gaussian_loss: there are 3 predictions but an input of 4"));
  CHECK(test::contains(test::error_of([&] {
                         kernels::gaussian_loss<float>(Exec(), {.eps = 0}, three, three, three, out, {}, {});
                       }),
                       "eps is 0"));
  const kernels::In<float> a(four.data(), 2, 2), b(four.data(), 1, 4);
  CHECK(test::contains(test::error_of([&] { kernels::triplet_loss<float>(Exec(), {}, a, a, b, out, {}); }),
                       "the anchors are (2, 2) but their partners (1, 4)"));
}
