#include <doctest/doctest.h>
#include <flatland/kernels/matmul.h>
#include <tests/support/devices.h>
#include <tests/support/errors.h>
#include <tests/support/matmul_reference.h>

#include <vector>

using namespace flatland;
using kernels::Exec;
using kernels::RowsView;
using test::Guarded;
using test::Mirror;

namespace {

// The rows that index names, in a matrix of their own.
template <class T>
Guarded<T> gathered(Guarded<T>& all, Guarded<std::int64_t>& index) {
  Guarded<T> own(index.cols, all.cols);
  for (std::int64_t i = 0; i < own.rows; ++i)
    for (std::int64_t j = 0; j < own.cols; ++j) own(i, j) = all(index(0, i), j);
  return own;
}

struct GatheredProduct {
  std::int64_t rows, out, in;
};

}  // namespace

TEST_CASE_TEMPLATE("a layer of indexed rows has the bits of one of gathered rows, on every device", T, float,
                   double) {
  constexpr std::int64_t items = 70;
  std::vector<GatheredProduct> shapes;
  for (const std::int64_t rows : {1, 5, 6, 7, 48, 129, 300})
    for (const std::int64_t out : {2, 17, 64, 100}) shapes.push_back({rows, out, 33});
  shapes.insert(shapes.end(), {{60, 100, 784}, {500, 70, 300}, {200, 130, 64}, {3, 1, 1}});
  for (const Device device : test::devices()) {
    const Exec exec(device, 2);
    for (const GatheredProduct& s : shapes) {
      Guarded<T> all(items, s.in, 3), w(s.out, s.in), bias(1, s.out), dy(s.rows, s.out);
      Guarded<std::int64_t> index(1, s.rows);
      all.fill_normal(1), w.fill_normal(2), bias.fill_normal(3), dy.fill_normal(4);
      for (std::int64_t i = 0; i < s.rows; ++i) index(0, i) = (i * 37 + 11) % items;  // some more than once
      Guarded<T> own = gathered(all, index);
      Guarded<T> y[2] = {{s.rows, s.out}, {s.rows, s.out}}, dx[2] = {{s.rows, s.in}, {s.rows, s.in}},
                 dw[2] = {{s.out, s.in}, {s.out, s.in}};
      for (const int in_place : {0, 1}) {
        const Mirror numbers(exec, index.block);
        const Mirror from(exec, all.block), copies(exec, own.block), weight(exec, w.block),
            shift(exec, bias.block), upstream(exec, dy.block), to_y(exec, y[in_place].block),
            to_x(exec, dx[in_place].block), to_w(exec, dw[in_place].block);
        const RowsView<T> x = in_place ? RowsView<T>(from.view(all.view()), numbers.at(index.data()), s.rows)
                                       : RowsView<T>(copies.view(own.view()));
        const kernels::MatView<T> out = to_y.view(y[in_place].view());
        kernels::linear<T>(exec, x, weight.view(w.view()),
                           {shift.at(bias.data()), static_cast<std::size_t>(s.out)}, activation::tanh, out);
        kernels::linear_backward<T>(exec, x, weight.view(w.view()), activation::tanh, out,
                                    upstream.view(dy.view()), to_x.view(dx[in_place].view()),
                                    to_w.view(dw[in_place].view()), {});
      }
      INFO(name(device), " rows ", s.rows, " out ", s.out, " in ", s.in);
      std::int64_t differences = 0;
      for (std::int64_t i = 0; i < s.rows; ++i)
        for (std::int64_t j = 0; j < s.out; ++j) differences += y[0](i, j) != y[1](i, j);
      for (std::int64_t i = 0; i < s.out; ++i)
        for (std::int64_t j = 0; j < s.in; ++j) differences += dw[0](i, j) != dw[1](i, j);
      CHECK(differences == 0);
      CHECK((y[1].guards_intact() && dx[1].guards_intact() && dw[1].guards_intact()));
    }
  }
}

TEST_CASE("a layer of indexed rows names an index that is no row") {
  const Exec exec;
  Guarded<float> all(3, 4), w(2, 4), y(2, 2), dw(2, 4);
  const std::vector<std::int64_t> index{1, 3};
  const RowsView<float> x(all.view(), index.data(), 2);
  CHECK(test::error_of([&] { kernels::linear<float>(exec, x, w.view(), {}, {}, y.view()); }) ==
        "linear: index[1] is 3 but there are 3 rows; give 0 to 2");
  CHECK(test::error_of([&] {
          kernels::linear_backward<float>(exec, x, w.view(), {}, {}, y.view(), {}, dw.view(), {});
        }) == "linear_backward: index[1] is 3 but there are 3 rows; give 0 to 2");
}
