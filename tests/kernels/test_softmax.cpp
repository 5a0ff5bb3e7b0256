#include <doctest/doctest.h>
#include <flatland/kernels/softmax.h>
#include <tests/support/devices.h>
#include <tests/support/errors.h>
#include <tests/support/golden.h>
#include <tests/support/matmul_reference.h>
#include <tests/support/ulps.h>

#include <numeric>
#include <string>

using namespace flatland;
using kernels::Exec;
using kernels::MatView;
using test::Guarded;

namespace {

// log softmax of a row in long double.
template <class T>
std::vector<long double> log_softmax(Guarded<T>& x, std::int64_t i) {
  long double top = -std::numeric_limits<long double>::infinity(), sum = 0;
  for (std::int64_t j = 0; j < x.cols; ++j) top = std::max<long double>(top, x(i, j));
  for (std::int64_t j = 0; j < x.cols; ++j) sum += std::exp(x(i, j) - top);
  std::vector<long double> y;
  for (std::int64_t j = 0; j < x.cols; ++j) y.push_back(x(i, j) - top - std::log(sum));
  return y;
}

template <class T>
std::vector<std::int64_t> labels_for(const Guarded<T>& x) {
  std::vector<std::int64_t> label;
  for (std::int64_t i = 0; i < x.rows; ++i) label.push_back((i * 7 + 3) % x.cols);
  return label;
}

template <class T>
Guarded<T> golden(const std::string& name) {
  const Tensor tensor = test::golden(name);
  Guarded<T> m(tensor.shape()[0], tensor.shape()[1], 0);
  std::size_t at = 0;
  const std::vector<double> values = tensor.to_vector<double>();
  m.fill([&] { return values[at++]; });
  return m;
}

template <class T>
void check_near(Guarded<T>& got, Guarded<double>& want, const char* what) {
  const double relative = sizeof(T) == 8 ? 1e-12 : 1e-5;
  double scale = 0;  // gradients are differences of values of this size
  for (std::int64_t i = 0; i < want.rows; ++i)
    for (std::int64_t j = 0; j < want.cols; ++j) scale = std::max(scale, std::abs(want(i, j)));
  for (std::int64_t i = 0; i < want.rows; ++i)
    for (std::int64_t j = 0; j < want.cols; ++j) {
      INFO(what, " at ", i, " ", j, ": ", got(i, j), " want ", want(i, j));
      CHECK(std::abs(got(i, j) - want(i, j)) <= relative * std::abs(want(i, j)) + relative * 0.01 * scale);
    }
}

}  // namespace

TEST_CASE_TEMPLATE("softmax and its logarithm equal long double sums, rows sum to 1", T, float, double) {
  const double eps = std::numeric_limits<T>::epsilon();
  for (const std::int64_t m : {1, 2, 3, 8, 10, 15, 16, 17, 100, 1000})
    for (const double scale : {1.0, 30.0}) {
      Guarded<T> x(23, m), y(23, m), log_y(23, m);
      x.fill_normal(static_cast<unsigned>(m));
      for (std::int64_t i = 0; i < x.rows; ++i)
        for (std::int64_t j = 0; j < m; ++j) x(i, j) *= static_cast<T>(scale);
      kernels::softmax_rows<T>(Exec(), x.view(), y.view());
      kernels::log_softmax_rows<T>(Exec(), x.view(), log_y.view());
      CHECK((y.guards_intact() && log_y.guards_intact()));
      for (std::int64_t i = 0; i < x.rows; ++i) {
        const std::vector<long double> want = log_softmax(x, i);
        long double sum = 0;
        for (std::int64_t j = 0; j < m; ++j) {
          sum += y(i, j);
          const long double w = want[static_cast<std::size_t>(j)];
          // x - max is rounded, and exp turns that into a relative error of |x - max| eps
          CHECK(std::abs(log_y(i, j) - w) <= 4 * eps * (1 + std::abs(w)));
          CHECK(std::abs(y(i, j) - std::exp(w)) <=
                4 * eps * (2 + std::abs(w)) * std::exp(w) + std::numeric_limits<T>::min());
        }
        CHECK(std::abs(sum - 1) <= 8 * eps);
      }
    }
}

TEST_CASE_TEMPLATE("softmax survives extreme rows", T, float, double) {
  const T inf = std::numeric_limits<T>::infinity();
  Guarded<T> x(3, 3), y(3, 3), log_y(3, 3);
  x.fill([values =
              std::vector<T>{T(1e30), T(-1e30), 0, -inf, 0, -inf, 0, std::numeric_limits<T>::quiet_NaN(), 0},
          k = std::size_t{0}]() mutable { return values[k++]; });
  kernels::softmax_rows<T>(Exec(), x.view(), y.view());
  kernels::log_softmax_rows<T>(Exec(), x.view(), log_y.view());
  CHECK((y(0, 0) == 1 && y(0, 1) == 0 && y(0, 2) == 0));
  CHECK((y(1, 0) == 0 && y(1, 1) == 1 && log_y(1, 0) == -inf && log_y(1, 1) == 0));
  for (std::int64_t j = 0; j < 3; ++j) CHECK((std::isnan(y(2, j)) && std::isnan(log_y(2, j))));
}

TEST_CASE_TEMPLATE("softmax: same bits in place, alone, for any number of threads", T, float, double) {
  Guarded<T> x(3000, 11), dy(3000, 11);
  x.fill_normal(1);
  dy.fill_normal(2);
  Guarded<T> y(3000, 11), log_y(3000, 11), dx(3000, 11), log_dx(3000, 11);
  const auto all = [&](const Exec& exec, Guarded<T>& a, Guarded<T>& b, Guarded<T>& c, Guarded<T>& d) {
    kernels::softmax_rows<T>(exec, a.view(), a.view());
    kernels::log_softmax_rows<T>(exec, b.view(), b.view());
    kernels::softmax_rows_backward<T>(exec, a.view(), c.view(), c.view());
    kernels::log_softmax_rows_backward<T>(exec, b.view(), d.view(), d.view());
  };
  const Exec one(Device::cpu, 1);
  kernels::softmax_rows<T>(one, x.view(), y.view());
  kernels::log_softmax_rows<T>(one, x.view(), log_y.view());
  kernels::softmax_rows_backward<T>(one, y.view(), dy.view(), dx.view());
  kernels::log_softmax_rows_backward<T>(one, log_y.view(), dy.view(), log_dx.view());
  for (const int threads : {1, 2, 3, 8}) {
    Guarded<T> a = x, b = x, c = dy, d = dy;
    all(Exec(Device::cpu, threads), a, b, c, d);
    std::int64_t different = 0;
    for (std::int64_t i = 0; i < x.rows; ++i)
      for (std::int64_t j = 0; j < x.cols; ++j)
        different +=
            a(i, j) != y(i, j) || b(i, j) != log_y(i, j) || c(i, j) != dx(i, j) || d(i, j) != log_dx(i, j);
    CHECK(different == 0);
  }
  Guarded<T> alone(1, 11);
  kernels::softmax_rows<T>(one, {x.data() + 77 * x.ld, 1, 11, x.ld}, alone.view());
  for (std::int64_t j = 0; j < 11; ++j) CHECK(alone(0, j) == y(77, j));
}

TEST_CASE("gradients equal central differences") {
  const double h = 1e-5;
  Guarded<double> x(4, 9), u(4, 9), y(4, 9), dx(4, 9);
  x.fill_normal(3);
  u.fill_normal(4);
  const std::vector<std::int64_t> label = labels_for(x);
  for (int which = 0; which < 3; ++which) {
    const auto value = [&]() {
      if (which == 2) return kernels::softmax_cross_entropy<double>(Exec(), x.view(), label, {});
      (which == 0 ? kernels::softmax_rows<double> : kernels::log_softmax_rows<double>)(Exec(), x.view(),
                                                                                       y.view());
      double sum = 0;
      for (std::int64_t i = 0; i < 4; ++i)
        for (std::int64_t j = 0; j < 9; ++j) sum += u(i, j) * y(i, j);
      return sum;
    };
    value();
    if (which == 0) kernels::softmax_rows_backward<double>(Exec(), y.view(), u.view(), dx.view());
    if (which == 1) kernels::log_softmax_rows_backward<double>(Exec(), y.view(), u.view(), dx.view());
    if (which == 2) kernels::softmax_cross_entropy<double>(Exec(), x.view(), label, dx.view());
    const Guarded<double> gradient = dx;
    for (std::int64_t i = 0; i < 4; ++i)
      for (std::int64_t j = 0; j < 9; ++j) {
        const double at = x(i, j);
        x(i, j) = at + h;
        const double above = value();
        x(i, j) = at - h;
        const double below = value();
        x(i, j) = at;
        CHECK(std::abs((above - below) / (2 * h) - Guarded<double>(gradient)(i, j)) < 1e-9);
      }
  }
}

TEST_CASE_TEMPLATE("softmax_cross_entropy is the mean of the rows' losses", T, float, double) {
  for (const std::int64_t n : {1, 2, 500, 4000}) {
    Guarded<T> x(n, 10), dx(n, 10);
    x.fill_normal(5);
    const std::vector<std::int64_t> label = labels_for(x);
    long double sum = 0;
    for (std::int64_t i = 0; i < n; ++i)
      sum -= log_softmax(x, i)[static_cast<std::size_t>(label[static_cast<std::size_t>(i)])];
    const T loss = kernels::softmax_cross_entropy<T>(Exec(), x.view(), label, dx.view());
    CHECK(std::abs(loss - sum / n) <= 4 * std::numeric_limits<T>::epsilon() * sum / n);
    CHECK(dx.guards_intact());
    for (const int threads : {1, 2, 3, 8}) {
      Guarded<T> again(n, 10);
      CHECK(kernels::softmax_cross_entropy<T>(Exec(Device::cpu, threads), x.view(), label, again.view()) ==
            loss);
      CHECK(kernels::softmax_cross_entropy<T>(Exec(Device::cpu, threads), x.view(), label, {}) == loss);
      std::int64_t different = 0;
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < 10; ++j) different += again(i, j) != dx(i, j);
      CHECK(different == 0);
    }
  }
  CHECK(kernels::softmax_cross_entropy<T>(Exec(), MatView<const T>(nullptr, 0, 10), {}, {}) == 0);
}

// torch 1.13, float64: tests/golden/activations (rows of M) and tests/golden/losses (cross_entropy in
// meta.json).
TEST_CASE_TEMPLATE("softmax and cross-entropy equal PyTorch's", T, float, double) {
  Guarded<T> x = golden<T>("activations/M"), upstream = golden<T>("activations/M_upstream");
  Guarded<T> y = x, log_y = x, dx = x, log_dx = x;
  kernels::softmax_rows<T>(Exec(), x.view(), y.view());
  kernels::log_softmax_rows<T>(Exec(), x.view(), log_y.view());
  kernels::softmax_rows_backward<T>(Exec(), y.view(), upstream.view(), dx.view());
  kernels::log_softmax_rows_backward<T>(Exec(), log_y.view(), upstream.view(), log_dx.view());
  Guarded<double> want = golden<double>("activations/softmax");
  check_near(y, want, "softmax");
  want = golden<double>("activations/log_softmax");
  check_near(log_y, want, "log_softmax");
  want = golden<double>("activations/softmax_grad");
  check_near(dx, want, "softmax gradient");
  want = golden<double>("activations/log_softmax_grad");
  check_near(log_dx, want, "log_softmax gradient");

  Guarded<T> logits = golden<T>("losses/logits"), d_logits = logits;
  const std::vector<double> classes = test::golden("losses/classes").to_vector<double>();
  const std::vector<std::int64_t> label(classes.begin(), classes.end());
  const T loss = kernels::softmax_cross_entropy<T>(Exec(), logits.view(), label, d_logits.view());
  CHECK(std::abs(loss - 11.613326719747487) <= (sizeof(T) == 8 ? 1e-13 : 1e-6) * 11.6);
  want = golden<double>("losses/ce_grad");
  check_near(d_logits, want, "cross-entropy gradient");
}

TEST_CASE("softmax names what does not fit") {
  Guarded<float> x(2, 3, 0), y(3, 2, 0);
  CHECK(test::error_of([&] { kernels::softmax_rows<float>(Exec(), x.view(), y.view()); }) ==
        "softmax_rows: x is (2, 3) but y is (3, 2); they must have the same shape");
  CHECK(test::contains(test::error_of([&] {
                         kernels::log_softmax_rows_backward<float>(Exec(), x.view(), x.view(), y.view());
                       }),
                       "dx is (3, 2)"));
  const std::vector<std::int64_t> label = {0, 3};
  CHECK(test::error_of([&] { kernels::softmax_cross_entropy<float>(Exec(), x.view(), label, {}); }) ==
        "softmax_cross_entropy: label 3 of row 1 is not in [0, 3); number the classes from 0");
  CHECK(test::contains(test::error_of([&] {
                         kernels::softmax_cross_entropy<float>(Exec(), x.view(), std::span(label).first(1),
                                                               {});
                       }),
                       "there are 1 labels"));
}

TEST_CASE_TEMPLATE("softmax, its logarithm and its gradients equal long double sums on every device", T,
                   float, double) {
  const double eps = std::numeric_limits<T>::epsilon();
  for (const Device device : test::devices())
    for (const std::int64_t n : {0, 1, 7, 9, 23})
      for (const std::int64_t m : {1, 2, 10, 31, 32, 33, 100}) {
        const Exec exec(device);
        Guarded<T> x(n, m), dy(n, m), y(n, m), log_y(n, m), dx(n, m), log_dx(n, m);
        x.fill_normal(static_cast<unsigned>(m));
        dy.fill_normal(2);
        for (std::int64_t i = 0; i < n; ++i)  // exp of these would overflow, or all be 0
          for (std::int64_t j = 0; j < m; ++j) x(i, j) += static_cast<T>(1000 * (i % 3 - 1));
        {
          const test::Mirror mx(exec, x.block), mdy(exec, dy.block), my(exec, y.block),
              mlog(exec, log_y.block), mdx(exec, dx.block), mlogdx(exec, log_dx.block);
          kernels::softmax_rows<T>(exec, mx.view(x.view()), my.view(y.view()));
          kernels::log_softmax_rows<T>(exec, mx.view(x.view()), mlog.view(log_y.view()));
          kernels::softmax_rows_backward<T>(exec, my.view(y.view()), mdy.view(dy.view()),
                                            mdx.view(dx.view()));
          kernels::log_softmax_rows_backward<T>(exec, mlog.view(log_y.view()), mdy.view(dy.view()),
                                                mlogdx.view(log_dx.view()));
        }
        for (Guarded<T>* out : {&y, &log_y, &dx, &log_dx}) CHECK(out->guards_intact());
        long double worst = 0;
        for (std::int64_t i = 0; i < n; ++i) {
          const std::vector<long double> want = log_softmax(x, i);
          long double dot = 0, sum = 0;
          for (std::int64_t j = 0; j < m; ++j) {
            dot += std::exp(want[static_cast<std::size_t>(j)]) * dy(i, j);
            sum += dy(i, j);
          }
          for (std::int64_t j = 0; j < m; ++j) {
            const long double w = want[static_cast<std::size_t>(j)], p = std::exp(w);
            for (const long double error :
                 {y(i, j) - p, (log_y(i, j) - w) / (1 + std::abs(w)), dx(i, j) - p * (dy(i, j) - dot),
                  (log_dx(i, j) - (dy(i, j) - p * sum)) / (1 + p * std::abs(sum))})
              worst = test::worse(worst, std::abs(error));
          }
        }
        // Sums of up to m values of size 1, and exp of a difference that was rounded.
        CHECK(worst <= 16 * eps);
      }
}

TEST_CASE_TEMPLATE("softmax_cross_entropy and its gradient on every device", T, float, double) {
  const double eps = std::numeric_limits<T>::epsilon();
  for (const Device device : test::devices())
    for (const std::int64_t n : {0, 1, 8, 9, 500})
      for (const std::int64_t m : {1, 2, 10, 33, 100}) {
        const Exec exec(device);
        Guarded<T> x(n, m), dx(n, m);
        x.fill_normal(5);
        std::vector<std::int64_t> label = labels_for(x);
        T loss = 0, alone = 0;
        {
          const test::Mirror mx(exec, x.block), mdx(exec, dx.block);
          const test::Mirror ml(exec, label);
          loss = kernels::softmax_cross_entropy<T>(exec, mx.view(x.view()), ml.span(), mdx.view(dx.view()));
          alone = kernels::softmax_cross_entropy<T>(exec, mx.view(x.view()), ml.span(), {});
        }
        Guarded<T> rows_dx(n, m);
        std::vector<T> rows(static_cast<std::size_t>(n)), sum(1);
        {
          const test::Mirror mx(exec, x.block), mdx(exec, rows_dx.block), mr(exec, rows), ms(exec, sum);
          const test::Mirror ml(exec, label);
          kernels::softmax_cross_entropy<T>(exec, mx.view(x.view()), ml.span(),
                                            {.value = ms.data(), .loss = mr.data()},
                                            mdx.view(rows_dx.view()));
        }
        CHECK(rows_dx.guards_intact());
        const long double all = std::accumulate(rows.begin(), rows.end(), 0.0L);
        CHECK(std::abs(sum[0] - all) <= 16 * eps * all);
        CHECK(loss == alone);
        CHECK(dx.guards_intact());
        long double want = 0, worst = 0;
        for (std::int64_t i = 0; i < n; ++i) {
          const std::vector<long double> row = log_softmax(x, i);
          const std::int64_t l = label[static_cast<std::size_t>(i)];
          want -= row[static_cast<std::size_t>(l)] / n;
          const long double own = -row[static_cast<std::size_t>(l)];
          worst =
              test::worse<long double>(worst, std::abs(rows[static_cast<std::size_t>(i)] - own) / (1 + own));
          for (std::int64_t j = 0; j < m; ++j) {
            const long double slope = std::exp(row[static_cast<std::size_t>(j)]) - (j == l);
            worst = test::worse<long double>(worst, std::abs(dx(i, j) * n - slope));
            worst = test::worse<long double>(worst, std::abs(rows_dx(i, j) - slope));
          }
        }
        CAPTURE(n);
        CAPTURE(m);
        CHECK(std::abs(loss - want) <= 8 * eps * (1 + want));
        CHECK(worst <= 16 * eps);
      }
}

TEST_CASE("softmax of very many rows on every device") {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    constexpr std::int64_t n = 33'000;
    Guarded<float> x(n, 2), y(n, 2);
    x.fill_normal(7);
    {
      const test::Mirror mx(exec, x.block), my(exec, y.block);
      kernels::softmax_rows<float>(exec, mx.view(x.view()), my.view(y.view()));
    }
    float worst = 0;
    for (std::int64_t i = 0; i < n; ++i)
      worst = test::worse(worst, std::abs(y(i, 0) - 1 / (1 + std::exp(x(i, 1) - x(i, 0)))));
    CHECK(worst <= 1e-6f);
    CHECK(y.guards_intact());
  }
}

TEST_CASE("labels out of range add nothing on every device that does not name them") {
  for (const Device device : test::devices()) {
    if (device == Device::cpu) continue;  // Error, see above
    const Exec exec(device);
    Guarded<double> x(4, 3), dx(4, 3), known(2, 3), dknown(2, 3);
    x.fill_normal(5);
    for (std::int64_t i = 0; i < 2; ++i)
      for (std::int64_t j = 0; j < 3; ++j) known(i, j) = x(3 * i, j);
    std::vector<std::int64_t> label{2, -1, 3, 0}, known_label{2, 0};
    double loss = 0, known_loss = 0;
    {
      const test::Mirror mx(exec, x.block), mdx(exec, dx.block), mk(exec, known.block),
          mdk(exec, dknown.block);
      const test::Mirror ml(exec, label), mkl(exec, known_label);
      loss = kernels::softmax_cross_entropy<double>(exec, mx.view(x.view()), ml.span(), mdx.view(dx.view()));
      known_loss = kernels::softmax_cross_entropy<double>(exec, mk.view(known.view()), mkl.span(),
                                                          mdk.view(dknown.view()));
    }
    CHECK(loss == doctest::Approx(known_loss / 2).epsilon(1e-15));
    for (std::int64_t j = 0; j < 3; ++j) {
      CHECK((dx(1, j) == 0 && dx(2, j) == 0));
      CHECK(dx(0, j) == doctest::Approx(dknown(0, j) / 2).epsilon(1e-14));
      CHECK(dx(3, j) == doctest::Approx(dknown(1, j) / 2).epsilon(1e-14));
    }
  }
}
