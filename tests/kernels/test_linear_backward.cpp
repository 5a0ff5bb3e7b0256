#include <doctest/doctest.h>
#include <flatland/kernels/activation.h>
#include <flatland/kernels/matmul.h>
#include <tests/support/devices.h>
#include <tests/support/errors.h>
#include <tests/support/matmul_reference.h>

#include <array>
#include <string>

using namespace flatland;
using kernels::Exec;
using test::Guarded;
using test::Mirror;
using test::Product;

namespace {

// dz in float64, of the y and dy that a kernel gets.
template <class T>
Guarded<double> before_activation(const Activation& act, Guarded<T>& y, Guarded<T>& dy) {
  Guarded<double> out(y.rows, y.cols), dz(y.rows, y.cols);
  for (std::int64_t i = 0; i < y.rows; ++i)
    for (std::int64_t j = 0; j < y.cols; ++j) out(i, j) = y(i, j), dz(i, j) = dy(i, j);
  kernels::activate_backward<double>(Exec(), act, out.view(), dz.view(), dz.view());
  return dz;
}
// The largest error of c = a b as a part of what rounding a, 4 ulps, and each of the sums allows.
template <class T>
double worst_part(Guarded<double> a, Guarded<T>& b, Guarded<T>& c) {
  Guarded<double> wide(b.rows, b.cols);
  for (std::int64_t i = 0; i < b.rows; ++i)
    for (std::int64_t j = 0; j < b.cols; ++j) wide(i, j) = b(i, j);
  double worst = 0;
  for (std::int64_t i = 0; i < c.rows; ++i)
    for (std::int64_t j = 0; j < c.cols; ++j) {
      const test::Dot<double> dot(a, wide, i, j);
      const double error = std::abs(static_cast<double>(c(i, j)) - dot.value);
      const double limit = 8 * std::numeric_limits<T>::epsilon() * dot.size;
      worst = error <= limit ? std::max(worst, limit > 0 ? error / limit : 0) : HUGE_VAL;
    }
  return worst;
}

}  // namespace

TEST_CASE_TEMPLATE("linear_backward gives the gradients of linear within rounding on every device", T, float,
                   double) {
  constexpr int dx = 1, dw = 2, db = 4;
  std::vector<Product> shapes;  // M outputs of K inputs, N rows
  for (const std::int64_t rows : {1, 31, 32, 33, 127, 129})
    for (const std::int64_t inputs : {1, 16, 33}) shapes.push_back({rows, 17, inputs});
  shapes.insert(shapes.end(), {{500, 2, 50}, {130, 50, 100}, {60, 100, 784}, {5, 15, 4}, {7, 33, 64}});
  shapes.insert(shapes.end(),
                {{2060, 3, 2}, {3, 370, 360}, {370, 2, 360}});  // past one launch of small tiles
  for (const Device device : test::devices()) {
    const Exec exec(device, 2);
    for (const Product& s : shapes)
      for (const Activation& act : test::k_activations)
        for (const int wanted : {dx | dw | db, dw | db, dw, dx | db, dx}) {
          if (act.kind != ActivationKind::softplus && (s.n != 17 || wanted != (dx | dw | db))) continue;
          const auto size = [&](int output, std::int64_t n) { return (wanted & output) != 0 ? n : 0; };
          const std::int64_t gap = s.k % 4 == 0 ? 4 : 3;
          Guarded<T> x(s.m, s.k, gap), w(s.n, s.k, gap), y(s.m, s.n), dy(s.m, s.n);
          Guarded<T> to_x(size(dx, s.m), s.k), to_w(size(dw, s.n), s.k), to_b(1, size(db, s.n));
          x.fill_normal(1), w.fill_normal(2), y.fill_normal(3), dy.fill_normal(4);
          {
            const Mirror from_x(exec, x.block), from_w(exec, w.block), from_y(exec, y.block),
                from_dy(exec, dy.block), mx(exec, to_x.block), mw(exec, to_w.block), mb(exec, to_b.block);
            const kernels::MatView<T> none;
            kernels::linear_backward<T>(exec, from_x.view(x.view()), from_w.view(w.view()), act,
                                        from_y.view(y.view()), from_dy.view(dy.view()),
                                        to_x.rows > 0 ? mx.view(to_x.view()) : none,
                                        to_w.rows > 0 ? mw.view(to_w.view()) : none,
                                        {mb.at(to_b.data()), static_cast<std::size_t>(to_b.cols)});
          }
          INFO(name(device), " ", std::string(name(act.kind)), " N ", s.m, " M ", s.n, " K ", s.k, " wanted ",
               wanted);
          CHECK((to_x.guards_intact() && to_w.guards_intact() && to_b.guards_intact()));
          Guarded<double> dz = before_activation(act, y, dy), dzt = dz.transposed(), ones(1, s.m);
          ones.fill([] { return 1; });
          if ((wanted & dx) != 0) CHECK(worst_part(dz, w, to_x) <= 1);
          if ((wanted & dw) != 0) CHECK(worst_part(dzt, x, to_w) <= 1);
          if ((wanted & db) == 0) continue;
          for (std::int64_t j = 0; j < s.n; ++j) {
            const test::Dot<double> sum(ones, dz, 0, j);
            const double limit = 8 * std::numeric_limits<T>::epsilon() * sum.size;
            CHECK(std::abs(static_cast<double>(to_b(0, j)) - sum.value) <= limit);
          }
        }
  }
}

TEST_CASE("linear_backward names the sizes that do not fit") {
  const Exec exec;
  Guarded<float> a(3, 4, 0), b(5, 6, 0), c(3, 6, 0), c2(3, 5, 0), w(6, 4, 0);
  const auto backward = [&](const Activation& act, Guarded<float>& dy, Guarded<float>& dw) {
    return test::error_of([&] {
      kernels::linear_backward<float>(exec, a.view(), w.view(), act, c2.view(), dy.view(), {}, dw.view(), {});
    });
  };
  CHECK(backward({}, c2, w) == "linear_backward: dy is (3, 5) but x (3, 4) and w (6, 4) give (3, 6)");
  CHECK(backward(activation::relu, c, w) ==
        "linear_backward: y is (3, 5) but dy (3, 6); the shapes must be equal");
  CHECK(backward({}, c, b) ==
        "linear_backward: dx is (0, 0), dw (5, 6) and db has 0 values, but x is (3, 4) and w (6, 4); the "
        "shapes must be equal, or the output empty");
}
