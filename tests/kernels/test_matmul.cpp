#include <doctest/doctest.h>
#include <flatland/kernels/activation.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/matmul_simd.h>
#include <tests/support/devices.h>
#include <tests/support/matmul_reference.h>
#include <tests/support/ulps.h>

#include <array>
#include <memory>
#include <string>

using namespace flatland;
using kernels::Exec;
using kernels::matmul;
using kernels::Transpose;
using test::differences;
using test::Guarded;
using test::k_transposes;
using test::Mirror;
using test::multiply;
using test::product;
using test::Product;

namespace {

// y = activation(x w^T + bias); no bias where it has no columns.
template <class T>
void layer(const Exec& exec, Guarded<T>& x, Guarded<T>& w, Guarded<T>& bias, const Activation& act,
           Guarded<T>& y) {
  {
    const Mirror from(exec, x.block), weight(exec, w.block), shift(exec, bias.block), to(exec, y.block);
    kernels::linear<T>(exec, from.view(x.view()), weight.view(w.view()),
                       {shift.at(bias.data()), static_cast<std::size_t>(bias.cols)}, act, to.view(y.view()));
  }
  CHECK(y.guards_intact());
}

// The largest error as a part of what a sum may be off: a chain of k steps rounds k times, errors add like a
// random walk and are proportional to the sum of the absolute products; four epsilons of that is generous.
template <class T>
double worst_error(Guarded<T>& a, Guarded<T>& b, Guarded<T>& c, Guarded<T>* start = nullptr) {
  double worst = 0;
  for (std::int64_t i = 0; i < c.rows; ++i)
    for (std::int64_t j = 0; j < c.cols; ++j) {
      const test::Dot<T> dot(a, b, i, j);
      const double before = start != nullptr ? static_cast<double>((*start)(i, j)) : 0;
      const double limit = 4 * std::numeric_limits<T>::epsilon() * (dot.size + std::abs(before));
      const double error = std::abs(static_cast<double>(c(i, j)) - (dot.value + before));
      worst = error <= limit ? std::max(worst, limit > 0 ? error / limit : 0) : HUGE_VAL;
    }
  return worst;
}

}  // namespace

TEST_CASE_TEMPLATE("matmul is one chain of multiply-adds, below, at and past the edges of tiles", T, float,
                   double) {
  const Exec exec(Device::cpu, 2);
  std::vector<Product> shapes;
  for (const std::int64_t m : {1, 2, 3, 5, 6, 7, 13, 49})
    for (const std::int64_t n : {1, 3, 4, 8, 15, 16, 17, 33, 48, 64, 65, 100}) shapes.push_back({m, n, 37});
  for (const std::int64_t k : {1, 2, 16, 17, 127, 129, 513, 1100}) shapes.push_back({14, 35, k});
  shapes.push_back({100, 260, 130});
  shapes.push_back({200, 130, 70});
  for (const Product& s : shapes) {
    Guarded<T> a(s.m, s.k), b(s.k, s.n);
    a.fill_normal(1);
    b.fill_normal(2);
    Guarded<T> expected(s.m, s.n);
    for (std::int64_t i = 0; i < s.m; ++i)
      for (std::int64_t j = 0; j < s.n; ++j) expected(i, j) = test::chain(a, b, i, j);
    for (const Transpose transpose : k_transposes) {
      Guarded<T> c = product(exec, transpose, a, b);
      INFO("transpose ", static_cast<int>(transpose), " M ", s.m, " N ", s.n, " K ", s.k);
      CHECK(differences(c, expected) == 0);
    }
  }
}

TEST_CASE_TEMPLATE("matmul stays within its rounding error at the edges of tiles on every device", T, float,
                   double) {
  std::vector<Product> shapes;
  for (const std::int64_t m : {1, 3, 15, 16, 17, 33})
    for (const std::int64_t n : {1, 2, 31, 32, 33, 65}) shapes.push_back({m, n, 37});
  for (const std::int64_t k : {0, 1, 3, 4, 5, 31, 32, 33, 64, 127, 128, 129, 256, 300, 784})
    shapes.push_back({18, 35, k});
  shapes.insert(shapes.end(), {{100, 50, 500}, {500, 2, 50}, {2, 50, 100}});
  // past what a GPU takes by small tiles
  shapes.insert(shapes.end(), {{370, 360, 5}, {3, 5, 2049}, {1, 131080, 2}});
  for (const Device device : test::devices()) {
    const Exec exec(device, 2);
    for (const Product& s : shapes)
      for (const std::int64_t gap : {3, 4}) {  // with 4, rows of 4 values begin where vectors may
        Guarded<T> a(s.m, s.k, s.k % 4 == 0 ? gap : 3), b(s.k, s.n, s.n % 4 == 0 ? gap : 3);
        if (gap == 4 && a.ld % 4 != 0 && b.ld % 4 != 0) continue;
        a.fill_normal(1);
        b.fill_normal(2);
        for (const Transpose transpose : k_transposes) {
          INFO(name(device), " transpose ", static_cast<int>(transpose), " M ", s.m, " N ", s.n, " K ", s.k);
          Guarded<T> c = product(exec, transpose, a, b);
          CHECK(worst_error(a, b, c) <= 1);
        }
      }
  }
}

TEST_CASE_TEMPLATE("matmul of sizes that pack in several blocks stays within its rounding error", T, float,
                   double) {
  const Exec exec;
  const std::int64_t m = 3, n = 4100, k = 1500;
  Guarded<T> a(m, k), b(k, n);
  a.fill_normal(3);
  b.fill_normal(4);
  for (const Transpose transpose : k_transposes) {
    Guarded<T> c = product(exec, transpose, a, b);
    CHECK(worst_error(a, b, c) <= 1);
  }
}

TEST_CASE_TEMPLATE("matmul gives the same bits for any number of threads", T, float, double) {
  Guarded<T> a(300, 200), b(200, 150);
  a.fill_normal(5);
  b.fill_normal(6);
  for (const Transpose transpose : k_transposes) {
    Guarded<T> one = product(Exec(Device::cpu, 1), transpose, a, b);
    for (const int threads : {2, 3, 8}) {
      Guarded<T> c = product(Exec(Device::cpu, threads), transpose, a, b);
      CHECK(differences(one, c) == 0);
    }
  }
}

TEST_CASE_TEMPLATE("linear gives a row alone the bits that it has inside a batch", T, float, double) {
  const Exec exec;
  Guarded<T> x(101, 75), w(100, 75), y(101, 100), bias(1, 100);
  x.fill_normal(7);
  w.fill_normal(8);
  bias.fill_normal(9);
  const std::span<const T> bias_values(bias.data(), 100);
  kernels::linear<T>(exec, x.view(), w.view(), bias_values, activation::softplus, y.view());
  for (const std::int64_t i : {0, 1, 47, 48, 50, 95, 96, 99, 100}) {
    Guarded<T> alone(1, 100);
    const kernels::In<T> row(x.data() + i * x.ld, 1, 75, x.ld);
    kernels::linear<T>(exec, row, w.view(), bias_values, activation::softplus, alone.view());
    for (std::int64_t j = 0; j < 100; ++j) CHECK(alone(0, j) == y(i, j));
  }
}

TEST_CASE_TEMPLATE("matmul accumulates onto what is there", T, float, double) {
  const Exec exec;
  for (const std::int64_t k : {0, 1, 50, 700}) {
    Guarded<T> a(19, k), b(k, 70), c(19, 70);
    a.fill_normal(10);
    b.fill_normal(11);
    c.fill_normal(12);
    Guarded<T> start = c;
    matmul<T>(exec, Transpose::none, a.view(), b.view(), c.view(), true);
    CHECK(c.guards_intact());
    for (std::int64_t i = 0; i < 19; ++i)
      for (std::int64_t j = 0; j < 70; ++j) CHECK(c(i, j) == test::chain(a, b, i, j, start(i, j)));
  }
}

TEST_CASE_TEMPLATE("matmul accumulates within its rounding error on every device", T, float, double) {
  for (const Device device : test::devices())
    for (const Product& s :
         {Product{19, 70, 0}, {19, 70, 1}, {19, 70, 50}, {5, 33, 700}, {400, 330, 9}, {3, 2, 2100}})
      for (const Transpose transpose : k_transposes) {
        Guarded<T> a(s.m, s.k), b(s.k, s.n), c(s.m, s.n);
        a.fill_normal(10);
        b.fill_normal(11);
        c.fill_normal(12);
        Guarded<T> start = c;
        multiply(Exec(device, 2), transpose, a, b, c, true);
        INFO(name(device), " M ", s.m, " N ", s.n, " K ", s.k);
        CHECK(worst_error(a, b, c, &start) <= 1);
      }
}

TEST_CASE_TEMPLATE("matmul of nothing on every device", T, float, double) {
  for (const Device device : test::devices()) {
    const Exec exec(device);
    Guarded<T> a(4, 0), b(0, 5), c(4, 5);
    c.fill_normal(1);
    multiply(exec, Transpose::none, a, b, c);
    for (std::int64_t i = 0; i < 4; ++i)
      for (std::int64_t j = 0; j < 5; ++j) CHECK(c(i, j) == 0);
    Guarded<T> no_bias(1, 0), bias(1, 3);
    Guarded<T> no_rows(0, 3), w(5, 3), no_out(0, 5);
    layer(exec, no_rows, w, no_bias, activation::relu, no_out);
    Guarded<T> x(2, 0), w0(3, 0), y(2, 3);
    bias(0, 0) = 1, bias(0, 1) = -2, bias(0, 2) = 3;
    layer(exec, x, w0, bias, activation::relu, y);
    CHECK((y(0, 0) == 1 && y(1, 1) == 0 && y(1, 2) == 3));
  }
}

TEST_CASE_TEMPLATE("linear is product, bias and activation within rounding on every device", T, float,
                   double) {
  for (const Device device : test::devices()) {
    const Exec exec(device, 2);
    for (const Product& s :
         {Product{1, 1, 1}, {31, 2, 50}, {33, 100, 20}, {17, 31, 784}, {1100, 121, 3}, {550, 248, 2}})
      for (const Activation& act : test::k_activations)
        for (const bool with_bias : {false, true}) {
          const bool large = s.m * s.n > 100000;
          if (large && act.kind != ActivationKind::softplus && act.kind != ActivationKind::identity) continue;
          Guarded<T> x(s.m, s.k), w(s.n, s.k), y(s.m, s.n, s.n % 4 == 0 ? 4 : 1),
              bias(1, with_bias ? s.n : 0);
          x.fill_normal(13);
          w.fill_normal(14);
          bias.fill_normal(15);
          layer(exec, x, w, bias, act, y);
          Guarded<T> wt = w.transposed();
          Guarded<double> expected(s.m, s.n);
          for (std::int64_t i = 0; i < s.m; ++i)
            for (std::int64_t j = 0; j < s.n; ++j)
              expected(i, j) = test::Dot<T>(x, wt, i, j).value + (with_bias ? double(bias(0, j)) : 0);
          Guarded<double> result(s.m, s.n);
          kernels::activate<double>(Exec(), act, expected.view(), result.view());
          double worst = 0;
          for (std::int64_t i = 0; i < s.m; ++i)
            for (std::int64_t j = 0; j < s.n; ++j) {
              // no activation is steeper than 1, and each is within 4 ulps
              const double size =
                  test::Dot<T>(x, wt, i, j).size + (with_bias ? std::abs(double(bias(0, j))) : 0);
              const double limit = 4 * std::numeric_limits<T>::epsilon() * (size + std::abs(result(i, j)));
              worst = test::worse(worst, std::abs(double(y(i, j)) - result(i, j)) / limit);
            }
          INFO(name(device), " ", std::string(name(act.kind)), " M ", s.m, " N ", s.n, " K ", s.k);
          CHECK(worst <= 1);
        }
  }
}

TEST_CASE_TEMPLATE("linear is the product, plus bias, through the activation", T, float, double) {
  const Exec exec;
  for (const std::int64_t d : {5, 300})
    for (const std::int64_t m : {2, 100, 4500}) {  // 4500: more columns than are packed at once
      if (d * m > 100000) continue;
      Guarded<T> x(31, d), w(m, d), bias(1, m);
      x.fill_normal(13);
      w.fill_normal(14);
      bias.fill_normal(15);
      Guarded<T> wt = w.transposed(), plain = product(exec, Transpose::none, x, wt);
      for (const Activation& act : test::k_activations)
        for (const bool with_bias : {false, true}) {
          Guarded<T> y(31, m), expected(31, m);
          kernels::linear<T>(
              exec, x.view(), w.view(),
              with_bias ? std::span<const T>(bias.data(), static_cast<std::size_t>(m)) : std::span<const T>{},
              act, y.view());
          CHECK(y.guards_intact());
          for (std::int64_t i = 0; i < 31; ++i)
            for (std::int64_t j = 0; j < m; ++j)
              expected(i, j) = plain(i, j) + (with_bias ? bias(0, j) : T(0));
          kernels::activate<T>(exec, act, expected.view(), expected.view());
          INFO(std::string(name(act.kind)), " D ", d, " M ", m);
          CHECK(differences(y, expected) == 0);
        }
    }
}

TEST_CASE_TEMPLATE("the tile product that other kernels use equals matmul, and x x^T is symmetric", T, float,
                   double) {
  const Exec exec;
  Guarded<T> x(131, 67), c(131, 131);
  x.fill_normal(16);
  Guarded<T> xt = x.transposed(), expected = product(exec, Transpose::none, x, xt);
  kernels::with_isa([&](auto isa) {
    const kernels::ScratchArray<T> packed(exec, kernels::gemm_packed_size<isa, T>(131, 67));
    kernels::gemm_pack_rows<isa, T>(x.data(), x.ld, 131, 67, packed.data());
    kernels::gemm_rows<isa, T>(x.data(), x.ld, 131, packed.data(), 131, 67, c.data(), c.ld);
  });
  CHECK(c.guards_intact());
  CHECK(differences(c, expected) == 0);
  for (std::int64_t i = 0; i < 131; ++i)
    for (std::int64_t j = 0; j < i; ++j) CHECK(c(i, j) == c(j, i));
}

TEST_CASE_TEMPLATE("matmul reads and writes nothing outside matrices that fill their memory", T, float,
                   double) {
  const Exec exec;  // the address sanitizer watches
  for (const Transpose transpose : k_transposes)
    for (const std::int64_t n : {1, 15, 16, 17, 63, 65}) {
      const std::int64_t m = 7, k = 19;
      const auto a = std::make_unique<T[]>(static_cast<std::size_t>(m * k));
      const auto b = std::make_unique<T[]>(static_cast<std::size_t>(k * n));
      const auto c = std::make_unique<T[]>(static_cast<std::size_t>(m * n));
      for (std::int64_t i = 0; i < m * k; ++i) a[static_cast<std::size_t>(i)] = 1;
      for (std::int64_t i = 0; i < k * n; ++i) b[static_cast<std::size_t>(i)] = 2;
      const kernels::MatView<const T> va = transpose == Transpose::a
                                               ? kernels::MatView<const T>(a.get(), k, m)
                                               : kernels::MatView<const T>(a.get(), m, k);
      const kernels::MatView<const T> vb = transpose == Transpose::b
                                               ? kernels::MatView<const T>(b.get(), n, k)
                                               : kernels::MatView<const T>(b.get(), k, n);
      matmul<T>(exec, transpose, va, vb, kernels::MatView<T>(c.get(), m, n));
      for (std::int64_t i = 0; i < m * n; ++i) CHECK(c[static_cast<std::size_t>(i)] == 38);
    }
}

TEST_CASE("NaN and infinity in one row or column stay there on every device") {
  Guarded<float> a(20, 30), b(30, 40);
  a.fill_normal(17);
  b.fill_normal(18);
  a(7, 3) = std::numeric_limits<float>::quiet_NaN();
  b(5, 39) = std::numeric_limits<float>::infinity();
  for (const Device device : test::devices())
    for (const Transpose transpose : k_transposes) {
      Guarded<float> c = product(Exec(device), transpose, a, b);
      for (std::int64_t i = 0; i < 20; ++i)
        for (std::int64_t j = 0; j < 40; ++j) CHECK(std::isfinite(c(i, j)) == (i != 7 && j != 39));
    }
}

TEST_CASE("matmul and linear name the sizes that do not fit") {
  const Exec exec;
  Guarded<float> a(3, 4, 0), b(5, 6, 0), c(3, 6, 0);
  const auto message = [](auto&& f) {
    try {
      f();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(message([&] { matmul<float>(exec, Transpose::none, a.view(), b.view(), c.view()); }) ==
        "matmul: a b of a (3, 4) and b (5, 6); the inner sizes must match");
  Guarded<float> b2(4, 6, 0), c2(3, 5, 0);
  CHECK(message([&] { matmul<float>(exec, Transpose::none, a.view(), b2.view(), c2.view()); }) ==
        "matmul: a b of a (3, 4) and b (4, 6) is (3, 6) but c is (3, 5)");
  Guarded<float> w(6, 4, 0);
  const std::array<float, 2> bias = {};
  CHECK(message([&] { kernels::linear<float>(exec, a.view(), w.view(), bias, {}, c.view()); }) ==
        "linear: bias has 2 values but w is (6, 4); give one a row of w, or none");
  CHECK(message([&] { kernels::linear<float>(exec, a.view(), b.view(), {}, {}, c.view()); }) ==
        "linear: x is (3, 4) but w is (5, 6); w must have one column a column of x");
}
