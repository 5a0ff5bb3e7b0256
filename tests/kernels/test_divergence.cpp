#include <flatland/kernels/divergence.h>
#include <flatland/kernels/similarity.h>
#include <tests/support/golden.h>
#include <tests/support/message.h>
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
  CHECK(contains(message([&] { kernels::kl_divergence<float>(Exec(), k_eps, b, b); }), "(3, 4)"));
  CHECK(contains(message([&] { kernels::kl_divergence<float>(Exec(), 0, a, a); }), "eps is 0"));
  CHECK(contains(message([&] {
                   kernels::fuzzy_cross_entropy<float>(Exec(), k_eps, v, std::span<const float>(v).first(3));
                 }),
                 "p holds 16 values but q 3"));
}
