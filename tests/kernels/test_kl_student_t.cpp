#include <flatland/kernels/divergence.h>
#include <flatland/kernels/similarity.h>
#include <tests/support/errors.h>
#include <tests/support/golden.h>
#include <tests/support/relation_reference.h>

#include <numeric>

using namespace flatland;
using namespace flatland::test;
using kernels::Exec;
using kernels::In;
using kernels::MatView;
using kernels::Out;

namespace {

constexpr double k_kl_eps = 1e-7;

struct Result {
  double loss = 0;
  std::vector<double> dy;
};

// The obvious double loops over all pairs, for symmetric p (or any p: its two triangles pull together).
Result reference(double alpha, const std::vector<double>& y, std::int64_t n, std::int64_t d,
                 const std::vector<double>& p) {
  const auto at = [n](std::int64_t i, std::int64_t j) { return static_cast<std::size_t>(i * n + j); };
  const auto difference = [&](std::int64_t i, std::int64_t j, std::int64_t c) {
    return y[static_cast<std::size_t>(i * d + c)] - y[static_cast<std::size_t>(j * d + c)];
  };
  const auto squared_dist = [&](std::int64_t i, std::int64_t j) {
    double d2 = 0;
    for (std::int64_t c = 0; c < d; ++c) d2 += difference(i, j, c) * difference(i, j, c);
    return d2;
  };
  std::vector<double> w(p.size(), 0);
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      if (i != j) sum += w[at(i, j)] = std::pow(1 + squared_dist(i, j) / alpha, -(alpha + 1) / 2);
  Result r{0, std::vector<double>(y.size(), 0)};
  double dq_q = 0;
  const auto dq = [&](std::int64_t i, std::int64_t j) {
    return -p[at(i, j)] / (w[at(i, j)] / sum + k_kl_eps) / static_cast<double>(n);
  };
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      if (i == j || p[at(i, j)] == 0) continue;
      const double q = w[at(i, j)] / sum;
      r.loss +=
          p[at(i, j)] * (std::log(p[at(i, j)] + k_kl_eps) - std::log(q + k_kl_eps)) / static_cast<double>(n);
      dq_q += dq(i, j) * q;
    }
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      if (i == j) continue;
      const double slope = -(alpha + 1) / 2 * w[at(i, j)] / (alpha + squared_dist(i, j));
      for (std::int64_t c = 0; c < d; ++c)
        r.dy[static_cast<std::size_t>(i * d + c)] +=
            (dq(i, j) + dq(j, i) - 2 * dq_q) / sum * slope * 2 * difference(i, j, c);
    }
  return r;
}

template <class T>
Result fused(const Exec& exec, double alpha, const std::vector<double>& y, std::int64_t n, std::int64_t d,
             const std::vector<double>& p) {
  // Guards: NaN past the columns of y, a sentinel past those of dy, a diagonal that counts for nothing.
  const std::int64_t ld = d + 2;
  std::vector<T> yt(static_cast<std::size_t>(n * ld), static_cast<T>(NAN));
  std::vector<T> dy(static_cast<std::size_t>(n * ld), T(-7));
  std::vector<double> with_diagonal = p;
  for (std::int64_t i = 0; i < n; ++i) {
    with_diagonal[static_cast<std::size_t>(i * n + i)] = 0.25;
    for (std::int64_t c = 0; c < d; ++c)
      yt[static_cast<std::size_t>(i * ld + c)] = static_cast<T>(y[static_cast<std::size_t>(i * d + c)]);
  }
  OwnedSparse<T> sparse = to_sparse<T>(with_diagonal, n);
  Result r;
  {
    const SparseMirror<T> rows(exec, sparse);
    const Mirror<T> myt(exec, yt), mdy(exec, dy);
    const MatView<const T> view(myt.data(), n, d, ld);
    const T loss =
        kernels::kl_student_t<T>(exec, alpha, k_kl_eps, view, rows.view(), Out<T>(mdy.data(), n, d, ld));
    CHECK(kernels::kl_student_t<T>(exec, alpha, k_kl_eps, view, rows.view(), Out<T>()) == loss);
    r.loss = static_cast<double>(loss);
  }
  bool guarded = true;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t c = 0; c < d; ++c)
      r.dy.push_back(static_cast<double>(dy[static_cast<std::size_t>(i * ld + c)]));
    guarded = guarded && dy[static_cast<std::size_t>(i * ld + d)] == T(-7);
  }
  CHECK(guarded);
  return r;
}

std::vector<double> normalized(std::vector<double> p) {
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  if (sum > 0)
    for (double& v : p) v /= sum;
  return p;
}
double largest(const std::vector<double>& v) {
  double m = 0;
  for (const double x : v) m = std::max(m, std::abs(x));
  return m;
}
// The floors are the sizes of the terms: with two items q = p and what is left is rounding.
void check_agrees(const Result& got, const Result& want, std::int64_t n, double tolerance) {
  const double share = 1 / static_cast<double>(n);
  CHECK(std::abs(got.loss - want.loss) <= tolerance * std::max(std::abs(want.loss), 0.1 * share));
  check_close(got.dy, want.dy, tolerance, std::max(largest(want.dy), share * share));
}

}  // namespace

TEST_CASE("kl_student_t equals the double loop over all pairs, at every tile edge, on every device") {
  for (const std::int64_t n : {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 200})
    for (const std::int64_t d : n % 2 == 0 ? std::array{2, 3, 5} : std::array{1, 4, 7}) {
      const double alpha = std::array{0.5, 1.0, 2.5}[static_cast<std::size_t>(n + d) % 3];
      INFO("n ", n, " d ", d, " alpha ", alpha);
      // As float rounds them, so that both precisions see the same input.
      const std::vector<float> yf = random_values<float>(n * d, static_cast<unsigned>(n + d), -4, 4);
      const std::vector<double> y(yf.begin(), yf.end());
      const std::vector<double> p = normalized(random_relation(n, 20, true, static_cast<unsigned>(n)));
      const Result want = reference(alpha, y, n, d, p);
      for (const Device device : devices()) {
        const Exec exec(device);
        check_agrees(fused<double>(exec, alpha, y, n, d, p), want, n, 1e-12);
        check_agrees(fused<float>(exec, alpha, y, n, d, p), want, n, 5e-6);
      }
    }
}

// A GPU cuts so many pairs in another way, and a row of p is longer than a warp.
TEST_CASE("kl_student_t equals the double loop for many items on every device") {
  const auto check = [](std::int64_t n, std::int64_t d, double alpha) {
    INFO("n ", n, " d ", d, " alpha ", alpha);
    const std::vector<float> yf = random_values<float>(n * d, 3, -20, 20);
    const std::vector<double> y(yf.begin(), yf.end());
    const std::vector<double> p = normalized(random_relation(n, 70, true, 2));
    const Result want = reference(alpha, y, n, d, p);
    for (const Device device : devices())
      check_agrees(fused<float>(Exec(device), alpha, y, n, d, p), want, n, 5e-6);
  };
  check(2049, 2, 1);
  check(2176, 3, 2.5);
}

TEST_CASE("kl_student_t in float stays accurate far apart and close together on every device") {
  constexpr std::int64_t n = 300;
  const std::vector<double> p = normalized(random_relation(n, 30, true, 1));
  for (const double scale : {1e-6, 1e-3, 1.0, 100.0, 1e4}) {
    INFO("scale ", scale);
    const std::vector<float> yf = random_values<float>(n * 2, 2, -scale, scale);
    const std::vector<double> y(yf.begin(), yf.end());
    const Result want = reference(1, y, n, 2, p);
    for (const Device device : devices())
      check_agrees(fused<float>(Exec(device), 1, y, n, 2, p), want, n, 1e-5);
  }
}

TEST_CASE("kl_student_t has the same bits again on every device") {
  for (const std::int64_t n : {333, 2050})
    for (const std::int64_t d : {2, 5}) {
      if (n > 1000 && d > 3) continue;
      const std::vector<double> p = normalized(random_relation(n, 40, true, 7));
      const std::vector<double> y = random_values<double>(n * d, 8, -3, 3);
      for (const Device device : devices()) {
        const Exec exec(device);
        const Result first = fused<float>(exec, 1, y, n, d, p), again = fused<float>(exec, 1, y, n, d, p);
        CHECK(first.loss == again.loss);
        CHECK(first.dy == again.dy);
      }
    }
}

TEST_CASE("kl_student_t equals student_t, normalise and kl_divergence composed") {
  constexpr std::int64_t n = 90;
  const std::vector<double> y = random_values<double>(n * 2, 3, -3, 3);
  const std::vector<double> p = normalized(random_relation(n, 25, true, 4));
  for (const double alpha : {0.7, 1.0, 3.0}) {
    std::vector<double> dist(n * n), w(n * n), q, dq(n * n), dw(n * n), d_dist(n * n), dy(n * 2, 0);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        dist[static_cast<std::size_t>(i * n + j)] =
            std::hypot(y[static_cast<std::size_t>(2 * i)] - y[static_cast<std::size_t>(2 * j)],
                       y[static_cast<std::size_t>(2 * i + 1)] - y[static_cast<std::size_t>(2 * j + 1)]);
    kernels::student_t<double>(Exec(), alpha, dist, w);
    for (std::int64_t i = 0; i < n; ++i) w[static_cast<std::size_t>(i * n + i)] = 0;
    const double sum = std::accumulate(w.begin(), w.end(), 0.0);
    q = normalized(w);
    const MatView<const double> pv(p.data(), n, n), qv(q.data(), n, n);
    Result want{kernels::kl_divergence<double>(Exec(), k_kl_eps, pv, qv), {}};
    const double one = 1;
    kernels::kl_divergence_backward<double>(Exec(), k_kl_eps, &one, pv, qv, Out<double>(dq.data(), n, n),
                                            Out<double>());
    const double inner = std::inner_product(dq.begin(), dq.end(), q.begin(), 0.0);
    for (std::size_t e = 0; e < dq.size(); ++e) dw[e] = (dq[e] - inner) / sum;
    for (std::int64_t i = 0; i < n; ++i) dw[static_cast<std::size_t>(i * n + i)] = 0;
    kernels::student_t_backward<double>(Exec(), alpha, dist, w, dw, d_dist);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        for (std::int64_t c = 0; i != j && c < 2; ++c) {
          const auto e = static_cast<std::size_t>(i * n + j);
          dy[static_cast<std::size_t>(2 * i + c)] +=
              2 * d_dist[e] / dist[e] *
              (y[static_cast<std::size_t>(2 * i + c)] - y[static_cast<std::size_t>(2 * j + c)]);
        }
    want.dy = dy;
    check_agrees(fused<double>(Exec(), alpha, y, n, 2, p), want, n, 1e-12);
  }
}

TEST_CASE("the gradient of kl_student_t agrees with central differences") {
  constexpr std::int64_t n = 20;
  const std::vector<double> p = normalized(random_relation(n, 8, true, 5));
  for (const std::int64_t d : {1, 2, 3, 5})
    for (const double alpha : {0.5, 1.0, 4.0}) {
      INFO("d ", d, " alpha ", alpha);
      const std::vector<double> y = random_values<double>(n * d, 6, -2, 2);
      const Result got = fused<double>(Exec(), alpha, y, n, d, p);
      std::vector<double> want;
      for (std::size_t e = 0; e < y.size(); ++e) {
        const auto loss = [&](double step) {
          std::vector<double> moved = y;
          moved[e] += step;
          return fused<double>(Exec(), alpha, moved, n, d, p).loss;
        };
        constexpr double h = 1e-3;
        want.push_back((8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h));
      }
      check_close(got.dy, want, 1e-7, largest(got.dy));
    }
}

TEST_CASE(
    "kl_student_t agrees with ParaDime's chain of pdist, StudentT, Normalize and KL (golden student_t)") {
  const std::vector<double> y = golden("student_t/E").to_vector<double>();
  std::vector<double> p = golden("student_t/P").to_vector<double>();
  constexpr std::int64_t n = 50;
  const auto check = [&](double alpha, const std::string& tag, double loss) {
    INFO("alpha ", alpha);
    const Result got = fused<double>(Exec(), alpha, y, n, 2, p);
    CHECK(got.loss == doctest::Approx(loss).epsilon(1e-12));
    const std::vector<double> dy = golden("student_t/chain_grad_E_" + tag).to_vector<double>();
    check_close(got.dy, dy, 1e-12, largest(dy));
  };
  check(0.5, "0.5", 0.011881339177956916);
  check(1.0, "1.0", 0.012645750570512466);
  check(2.5, "2.5", 0.014697742721312248);
}

TEST_CASE("kl_student_t has the same bits for any number of threads") {
  constexpr std::int64_t n = 333;
  const std::vector<double> p = normalized(random_relation(n, 40, true, 7));
  for (const std::int64_t d : {2, 5}) {
    const std::vector<double> y = random_values<double>(n * d, 8, -3, 3);
    check_threads([&](const Exec& exec) {
      Result r = fused<float>(exec, 1, y, n, d, p);
      r.dy.push_back(r.loss);
      return r.dy;
    });
  }
}

TEST_CASE_TEMPLATE("kl_student_t stays finite on degenerate embeddings on every device", T, float, double) {
  constexpr std::int64_t n = 40;
  const std::vector<double> p = normalized(random_relation(n, 10, true, 9));
  const auto check_finite = [&](const Result& r) {
    CHECK(std::isfinite(r.loss));
    for (const double v : r.dy) CHECK(std::isfinite(v));
  };
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const std::int64_t d : {1, 2, 3, 4, 100}) {
      INFO("d ", d);
      std::vector<double> y(static_cast<std::size_t>(n * d), 0.5);
      const Result same = fused<T>(exec, 1, y, n, d, p);
      check_finite(same);
      CHECK(largest(same.dy) == 0);
      for (const double far : {1e4, 1e30}) {
        for (std::size_t i = 0; i < y.size(); ++i) y[i] = far * (static_cast<double>(i) - 40);
        check_finite(fused<T>(exec, 1, y, n, d, p));
        check_finite(fused<T>(exec, 2.5, y, n, d, p));
      }
      const Result none = fused<T>(exec, 1, y, n, d, std::vector<double>(n * n, 0.0));
      CHECK(none.loss == 0);
      CHECK(largest(none.dy) == 0);
      check_finite(fused<T>(exec, 1, std::vector<double>(static_cast<std::size_t>(d), 1.0), 1, d, {0.0}));
    }
    CHECK(fused<T>(exec, 1, {}, 0, 2, {}).loss == 0);
  }
}

TEST_CASE("kl_student_t names what is wrong") {
  const OwnedSparse<float> p = to_sparse<float>(random_relation(5, 3, true, 1), 5);
  const std::vector<float> values(20);
  std::vector<float> out(20);
  const auto run = [&](double alpha, double eps, std::int64_t n, std::int64_t d) {
    return error_of([&] {
      kernels::kl_student_t<float>(Exec(), alpha, eps, MatView<const float>(values.data(), n, d), p.view(),
                                   Out<float>(out.data(), 5, 2));
    });
  };
  CHECK(run(1, k_kl_eps, 5, 2).empty());
  CHECK(contains(run(0, k_kl_eps, 5, 2), "alpha is 0"));
  CHECK(contains(run(1, 0, 5, 2), "eps is 0"));
  CHECK(contains(run(1, k_kl_eps, 4, 2), "y is (4, 2) but p is (5, 5)"));
  CHECK(contains(run(1, k_kl_eps, 5, 3), "dy is (5, 2)"));
}
