#include <flatland/kernels/divergence.h>
#include <flatland/kernels/similarity.h>
#include <tests/support/errors.h>
#include <tests/support/golden.h>
#include <tests/support/relation_reference.h>

using namespace flatland;
using namespace flatland::test;
using kernels::Exec;
using kernels::In;
using kernels::MatView;
using kernels::Out;

namespace {

constexpr double k_eps = 1e-7;

std::vector<double> doubles(const std::string& name) {
  return golden(name).to_vector<double>();
}

template <class T>
std::vector<double> as_doubles(const std::vector<T>& v) {
  return {v.begin(), v.end()};
}

}  // namespace

TEST_CASE_TEMPLATE("kl_divergence leaves out the diagonal and reads nothing past the columns", T, float,
                   double) {
  for (const std::int64_t n : {0, 1, 2, 15, 16, 17, 33, 100}) {
    INFO("n ", n);
    const std::int64_t ld = n + 5;
    std::vector<T> p = random_values<T>(n * ld, 1), q = random_values<T>(n * ld, 2);
    std::vector<double> p_inside, q_inside;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < ld; ++j) {
        const auto at = static_cast<std::size_t>(i * ld + j);
        if (j >= n || i == j) p[at] = q[at] = static_cast<T>(NAN);
        if ((i + j) % 3 == 1) p[at] = 0;
        if (j >= n) continue;
        p_inside.push_back(static_cast<double>(p[at]));
        q_inside.push_back(static_cast<double>(q[at]));
      }
    const MatView<const T> pv(p.data(), n, n, ld), qv(q.data(), n, n, ld);
    const T got = kernels::kl_divergence<T>(Exec(), k_eps, pv, qv);
    const double want = kl_reference(p_inside, q_inside, n, k_eps);
    CHECK(std::abs(static_cast<double>(got) - want) <= (sizeof(T) == 4 ? 1e-5 : 1e-13));
    check_threads([&](const Exec& exec) { return kernels::kl_divergence<T>(exec, k_eps, pv, qv); });
  }
}

TEST_CASE(
    "kl_divergence and its gradients agree with ParaDime's kullback_leibler_div (golden relation_losses)") {
  const std::vector<double> p = doubles("relation_losses/kl_p"), q = doubles("relation_losses/kl_q");
  const MatView<const double> pv(p.data(), 40, 40), qv(q.data(), 40, 40);
  CHECK(kernels::kl_divergence<double>(Exec(), k_eps, pv, qv) ==
        doctest::Approx(0.01275629110438832).epsilon(1e-12));
  std::vector<double> dq(1600, -7), dp(1600, -7);
  const double one = 1, minus_two = -2;
  kernels::kl_divergence_backward<double>(Exec(), k_eps, &one, pv, qv, Out<double>(dq.data(), 40, 40),
                                          Out<double>(dp.data(), 40, 40));
  check_close(dq, doubles("relation_losses/kl_grad_q"), 1e-12);
  check_close(dp, doubles("relation_losses/kl_grad_p"), 1e-12, 0.025);
  // A view without data is skipped; g scales.
  std::vector<double> dq2(1600, -7);
  kernels::kl_divergence_backward<double>(Exec(), k_eps, &minus_two, pv, qv, Out<double>(dq2.data(), 40, 40),
                                          Out<double>());
  for (double& v : dq2) v /= -2;
  check_close(dq2, dq, 1e-15);
  std::vector<double> dp2(1600, -7);
  kernels::kl_divergence_backward<double>(Exec(), k_eps, &one, pv, qv, Out<double>(),
                                          Out<double>(dp2.data(), 40, 40));
  CHECK(dp2 == dp);
}

TEST_CASE(
    "fuzzy_cross_entropy and its gradient agree with ParaDime's cross_entropy_loss (golden "
    "relation_losses)") {
  const std::vector<double> p = doubles("relation_losses/ce_p"), q = doubles("relation_losses/ce_q");
  CHECK(kernels::fuzzy_cross_entropy<double>(Exec(), k_eps, p, std::span<const double>(q)) ==
        doctest::Approx(1.8181067141800795).epsilon(1e-12));
  std::vector<double> dq(q.size(), -7);
  const double one = 1;
  kernels::fuzzy_cross_entropy_backward<double>(Exec(), k_eps, &one, p, q, dq);
  check_close(dq, doubles("relation_losses/ce_grad_q"), 1e-12);
}

TEST_CASE_TEMPLATE("fuzzy_cross_entropy at every size and for any number of threads", T, float, double) {
  for (const std::int64_t n : {0, 1, 15, 16, 17, 4096, 4097, 10000}) {
    INFO("n ", n);
    const std::vector<T> p = random_values<T>(n, 1), q = random_values<T>(n, 2, 0.01, 0.99);
    double want = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double pi = static_cast<double>(p[i]), qi = static_cast<double>(q[i]);
      want -= pi * std::log(qi) + (1 - pi) * std::log(1 - qi);
    }
    if (n > 0) want /= static_cast<double>(n);
    const auto run = [&](const Exec& exec) {
      return kernels::fuzzy_cross_entropy<T>(exec, k_eps, p, std::span<const T>(q));
    };
    CHECK(std::abs(static_cast<double>(run(Exec())) - want) <= (sizeof(T) == 4 ? 2e-7 : 1e-14) * want);
    check_threads(run);
    std::vector<T> dq(q.size() + 1, T(-7));
    const T one = 1;
    kernels::fuzzy_cross_entropy_backward<T>(Exec(), k_eps, &one, p, q, std::span(dq).first(q.size()));
    CHECK(dq.back() == T(-7));
  }
}

TEST_CASE("divergences name what is wrong") {
  const std::vector<float> v(16);
  const MatView<const float> a(v.data(), 3, 3), b(v.data(), 3, 4);
  CHECK(contains(error_of([&] { kernels::kl_divergence<float>(Exec(), k_eps, b, b); }), "(3, 4)"));
  CHECK(contains(error_of([&] { kernels::kl_divergence<float>(Exec(), 0, a, a); }), "eps is 0"));
  CHECK(contains(error_of([&] {
                   kernels::fuzzy_cross_entropy<float>(Exec(), k_eps, v, std::span<const float>(v).first(3));
                 }),
                 "p holds 16 values but q 3"));
}

TEST_CASE_TEMPLATE("divergences and their gradients are their formulas at every size on every device", T,
                   float, double) {
  constexpr bool single = sizeof(T) == 4;
  const double eps = static_cast<double>(static_cast<T>(k_eps));
  for (const Device device : devices())
    for (const std::int64_t n :
         {0, 1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 66, 90, 100, 128, 129}) {
      const Exec exec(device);
      INFO(std::string(name(device)), " n ", n);
      const std::int64_t ld = n + 3;
      std::vector<T> p = random_values<T>(n * ld, 1, 0.01, 0.99), q = random_values<T>(n * ld, 2, 0.01, 0.99);
      std::vector<T> dq(p.size(), T(-7)), dp(p.size(), T(-7)), fuzzy_dq(p.size(), T(-7));
      std::vector<T> upstream{T(1.5)}, loss{T(-7), T(-7)}, again{T(-7), T(-7)};
      {
        const Mirror mp(exec, p), mq(exec, q), mdq(exec, dq), mdp(exec, dp), mf(exec, fuzzy_dq),
            mu(exec, upstream), ml(exec, loss), ma(exec, again);
        const MatView<const T> pv(mp.data(), n, n, ld), qv(mq.data(), n, n, ld);
        for (T* out : {ml.data(), ma.data()}) {
          kernels::kl_divergence<T>(exec, k_eps, pv, qv, out);
          kernels::fuzzy_cross_entropy<T>(exec, k_eps, mp.span(), std::span<const T>(mq.span()), out + 1);
        }
        kernels::kl_divergence_backward<T>(exec, k_eps, static_cast<const T*>(mu.data()), pv, qv,
                                           Out<T>(mdq.data(), n, n, ld), Out<T>(mdp.data(), n, n, ld));
        kernels::fuzzy_cross_entropy_backward<T>(exec, k_eps, static_cast<const T*>(mu.data()), mp.span(),
                                                 mq.span(), mf.span());
      }
      CHECK(loss == again);
      long double kl = 0, fuzzy = 0;
      std::vector<double> want_dq(p.size(), -7), want_dp(p.size(), -7), want_fuzzy;
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < ld; ++j) {
          const auto at = static_cast<std::size_t>(i * ld + j);
          const double pe = static_cast<double>(p[at]), qe = static_cast<double>(q[at]);
          fuzzy -= (pe * std::log(qe) + (1 - pe) * std::log(1 - qe)) / static_cast<double>(n * ld);
          want_fuzzy.push_back(1.5 * ((1 - pe) / (1 - qe) - pe / qe) / static_cast<double>(n * ld));
          if (j >= n) continue;
          want_dq[at] = want_dp[at] = 0;
          if (i == j) continue;
          const double ratio = std::log((pe + eps) / (qe + eps));
          kl += pe * ratio / static_cast<double>(n);
          want_dq[at] = -1.5 * pe / (qe + eps) / static_cast<double>(n);
          want_dp[at] = 1.5 * (ratio + pe / (pe + eps)) / static_cast<double>(n);
        }
      // A few roundings a term, of terms of size 1 (kl) and 1 / n (gradients).
      const double tolerance = single ? 1e-6 : 4e-15;
      CHECK(std::abs(loss[0] - kl) <= tolerance * std::max(1.0, static_cast<double>(n)));
      CHECK(std::abs(loss[1] - fuzzy) <= tolerance);
      const double scale = 1 / static_cast<double>(std::max<std::int64_t>(1, n));
      check_close(dq, want_dq, tolerance, scale);
      check_close(dp, want_dp, tolerance, 4 * scale);
      check_close(fuzzy_dq, want_fuzzy, 8 * tolerance, scale * scale);
    }
}

TEST_CASE("divergences of very many values on every device") {
  for (const Device device : devices()) {
    const Exec exec(device);
    constexpr std::int64_t n = 1'100'000;
    std::vector<float> p = random_values<float>(n, 1, 0.01, 0.99), q = random_values<float>(n, 2, 0.01, 0.99);
    std::vector<float> dq(p.size()), one{1}, loss{-7, -7};
    constexpr std::int64_t side = 1040;  // more rows than blocks
    {
      const Mirror mp(exec, p), mq(exec, q), mdq(exec, dq), mo(exec, one), ml(exec, loss);
      kernels::fuzzy_cross_entropy<float>(exec, k_eps, mp.span(), std::span<const float>(mq.span()),
                                          ml.data());
      kernels::fuzzy_cross_entropy_backward<float>(exec, k_eps, static_cast<const float*>(mo.data()),
                                                   mp.span(), mq.span(), mdq.span());
      kernels::kl_divergence<float>(exec, k_eps, MatView<const float>(mp.data(), side, side),
                                    MatView<const float>(mq.data(), side, side), ml.data() + 1);
    }
    double want = 0;
    std::vector<double> want_dq;
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double pi = static_cast<double>(p[i]), qi = static_cast<double>(q[i]);
      want -= (pi * std::log(qi) + (1 - pi) * std::log(1 - qi)) / static_cast<double>(n);
      want_dq.push_back(((1 - pi) / (1 - qi) - pi / qi) / static_cast<double>(n));
    }
    CHECK(std::abs(static_cast<double>(loss[0]) - want) <= 1e-6);
    check_close(dq, want_dq, 8e-6, 1 / static_cast<double>(n));
    const std::vector<double> square_p(p.begin(), p.begin() + side * side),
        square_q(q.begin(), q.begin() + side * side);
    const double kl = kl_reference(square_p, square_q, side, k_eps);
    CHECK(std::abs(static_cast<double>(loss[1]) - kl) <= 1e-6 * side);
  }
}

TEST_CASE("clamped similarities and skipped gradients on every device") {
  for (const Device device : devices()) {
    const Exec exec(device);
    // Where log clamp(q, eps, 1) or log clamp(1 - q, eps, 1) is clamped, it has no gradient.
    std::vector<double> p{0.25, 0.25, 0.25, 0.25}, q{0, 1, 1e-9, 0.5}, dq(4, -7), one{1}, loss{-7};
    std::vector<double> kp = random_values<double>(9, 1), kq = random_values<double>(9, 2), dkq(9, -7),
                        dkp(9, -7), both_q(9, -7), both_p(9, -7);
    {
      const Mirror mp(exec, p), mq(exec, q), mdq(exec, dq), mo(exec, one), ml(exec, loss);
      const Mirror mkp(exec, kp), mkq(exec, kq), m1(exec, dkq), m2(exec, dkp), m3(exec, both_q),
          m4(exec, both_p);
      kernels::fuzzy_cross_entropy<double>(exec, k_eps, mp.span(), std::span<const double>(mq.span()),
                                           ml.data());
      kernels::fuzzy_cross_entropy_backward<double>(exec, k_eps, static_cast<const double*>(mo.data()),
                                                    mp.span(), mq.span(), mdq.span());
      const MatView<const double> pv(mkp.data(), 3, 3), qv(mkq.data(), 3, 3);
      const auto backward = [&](Out<double> to_q, Out<double> to_p) {
        kernels::kl_divergence_backward<double>(exec, k_eps, static_cast<const double*>(mo.data()), pv, qv,
                                                to_q, to_p);
      };
      backward({m1.data(), 3, 3}, {});
      backward({}, {m2.data(), 3, 3});
      backward({m3.data(), 3, 3}, {m4.data(), 3, 3});
    }
    CHECK((dkq == both_q && dkp == both_p));
    const double low = std::log(k_eps), far = 0.75 / (1 - 1e-9);
    const double want =
        -(0.25 * low + 0.75 * low + 0.25 * low + 0.75 * std::log(1 - 1e-9) + std::log(0.5)) / 4;
    CHECK(loss[0] == doctest::Approx(want).epsilon(1e-14));
    check_close(dq, std::vector<double>{0.75 / 4, -0.25 / 4, far / 4, (0.75 - 0.25) / 0.5 / 4}, 1e-14);
  }
}
