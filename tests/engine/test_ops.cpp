#include <doctest/doctest.h>
#include <flatland/engine/autograd.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/relation_ops.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/random_tensor.h"

using namespace flatland;
using test::contains;
using test::error_of;
using test::random_tensor;

namespace {

std::vector<double> list(const Tensor& t) {
  return t.to_vector<double>();
}

// Value (i, j, k) of t as seen in a broadcast to rank 3.
double seen_at(const Tensor& t, std::int64_t i, std::int64_t j, std::int64_t k) {
  const std::int64_t at[3] = {i, j, k};
  std::int64_t flat = 0;
  for (int d = 0; d < t.rank(); ++d) {
    const std::int64_t size = t.size(d);
    flat = flat * size + (size == 1 ? 0 : at[3 - t.rank() + d]);
  }
  return t.at(flat);
}

}  // namespace

TEST_CASE("elementwise ops broadcast as in PyTorch") {
  const std::vector<Shape> shapes{{2, 3, 4}, {3, 4}, {4}, {3, 1}, {2, 1, 1}, {}, {1, 1, 4}, {2, 3, 1}};
  const Tensor full = random_tensor({2, 3, 4}, 1, 2, 9);
  for (const Shape& shape : shapes) {
    const Tensor b = random_tensor(shape, 1, 2, 10);
    const Tensor y = full / b, z = b - full;
    REQUIRE(y.shape() == Shape{2, 3, 4});
    for (std::int64_t i = 0; i < 2; ++i) {
      for (std::int64_t j = 0; j < 3; ++j) {
        for (std::int64_t k = 0; k < 4; ++k) {
          CHECK(seen_at(y, i, j, k) == seen_at(full, i, j, k) / seen_at(b, i, j, k));
          CHECK(seen_at(z, i, j, k) == seen_at(b, i, j, k) - seen_at(full, i, j, k));
        }
      }
    }
  }
  CHECK((Tensor::zeros({0, 3}) + Tensor::ones({3})).shape() == Shape{0, 3});
}

TEST_CASE("masks hold 0 and 1") {
  const Tensor a = Tensor::of({{1, 2, 3}}), b = Tensor::of({{2, 2, 2}});
  CHECK(list(less(a, b)) == std::vector<double>{1, 0, 0});
  CHECK(list(less_equal(a, b)) == std::vector<double>{1, 1, 0});
  CHECK(list(equal(a, b)) == std::vector<double>{0, 1, 0});
}

TEST_CASE("numbers on either side") {
  const Tensor a = Tensor::of({{1, 4}}, Dtype::float64);
  CHECK(list(a + 1.0) == std::vector<double>{2, 5});
  CHECK(list(1.0 - a) == std::vector<double>{0, -3});
  CHECK(list(8.0 / a) == std::vector<double>{8, 2});
  CHECK(list(a / 2.0) == std::vector<double>{0.5, 2});
  CHECK(list(-a) == std::vector<double>{-1, -4});
  CHECK(list(clamp(a, 2, 3)) == std::vector<double>{2, 3});
  CHECK(list(sqrt(a)) == std::vector<double>{1, 2});
  CHECK(list(pow(a, 0.5)) == std::vector<double>{1, 2});
}

TEST_CASE("matmul and linear multiply") {
  const Tensor a = random_tensor({7, 5}, -1, 1, 1), b = random_tensor({5, 3}, -1, 1, 2);
  const Tensor c = matmul(a, b);
  const Tensor bias = random_tensor({3}, -1, 1, 3);
  const Tensor y = linear(a, transpose(b), bias, activation::relu);
  for (std::int64_t i = 0; i < 7; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) {
      double s = 0;
      for (std::int64_t k = 0; k < 5; ++k) s += a.at(i, k) * b.at(k, j);
      CHECK(c.at(i, j) == doctest::Approx(s));
      CHECK(y.at(i, j) == doctest::Approx(std::max(0.0, s + bias.at(j))));
    }
  }
  CHECK(linear(Tensor::zeros({0, 5}, Dtype::float64), transpose(b), bias).shape() == Shape{0, 3});
}

TEST_CASE("reductions") {
  const Tensor a = Tensor::of({{1, 2, 3}, {4, 5, 9}}, Dtype::float64);
  CHECK(sum(a).item() == 24);
  CHECK(mean(a).item() == 4);
  CHECK(list(sum(a, 0)) == std::vector<double>{5, 7, 12});
  CHECK(list(sum(a, 1)) == std::vector<double>{6, 18});
  CHECK(list(mean(a, -1)) == std::vector<double>{2, 6});
  CHECK(variance(a).item() == doctest::Approx(8));
  CHECK(variance(a, 0).item() == doctest::Approx(40.0 / 6));
  CHECK(std_dev(a).item() == doctest::Approx(std::sqrt(8.0)));
  CHECK(max_value(a) == 9);
  CHECK(argmax(Tensor::of({{1, 5, 5}, {7, 2, 3}})).to_vector<std::int64_t>() ==
        std::vector<std::int64_t>{1, 0});
  CHECK(covariance(column(a, 0), column(a, 2)).item() == doctest::Approx(9));
  CHECK(list(sum(random_tensor({2, 3, 4}) * 0.0 + 1.0, 1)) == std::vector<double>(8, 3));
  CHECK(sum(Tensor::zeros({0, 3})).item() == 0);
  CHECK(list(sum(Tensor::zeros({0, 3}), 0)) == std::vector<double>{0, 0, 0});
}

TEST_CASE("shapes and selections keep every type") {
  for (const Dtype dtype : {Dtype::float32, Dtype::float64, Dtype::int32, Dtype::int64}) {
    const Tensor a = Tensor::of({{1, 2, 3}, {4, 5, 6}}, dtype);
    CHECK(reshape(a, {3, -1}).shape() == Shape{3, 2});
    CHECK(list(transpose(a)) == std::vector<double>{1, 4, 2, 5, 3, 6});
    CHECK(list(concat({a, a}, 1)) == std::vector<double>{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6});
    CHECK(concat({a, a}).shape() == Shape{4, 3});
    CHECK(stack(std::vector{a, a}).shape() == Shape{2, 2, 3});
    CHECK(list(slice_rows(a, 1, 2)) == std::vector<double>{4, 5, 6});
    CHECK(slice_rows(a, 1, 1).shape() == Shape{0, 3});
    CHECK(list(column(a, 1)) == std::vector<double>{2, 5});
    const Tensor index = Tensor::from(std::vector<std::int64_t>{1, 0, 1});
    CHECK(list(gather_rows(a, index)) == std::vector<double>{4, 5, 6, 1, 2, 3, 4, 5, 6});
    CHECK(list(gather_rows(column(a, 0), index)) == std::vector<double>{4, 1, 4});
    CHECK(transpose(a).dtype() == dtype);
  }
  const Tensor a = Tensor::zeros({2, 3});
  CHECK(reshape(a, {6}).data<float>() == a.data<float>());
  CHECK(reshape(a, Shape{3, 2}).shape() == Shape{3, 2});
  CHECK(reshape(Tensor::scalar(1), {1, 1}).rank() == 2);
}

TEST_CASE("softmax and cross-entropy") {
  const Tensor a = Tensor::of({{1000, 0}, {0, std::log(3.0)}}, Dtype::float64);
  CHECK(softmax(a).at(0, 0) == 1);
  CHECK(softmax(a).at(1, 1) == doctest::Approx(0.75));
  CHECK(log_softmax(a).at(1, 0) == doctest::Approx(std::log(0.25)));
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{0, 0});
  CHECK(cross_entropy(a, labels).item() == doctest::Approx(std::log(4.0) / 2));
  CHECK(mse_loss(a, a + 2.0).item() == doctest::Approx(4));
}

TEST_CASE("activations by name") {
  const Tensor a = Tensor::of({{-2, 3}}, Dtype::float64);
  CHECK(list(leaky_relu(a)) == std::vector<double>{-0.02, 3});
  CHECK(list(leaky_relu(a, 0.5)) == std::vector<double>{-1, 3});
  CHECK(elu(a).at(0) == doctest::Approx(std::expm1(-2)));
  CHECK(elu(a, 2).at(0) == doctest::Approx(2 * std::expm1(-2)));
  CHECK(sigmoid(a).at(1) == doctest::Approx(1 / (1 + std::exp(-3))));
}

TEST_CASE("relations have their forms") {
  const Tensor x = Tensor::of({{0, 0}, {3, 4}, {0, 1}}, Dtype::float64);
  const Tensor d = pdist(x);
  CHECK(d.at(0) == doctest::Approx(5));
  CHECK(d.at(1) == doctest::Approx(1));
  const Tensor square = condensed_to_square(d, 3);
  CHECK(square.at(2, 1) == d.at(2));
  CHECK(square.at(1, 1) == 0);
  CHECK(list(square_to_condensed(square)) == list(d));
  CHECK(list(cdist(x, x)) == list(square));
  CHECK(list(pair_distances(slice_rows(x, 0, 2), slice_rows(x, 1, 3))) ==
        std::vector<double>{d.at(0), d.at(2)});
  CHECK(student_t(d).at(0) == doctest::Approx(1.0 / 26));
  CHECK(modified_cauchy(d, 2, 1).at(1) == doctest::Approx(1.0 / 3));
  CHECK(pdist(Tensor::zeros({1, 2})).numel() == 0);
  CHECK(square_to_condensed(Tensor::zeros({1, 1})).numel() == 0);
}

TEST_CASE("misuse of an op says who, got, want and what to do") {
  const Tensor a = Tensor::zeros({2, 3}), b = Tensor::zeros({2, 4}),
               d = Tensor::zeros({2, 3}, Dtype::float64);
  const Tensor i = Tensor::zeros({2, 3}, Dtype::int32);
  const auto says = [](auto f, const char* part) {
    const std::string text = error_of(f);
    INFO(text);
    CHECK(contains(text, part));
  };
  says([&] { a + b; }, "operator+: shapes (2, 3) and (2, 4) do not broadcast");
  says([&] { a* d; }, "operator*: got float32 and float64");
  says([&] { i + i; }, "operator+: got a tensor of int32");
  says([&] { a + Tensor(); }, "operator+: a tensor is undefined");
  says([&] { matmul(a, b); }, "matmul: a is (2, 3) but b is (2, 4)");
  says([&] { matmul(a, Tensor::zeros({3})); }, "it needs 2");
  says([&] { linear(a, Tensor::zeros({5, 4}), Tensor()); }, "x must have 4 columns");
  says([&] { linear(a, Tensor::zeros({5, 3}), Tensor::zeros({4})); }, "the bias must have 5 values");
  says([&] { mean(Tensor::zeros({0})); }, "mean: a tensor (0) has 0 values");
  says([&] { variance(Tensor::zeros({1})); }, "needs at least 2");
  says([&] { sum(a, 2); }, "dimension 2 of (2, 3)");
  says([&] { max_value(Tensor::zeros({0})); }, "needs at least 1");
  says([&] { reshape(a, {4, 2}); }, "(2, 3) has 6 values but (4, 2) has 8");
  says([&] { reshape(a, {-1, 4}); }, "do not divide by 4");
  says([&] { reshape(a, {-1, -1}); }, "only one can be left open");
  says([&] { concat({a, b}, 0); }, "concat: got (2, 3) and (2, 4)");
  says([&] { concat(std::vector<Tensor>{}); }, "no tensors");
  says([&] { slice_rows(a, 1, 3); }, "rows 1 to 3");
  says([&] { column(a, 3); }, "no column 3");
  says([&] { gather_rows(a, Tensor::from(std::vector<std::int64_t>{0, 2})); }, "index[1] is 2");
  says([&] { gather_rows(a, Tensor::from(std::vector<std::int32_t>{0})); }, "must be one dimension of int64");
  says([&] { mse_loss(a, b); }, "mse_loss: got (2, 3) and (2, 4)");
  says([&] { cross_entropy(a, Tensor::arange(3)); }, "got 3 indices for 2 rows");
  says([&] { softmax(Tensor::zeros({3})); }, "it needs 2");
  says([&] { clamp(a, 2, 1); }, "clamp");
  says([&] { cdist(a, b); }, "column counts must match");
  says([&] { pair_distances(a, b); }, "the shapes must be equal");
  says([&] { condensed_to_square(Tensor::zeros({5}), 4); }, "got 5 values for 4 items; it needs 6");
  says([&] { square_to_condensed(a); }, "it needs a square matrix");
  says([&] { student_t(a, 0); }, "alpha is 0");
  says([&] { student_t(a, Tensor::zeros({2})); }, "must be a single value");
  says([&] { kl_divergence(a, a); }, "it needs square matrices");
  says([&] { fuzzy_cross_entropy(Tensor::zeros({2}).requires_grad(true), Tensor::zeros({2})); },
       "p.detach()");
  says(
      [&] {
        kl_student_t(Tensor::zeros({3, 2}),
                     SparseBlock{2, Tensor::arange(2), Tensor::arange(2), Tensor::zeros({1}, Dtype::int32),
                                 Tensor::zeros({1})});
      },
      "of 2 items but y is (3, 2)");
}
