#include <flatland/kernels/similarity.h>
#include <tests/support/errors.h>
#include <tests/support/golden.h>
#include <tests/support/relation_reference.h>

#include <array>

using namespace flatland;
using namespace flatland::test;
using kernels::Exec;

namespace {

const std::vector<std::int64_t> k_lengths{0, 1, 7, 15, 16, 17, 4095, 4096, 4097, 9000};

double student_t_reference(double alpha, double d) {
  return std::pow(1 + d * d / alpha, -(alpha + 1) / 2);
}
double cauchy_reference(double a, double b, double d) {
  return 1 / (1 + a * std::pow(d, 2 * b));
}

template <class T>
std::vector<T> student_t(const Exec& exec, double alpha, const std::vector<T>& dist) {
  std::vector<T> q(dist.size(), T(-7));
  kernels::student_t<T>(exec, alpha, dist, q);
  return q;
}
template <class T>
std::vector<T> modified_cauchy(const Exec& exec, double a, double b, const std::vector<T>& dist) {
  std::vector<T> q(dist.size(), T(-7));
  kernels::modified_cauchy<T>(exec, a, b, dist, q);
  return q;
}
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Central differences with Richardson's step: error of order h^4.
template <class F>
double slope(const F& f, double x, double h) {
  const double wide = (f(x + 2 * h) - f(x - 2 * h)) / (4 * h);
  return (4 * (f(x + h) - f(x - h)) / (2 * h) - wide) / 3;
}

std::vector<double> doubles(const char* name) {
  return golden(name).to_vector<double>();
}
std::vector<double> doubles(const std::string& name) {
  return golden(name).to_vector<double>();
}

}  // namespace

TEST_CASE_TEMPLATE("student_t is its formula at every size", T, float, double) {
  for (const std::int64_t n : k_lengths)
    for (const double alpha : {0.5, 1.0, 2.5, 30.0}) {
      INFO("n ", n, " alpha ", alpha);
      std::vector<T> dist = random_values<T>(n, 3, 0, 30);
      if (n > 0) dist[0] = 0;
      std::vector<double> want;
      for (const T d : dist) want.push_back(student_t_reference(alpha, static_cast<double>(d)));
      // exp scales the rounding of (alpha + 1) / 2 log(1 + d^2 / alpha), up to 53 here.
      check_close(student_t(Exec(), alpha, dist), want, sizeof(T) == 4 ? 1e-5 : 2e-14);
      std::vector<T> in_place = dist;
      kernels::student_t<T>(Exec(), alpha, in_place, in_place);
      CHECK(in_place == student_t(Exec(), alpha, dist));
    }
}

TEST_CASE_TEMPLATE("modified_cauchy is its formula at every size", T, float, double) {
  for (const std::int64_t n : k_lengths)
    for (const auto& shape : {std::array{1.58, 0.9}, std::array{0.4, 1.3}, std::array{1.0, 1.0}}) {
      const double a = shape[0], b = shape[1];
      INFO("n ", n, " a ", a, " b ", b);
      std::vector<T> dist = random_values<T>(n, 4, 0, 30);
      if (n > 0) dist[0] = 0;
      if (n > 7) dist[7] = sizeof(T) == 4 ? T(1e30) : T(1e200);
      std::vector<double> want;
      for (const T d : dist) want.push_back(cauchy_reference(a, b, static_cast<double>(d)));
      const std::vector<T> q = modified_cauchy(Exec(), a, b, dist);
      check_close(q, want, sizeof(T) == 4 ? 1e-5 : 2e-14, 1e-30);
      if (n > 0) CHECK(q[0] == T(1));
    }
}

TEST_CASE("derivatives agree with central differences") {
  for (const double alpha : {0.3, 1.0, 4.0})
    for (const double d : {0.01, 0.7, 3.0, 20.0}) {
      INFO("alpha ", alpha, " d ", d);
      const std::vector<double> dist{d}, q = student_t(Exec(), alpha, dist), g{1.0};
      std::vector<double> d_dist(1);
      const double d_alpha = kernels::student_t_backward<double>(Exec(), alpha, dist, q, g, d_dist);
      CHECK(d_dist[0] ==
            doctest::Approx(slope([&](double x) { return student_t_reference(alpha, x); }, d, 1e-3))
                .epsilon(1e-7));
      CHECK(std::abs(d_alpha - slope([&](double x) { return student_t_reference(x, d); }, alpha, 1e-3)) <=
            1e-9);
    }
  for (const double b : {0.4, 0.9, 1.5})
    for (const double d : {0.01, 0.7, 3.0, 20.0}) {
      INFO("b ", b, " d ", d);
      constexpr double a = 1.6;
      const std::vector<double> dist{d}, q = modified_cauchy(Exec(), a, b, dist), g{1.0};
      std::vector<double> d_dist(1);
      const auto shape = kernels::modified_cauchy_backward<double>(Exec(), a, b, dist, q, g, d_dist);
      const double h = 1e-3 * std::min(1.0, d);
      CHECK(std::abs(d_dist[0] - slope([&](double x) { return cauchy_reference(a, b, x); }, d, h)) <=
            1e-7 * std::abs(d_dist[0]));
      CHECK(std::abs(shape.da - slope([&](double x) { return cauchy_reference(x, b, d); }, a, 1e-3)) <= 1e-9);
      CHECK(std::abs(shape.db - slope([&](double x) { return cauchy_reference(a, x, d); }, b, 1e-3)) <= 1e-9);
    }
}

TEST_CASE("distance 0 and far distances have finite derivatives") {
  const std::vector<float> dist{0, 1e-30F, 1e15F, 3e38F};
  const std::vector<float> g(4, 1);
  std::vector<float> d_dist(4, -7);
  for (const double b : {0.3, 1.0, 2.0}) {
    const auto q = modified_cauchy(Exec(), 1.5, b, dist);
    const auto shape = kernels::modified_cauchy_backward<float>(Exec(), 1.5, b, dist, q, g, d_dist);
    CHECK(d_dist[0] == 0);
    CHECK(std::isfinite(shape.da));
    CHECK(std::isfinite(shape.db));
    for (const float v : d_dist) CHECK(std::isfinite(v));
  }
  for (const double alpha : {0.5, 1.0}) {
    const auto q = student_t(Exec(), alpha, std::vector<float>{0, 1e-30F, 1e15F});
    d_dist.resize(3);
    const double d_alpha = kernels::student_t_backward<float>(Exec(), alpha, std::span(dist).first(3), q,
                                                              std::span(g).first(3), d_dist);
    CHECK(d_dist[0] == 0);
    CHECK(std::isfinite(d_alpha));
    for (const float v : d_dist) CHECK(std::isfinite(v));
    d_dist.resize(4);
  }
}

TEST_CASE("backward passes have the same bits for any number of threads, and may overwrite g") {
  const std::vector<float> dist = random_values<float>(20001, 5, 0, 9);
  const std::vector<float> g = random_values<float>(20001, 6, -1, 1);
  for (const double alpha : {1.0, 2.5}) {
    const std::vector<float> q = student_t(Exec(), alpha, dist);
    check_threads([&](const Exec& exec) {
      std::vector<float> d_dist = g;
      const double d_alpha = kernels::student_t_backward<float>(exec, alpha, dist, q, d_dist, d_dist);
      std::vector<double> all(d_dist.begin(), d_dist.end());
      all.push_back(d_alpha);
      all.push_back(kernels::student_t_backward<float>(exec, alpha, dist, q, g, {}));
      CHECK(all[all.size() - 1] == d_alpha);
      std::vector<float> without(g.size());
      kernels::student_t_backward<float>(exec, alpha, dist, q, g, without, nullptr);
      CHECK(without == d_dist);
      return all;
    });
  }
  const std::vector<float> q = modified_cauchy(Exec(), 1.5, 0.9, dist);
  check_threads([&](const Exec& exec) {
    std::vector<float> d_dist = g;
    const auto shape = kernels::modified_cauchy_backward<float>(exec, 1.5, 0.9, dist, q, d_dist, d_dist);
    std::vector<double> all(d_dist.begin(), d_dist.end());
    all.push_back(shape.da);
    all.push_back(shape.db);
    return all;
  });
}

TEST_CASE("student_t agrees with ParaDime's StudentTTransform (golden student_t)") {
  const std::vector<double> dist = doubles("student_t/d");
  const std::vector<double> g = doubles("student_t/upstream");
  const auto check = [&](double alpha, const std::string& tag, double want_d_alpha) {
    const std::vector<double> q = student_t(Exec(), alpha, dist);
    check_close(q, doubles("student_t/out_" + tag), 1e-12);
    std::vector<double> d_dist(dist.size());
    const double d_alpha = kernels::student_t_backward<double>(Exec(), alpha, dist, q, g, d_dist);
    check_close(d_dist, doubles("student_t/grad_d_" + tag), 1e-12);
    CHECK(d_alpha == doctest::Approx(want_d_alpha).epsilon(1e-12));
  };
  check(0.5, "0.5", -1.8836057074691839);
  check(1.0, "1.0", -0.700883657713542);
  check(2.5, "2.5", -0.16049987299098734);
}

namespace {
// ParaDime's ModifiedCauchyTransform (scipy curve_fit), and the same fit with tolerances of 1e-15.
struct CauchyCase {
  double min_dist, spread;
  const char* tag;
  double a, b, tight_a, tight_b, d_a, d_b;
};
const CauchyCase k_cauchy_cases[] = {
    {0.1, 1.0, "0.1_1.0", 1.5769434601962196, 0.8950608779914887, 1.576943613401783, 0.895060719336293,
     -1.0491967700169536, -3.8894843662118554},
    {0.01, 1.0, "0.01_1.0", 1.8956058659900246, 0.8006378439765344, 1.8956063657123943, 0.8006376269743616,
     -0.8895202968562664, -4.0960792803513435},
    {0.5, 1.0, "0.5_1.0", 0.583030020479462, 1.3341669929263487, 0.5830298054555996, 1.3341673833327503,
     -2.8486015409432137, -3.587748681696302},
    {0.25, 2.0, "0.25_2.0", 0.41627349693884963, 0.9218551322340262, 0.4162735226771734, 0.9218551183310867,
     -9.813694886705902, -9.578289165453024}};
}  // namespace

TEST_CASE("modified_cauchy agrees with ParaDime's ModifiedCauchyTransform (golden modified_cauchy)") {
  const std::vector<double> dist = doubles("modified_cauchy/d");
  const std::vector<double> g = doubles("modified_cauchy/upstream");
  for (const CauchyCase& c : k_cauchy_cases) {
    INFO("min_dist ", c.min_dist, " spread ", c.spread);
    const std::vector<double> q = modified_cauchy(Exec(), c.a, c.b, dist);
    check_close(q, doubles(std::string("modified_cauchy/out_") + c.tag), 1e-12);
    std::vector<double> d_dist(dist.size());
    const auto shape = kernels::modified_cauchy_backward<double>(Exec(), c.a, c.b, dist, q, g, d_dist);
    check_close(d_dist, doubles(std::string("modified_cauchy/grad_d_") + c.tag), 1e-12);
    CHECK(shape.da == doctest::Approx(c.d_a).epsilon(1e-12));
    CHECK(shape.db == doctest::Approx(c.d_b).epsilon(1e-12));
  }
}

TEST_CASE("fit_cauchy finds umap-learn's a and b") {
  for (const CauchyCase& c : k_cauchy_cases) {
    INFO("min_dist ", c.min_dist, " spread ", c.spread);
    const kernels::CauchyShape shape = kernels::fit_cauchy(c.min_dist, c.spread);
    CHECK(std::abs(shape.a - c.tight_a) <= 1e-8 * c.tight_a);
    CHECK(std::abs(shape.b - c.tight_b) <= 1e-8 * c.tight_b);
  }
}

TEST_CASE("fit_cauchy is stationary where it stops, and finite at the edges") {
  const auto squares = [](double a, double b, double min_dist, double spread) {
    std::vector<double> r;
    for (int i = 0; i < 300; ++i) {
      const double x = 3 * spread * i / 299;
      r.push_back(cauchy_reference(a, b, x) - (x < min_dist ? 1 : std::exp(-(x - min_dist) / spread)));
    }
    return dot(r, r);
  };
  for (const double min_dist : {0.0, 0.001, 0.3, 0.99, 1.5})
    for (const double spread : {0.5, 1.0, 3.0, 50.0}) {
      INFO("min_dist ", min_dist, " spread ", spread);
      const auto [a, b] = kernels::fit_cauchy(min_dist, spread);
      REQUIRE(std::isfinite(a));
      REQUIRE(std::isfinite(b));
      if (min_dist >= 3 * spread) continue;  // all ones: no minimum to find
      const double there = squares(a, b, min_dist, spread);
      for (const double step : {-1e-3, 1e-3}) {
        CHECK(there <= squares(a * (1 + step), b, min_dist, spread));
        CHECK(there <= squares(a, b * (1 + step), min_dist, spread));
      }
    }
}

TEST_CASE("similarities name what is wrong") {
  const std::vector<float> three(3), two(2);
  std::vector<float> out(3);
  const Exec exec;
  CHECK(contains(error_of([&] { kernels::student_t<float>(exec, 0, three, out); }), "alpha is 0"));
  CHECK(contains(error_of([&] { kernels::student_t<float>(exec, NAN, three, out); }), "alpha is nan"));
  CHECK(contains(error_of([&] { kernels::student_t<float>(exec, 1, two, out); }),
                 "dist holds 2 values but q 3"));
  CHECK(contains(error_of([&] { kernels::student_t_backward<float>(exec, 1, three, three, two, out); }),
                 "g 2"));
  CHECK(contains(error_of([&] { kernels::modified_cauchy<float>(exec, -1, 1, three, out); }), "a is -1"));
  CHECK(contains(
      error_of([&] { kernels::modified_cauchy_backward<float>(exec, 1, 0, three, three, three, out); }),
      "b is 0"));
  CHECK(contains(error_of([&] { kernels::fit_cauchy(0.1, 0); }), "spread 0"));
  CHECK(contains(error_of([&] { kernels::fit_cauchy(-0.1, 1); }), "min_dist is -0.1"));
}

TEST_CASE_TEMPLATE("similarities and their gradients are their formulas at every size on every device", T,
                   float, double) {
  constexpr bool single = sizeof(T) == 4;
  const auto as_double = [](T x) { return static_cast<double>(x); };
  for (const Device device : devices())
    for (const std::int64_t n : {0,  1,   2,   7,   15,  16,   17,   31,   32,   33,   63,  64,
                                 65, 255, 256, 257, 511, 4095, 4096, 4097, 8192, 8193, 9000}) {
      const Exec exec(device);
      INFO(std::string(name(device)), " n ", n);
      std::vector<T> dist = random_values<T>(n, 3, 0, 9), g = random_values<T>(n, 4, -1, 1);
      if (n > 0) dist[0] = 0;
      for (T parameter : {T(0.5), T(1), T(2.5)}) {
        std::vector<T> q(dist.size()), d_dist(dist.size()), placed(dist.size());
        std::vector<T> at{parameter}, d_alpha{T(-7)}, shape_gradient{T(-7), T(-7)};
        std::vector<T> cauchy(dist.size()), d_cauchy(dist.size());
        {
          const Mirror md(exec, dist), mg(exec, g), mq(exec, q), mdd(exec, d_dist), mp(exec, placed),
              mat(exec, at), ma(exec, d_alpha), ms(exec, shape_gradient), mc(exec, cauchy),
              mdc(exec, d_cauchy);
          kernels::student_t<T>(exec, as_double(parameter), md.span(), mq.span());
          kernels::student_t<T>(exec, static_cast<const T*>(mat.data()), md.span(), mp.span());
          kernels::student_t_backward<T>(exec, static_cast<const T*>(mat.data()), md.span(), mq.span(),
                                         mg.span(), mdd.span(), ma.data());
          kernels::modified_cauchy<T>(exec, static_cast<const T*>(mat.data()), 0.9, md.span(), mc.span());
          kernels::modified_cauchy_backward<T>(exec, as_double(parameter), 0.9, md.span(), mc.span(),
                                               mg.span(), mdc.span(), ms.data(), ms.data() + 1);
        }
        CHECK(placed == q);
        const double alpha = as_double(parameter), b = static_cast<double>(static_cast<T>(0.9));
        std::vector<double> want_q, want_d, want_c, want_dc;
        double want_alpha = 0, want_a = 0, want_b = 0;
        for (std::size_t i = 0; i < dist.size(); ++i) {
          const double d = as_double(dist[i]), gi = as_double(g[i]), w = student_t_reference(alpha, d);
          want_q.push_back(w);
          want_d.push_back(-gi * (alpha + 1) * d / (alpha + d * d) * w);
          want_alpha +=
              gi * w / 2 * ((alpha + 1) / alpha * d * d / (alpha + d * d) - std::log1p(d * d / alpha));
          const double c = cauchy_reference(alpha, b, d), power = std::pow(d, 2 * b);
          want_c.push_back(c);
          want_dc.push_back(d > 0 ? -gi * c * c * alpha * 2 * b * power / d : 0);
          want_a -= gi * c * c * power;
          want_b -= d > 0 ? gi * c * c * alpha * 2 * power * std::log(d) : 0;
        }
        // The exponents scale roundings; sums have n terms of size 1.
        check_close(q, want_q, single ? 1e-5 : 2e-14);
        check_close(d_dist, want_d, single ? 1e-5 : 2e-14);
        check_close(cauchy, want_c, single ? 1e-5 : 2e-14);
        check_close(d_cauchy, want_dc, single ? 2e-5 : 4e-14, 1e-3);
        const double sum_limit = (single ? 1e-6 : 1e-15) * (1 + std::sqrt(static_cast<double>(n)));
        CHECK(std::abs(as_double(d_alpha[0]) - want_alpha) <=
              sum_limit + (single ? 1e-6 : 1e-14) * std::abs(want_alpha));
        CHECK(std::abs(as_double(shape_gradient[0]) - want_a) <=
              4 * sum_limit + (single ? 1e-5 : 1e-13) * std::abs(want_a));
        CHECK(std::abs(as_double(shape_gradient[1]) - want_b) <=
              4 * sum_limit + (single ? 1e-5 : 1e-13) * std::abs(want_b));
      }
    }
}

TEST_CASE("similarities of very many values on every device") {
  for (const Device device : devices()) {
    const Exec exec(device);
    constexpr std::int64_t n = 1'100'000;
    std::vector<float> dist = random_values<float>(n, 3, 0, 9), g = random_values<float>(n, 4, -1, 1);
    std::vector<float> q(dist.size()), c(dist.size()), dq(dist.size()), dc(dist.size());
    {
      const Mirror md(exec, dist), mg(exec, g), mq(exec, q), mc(exec, c), mdq(exec, dq), mdc(exec, dc);
      kernels::student_t<float>(exec, 1, md.span(), mq.span());
      kernels::modified_cauchy<float>(exec, 1.5, 1, md.span(), mc.span());
      // No parameter is trained: no sums.
      kernels::student_t_backward<float>(exec, 1, md.span(), mq.span(), mg.span(), mdq.span(), nullptr);
      kernels::modified_cauchy_backward<float>(exec, 1.5, 1, md.span(), mc.span(), mg.span(), mdc.span(),
                                               nullptr, nullptr);
    }
    std::vector<double> want_q, want_dq, want_c, want_dc;
    for (std::size_t i = 0; i < dist.size(); ++i) {
      const double d = static_cast<double>(dist[i]), gi = static_cast<double>(g[i]);
      want_q.push_back(1 / (1 + d * d));
      want_dq.push_back(-2 * gi * d / std::pow(1 + d * d, 2));
      want_c.push_back(1 / (1 + 1.5 * d * d));
      want_dc.push_back(-3 * gi * d / std::pow(1 + 1.5 * d * d, 2));
    }
    check_close(q, want_q, 1e-6);
    check_close(dq, want_dq, 1e-6);
    check_close(c, want_c, 1e-5);
    check_close(dc, want_dc, 2e-5, 1e-3);
  }
}

TEST_CASE("gradients of a single parameter of modified_cauchy on every device") {
  for (const Device device : devices())
    for (const std::int64_t n : {5, 9000}) {
      const Exec exec(device);
      std::vector<double> dist = random_values<double>(n, 3, 0, 9), g = random_values<double>(n, 4, -1, 1);
      std::vector<double> q(dist.size()), both{-7, -7}, single{-7, -7};
      {
        const Mirror md(exec, dist), mg(exec, g), mq(exec, q), mb(exec, both), ms(exec, single);
        kernels::modified_cauchy<double>(exec, 1.5, 0.9, md.span(), mq.span());
        const auto backward = [&](double* da, double* db) {
          kernels::modified_cauchy_backward<double>(exec, 1.5, 0.9, md.span(), mq.span(), mg.span(), {}, da,
                                                    db);
        };
        backward(mb.data(), mb.data() + 1);
        backward(ms.data(), nullptr);
        backward(nullptr, ms.data() + 1);
      }
      CHECK(single == both);
    }
}
