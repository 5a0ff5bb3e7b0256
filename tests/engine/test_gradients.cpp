#include <doctest/doctest.h>
#include <flatland/engine/autograd.h>
#include <flatland/engine/module.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/relation_ops.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/random_tensor.h"
#include "tests/support/sparse_block.h"

using namespace flatland;
using test::check_gradients;
using test::Function;
using test::Inputs;
using test::random_tensor;
using test::sparse_block;

namespace {

// Symmetric, zero diagonal, sum 1; some entries zero.
Tensor affinities(std::int64_t n) {
  const NoGrad no_grad;
  Tensor condensed =
      maximum(random_tensor({n * (n - 1) / 2}, -0.5, 1, 77), Tensor::scalar(0, Dtype::float64));
  const Tensor square = condensed_to_square(condensed, n);
  return square / sum(square).item();
}

}  // namespace

TEST_CASE("gradients of elementwise arithmetic, with broadcasting") {
  const std::vector<std::pair<Shape, Shape>> shapes{
      {{3, 4}, {3, 4}}, {{3, 4}, {4}},       {{3, 4}, {3, 1}}, {{3, 4}, {}},
      {{1, 4}, {3, 1}}, {{2, 3, 4}, {3, 1}}, {{4}, {2, 3, 4}}, {{2, 1, 3, 2}, {4, 1, 1}}};
  for (const auto& [sa, sb] : shapes) {
    const Inputs ab{random_tensor(sa, 0.5, 2, 1), random_tensor(sb, 0.5, 2, 2)};
    check_gradients(
        "a + b", [](const Inputs& x) { return x[0] + x[1]; }, ab);
    check_gradients(
        "a - b", [](const Inputs& x) { return x[0] - x[1]; }, ab);
    check_gradients(
        "a * b", [](const Inputs& x) { return x[0] * x[1]; }, ab);
    check_gradients(
        "a / b", [](const Inputs& x) { return x[0] / x[1]; }, ab);
    check_gradients(
        "maximum", [](const Inputs& x) { return maximum(x[0], x[1]); }, ab);
    check_gradients(
        "minimum", [](const Inputs& x) { return minimum(x[0], x[1]); }, ab);
  }
}

TEST_CASE("gradients of elementwise functions") {
  const Inputs positive{random_tensor({3, 4}, 0.3, 2)};
  const Inputs any{random_tensor({3, 4}, -3, 3)};
  const std::vector<std::pair<std::string, Function>> of_any{
      {"-a", [](const Inputs& x) { return -x[0]; }},
      {"a + 2", [](const Inputs& x) { return x[0] + 2.0; }},
      {"a - 2", [](const Inputs& x) { return x[0] - 2.0; }},
      {"a * 2", [](const Inputs& x) { return x[0] * 2.5; }},
      {"a / 2", [](const Inputs& x) { return x[0] / 2.5; }},
      {"2 + a", [](const Inputs& x) { return 2.0 + x[0]; }},
      {"2 - a", [](const Inputs& x) { return 2.0 - x[0]; }},
      {"2 * a", [](const Inputs& x) { return 2.5 * x[0]; }},
      {"2 / a", [](const Inputs& x) { return 2.5 / x[0]; }},
      {"pow 3", [](const Inputs& x) { return pow(x[0], 3); }},
      {"pow 2", [](const Inputs& x) { return pow(x[0], 2); }},
      {"pow 0", [](const Inputs& x) { return pow(x[0], 0); }},
      {"exp", [](const Inputs& x) { return exp(x[0]); }},
      {"abs", [](const Inputs& x) { return abs(x[0]); }},
      {"square", [](const Inputs& x) { return square(x[0]); }},
      {"clamp", [](const Inputs& x) { return clamp(x[0], -1, 1.5); }},
      {"relu", [](const Inputs& x) { return relu(x[0]); }},
      {"softplus", [](const Inputs& x) { return softplus(x[0]); }},
      {"sigmoid", [](const Inputs& x) { return sigmoid(x[0]); }},
      {"tanh", [](const Inputs& x) { return flatland::tanh(x[0]); }},
      {"leaky_relu", [](const Inputs& x) { return leaky_relu(x[0], 0.2); }},
      {"elu", [](const Inputs& x) { return elu(x[0], 1.3); }},
      {"identity", [](const Inputs& x) { return activate(x[0], activation::identity); }},
      {"clone", [](const Inputs& x) { return x[0].clone(); }}};
  for (const auto& [name, f] : of_any) check_gradients(name, f, any);
  check_gradients(
      "log", [](const Inputs& x) { return log(x[0]); }, positive);
  check_gradients(
      "sqrt", [](const Inputs& x) { return sqrt(x[0]); }, positive);
  check_gradients(
      "pow 0.5", [](const Inputs& x) { return pow(x[0], 0.5); }, positive);
  check_gradients(
      "pow -1.5", [](const Inputs& x) { return pow(x[0], -1.5); }, positive);
}

TEST_CASE("gradients at kinks are what the headers say") {
  const auto gradient = [](const Function& f, double at) {
    Tensor x = Tensor::scalar(at, Dtype::float64).requires_grad(true);
    f({x}).backward();
    return x.grad().item();
  };
  CHECK(gradient([](const Inputs& x) { return sqrt(x[0]); }, 0) == 0);
  CHECK(gradient([](const Inputs& x) { return abs(x[0]); }, 0) == 0);
  CHECK(gradient([](const Inputs& x) { return relu(x[0]); }, 0) == 0);
  CHECK(gradient([](const Inputs& x) { return clamp(x[0], 0, 1); }, 2) == 0);
  CHECK(gradient([](const Inputs& x) { return pow(x[0], 2); }, 0) == 0);
  Tensor a = Tensor::scalar(1, Dtype::float64).requires_grad(true);
  Tensor b = Tensor::scalar(1, Dtype::float64).requires_grad(true);
  (maximum(a, b) + minimum(a, b)).backward();
  CHECK(a.grad().item() == 2);
  CHECK(b.grad().item() == 0);
}

TEST_CASE("gradients of products") {
  const Inputs ab{random_tensor({5, 3}, -1, 1, 1), random_tensor({3, 4}, -1, 1, 2)};
  check_gradients(
      "matmul", [](const Inputs& x) { return matmul(x[0], x[1]); }, ab);
  const Inputs layer{random_tensor({5, 3}, -1, 1, 1), random_tensor({4, 3}, -1, 1, 2),
                     random_tensor({4}, -1, 1, 3)};
  for (const Activation& a : {activation::identity, activation::softplus, activation::tanh,
                              activation::sigmoid, activation::relu, activation::elu()}) {
    check_gradients(
        "linear", [a](const Inputs& x) { return linear(x[0], x[1], x[2], a); }, layer);
  }
  check_gradients("no bias", [](const Inputs& x) { return linear(x[0], x[1], Tensor()); },
                  {layer[0], layer[1]});
  check_gradients("rank 3", [](const Inputs& x) { return linear(x[0], x[1], x[2], activation::tanh); },
                  {random_tensor({2, 3, 3}), layer[1], layer[2]});
  check_gradients("rank 1", [](const Inputs& x) { return linear(x[0], x[1], x[2], activation::tanh); },
                  {random_tensor({3}), layer[1], layer[2]});
}

TEST_CASE("gradients of reductions") {
  const Inputs a{random_tensor({4, 3}, -1, 1, 1)};
  check_gradients(
      "sum", [](const Inputs& x) { return sum(x[0]); }, a);
  check_gradients(
      "mean", [](const Inputs& x) { return mean(x[0]); }, a);
  for (const int dim : {0, 1, -1}) {
    check_gradients(
        "sum dim", [dim](const Inputs& x) { return sum(x[0], dim); }, a);
    check_gradients(
        "mean dim", [dim](const Inputs& x) { return mean(x[0], dim); }, a);
    check_gradients("sum dim rank 3", [dim](const Inputs& x) { return sum(x[0], dim); },
                    {random_tensor({2, 3, 4})});
  }
  for (const int ddof : {0, 1}) {
    check_gradients(
        "variance", [ddof](const Inputs& x) { return variance(x[0], ddof); }, a);
    check_gradients(
        "std_dev", [ddof](const Inputs& x) { return std_dev(x[0], ddof); }, a);
    check_gradients("covariance", [ddof](const Inputs& x) { return covariance(x[0], x[1], ddof); },
                    {random_tensor({7}, -1, 1, 1), random_tensor({7}, -1, 1, 2)});
  }
}

TEST_CASE("gradients of shapes and selections") {
  const Inputs a{random_tensor({4, 3}, -1, 1, 1)};
  const Inputs ab{a[0], random_tensor({2, 3}, -1, 1, 2)};
  const Tensor index = Tensor::from(std::vector<std::int64_t>{3, 0, 3, 1, 3});
  check_gradients(
      "reshape",
      [](const Inputs& x) {
        return reshape(x[0], {2, -1});
      },
      a);
  check_gradients(
      "transpose", [](const Inputs& x) { return transpose(x[0]); }, a);
  check_gradients(
      "concat 0",
      [](const Inputs& x) {
        return concat({x[0], x[1], x[0]}, 0);
      },
      ab);
  check_gradients(
      "concat 1",
      [](const Inputs& x) {
        return concat({x[0], square(x[0])}, 1);
      },
      a);
  check_gradients("concat rank 3",
                  [](const Inputs& x) {
                    return concat({x[0], x[1]}, 1);
                  },
                  {random_tensor({2, 1, 3}, -1, 1, 3), random_tensor({2, 2, 3}, -1, 1, 4)});
  check_gradients(
      "stack",
      [](const Inputs& x) {
        return stack(std::vector{x[0], exp(x[0])});
      },
      a);
  check_gradients(
      "slice_rows", [](const Inputs& x) { return slice_rows(x[0], 1, 3); }, a);
  check_gradients(
      "column", [](const Inputs& x) { return column(x[0], 1); }, a);
  check_gradients(
      "gather_rows", [index](const Inputs& x) { return gather_rows(x[0], index); }, a);
}

TEST_CASE("gradients of softmax and its logarithm") {
  const Inputs a{random_tensor({5, 4}, -2, 2, 1)};
  check_gradients(
      "softmax", [](const Inputs& x) { return softmax(x[0]); }, a);
  check_gradients(
      "log_softmax", [](const Inputs& x) { return log_softmax(x[0]); }, a);
}

TEST_CASE("gradients of distances") {
  const Tensor x = random_tensor({6, 3}, -1, 1, 1), y = random_tensor({4, 3}, -1, 1, 2);
  for (const Metric& m :
       {metric::euclidean, metric::sqeuclidean, metric::manhattan, metric::chebyshev, metric::cosine,
        metric::correlation, metric::minkowski(3), metric::minkowski(1.5)}) {
    const std::string name(flatland::name(m.kind));
    check_gradients("pdist " + name, [m](const Inputs& in) { return pdist(in[0], m); }, {x});
    check_gradients("cdist " + name, [m](const Inputs& in) { return cdist(in[0], in[1], m); }, {x, y});
    check_gradients("pair_distances " + name,
                    [m](const Inputs& in) { return pair_distances(in[0], in[1], m); },
                    {slice_rows(x, 0, 4), y});
  }
  check_gradients("to square", [](const Inputs& in) { return condensed_to_square(in[0], 4); },
                  {random_tensor({6})});
  check_gradients("to condensed", [](const Inputs& in) { return square_to_condensed(in[0]); },
                  {random_tensor({4, 4})});
}

TEST_CASE("gradients at coincident points are finite, and 0 between them") {
  Tensor x = Tensor::of({{1, 2}, {1, 2}, {3, 5}}, Dtype::float64).requires_grad(true);
  for (const Metric& m :
       {metric::euclidean, metric::sqeuclidean, metric::manhattan, metric::chebyshev, metric::minkowski(3)}) {
    x.zero_grad();
    pdist(x, m).backward(Tensor::from(std::vector<double>{1, 0, 0}));  // only the coincident pair
    for (const double g : x.grad().to_vector<double>()) CHECK(g == 0);
    x.zero_grad();
    const Tensor q = modified_cauchy(pdist(x, m), 1.5, 0.9);
    (sum(q) + sum(student_t(pdist(x, m)))).backward();
    for (const double g : x.grad().to_vector<double>()) CHECK(std::abs(g) < 10);
  }
}

TEST_CASE("gradients of similarities, with trained parameters") {
  const Tensor dist = random_tensor({12}, 0.1, 3, 1);
  for (const double alpha : {0.5, 1.0, 3.0}) {
    check_gradients("student_t", [alpha](const Inputs& in) { return student_t(in[0], alpha); }, {dist});
    check_gradients("student_t alpha", [](const Inputs& in) { return student_t(in[0], in[1]); },
                    {dist, Tensor::scalar(alpha, Dtype::float64)});
  }
  check_gradients("modified_cauchy", [](const Inputs& in) { return modified_cauchy(in[0], 1.577, 0.895); },
                  {dist});
  check_gradients("modified_cauchy a b",
                  [](const Inputs& in) { return modified_cauchy(in[0], in[1], in[2]); },
                  {dist, Tensor::from({1.577}), Tensor::from({0.895})});
}

TEST_CASE("gradients of relation losses") {
  const std::int64_t n = 6;
  const Tensor p = affinities(n);
  const Tensor q = random_tensor({n, n}, 0.01, 0.1, 3);
  check_gradients("kl q", [p](const Inputs& in) { return kl_divergence(p, in[0]); }, {q});
  check_gradients("kl p", [q](const Inputs& in) { return kl_divergence(in[0], q); },
                  {random_tensor({n, n}, 0.01, 0.1, 4)});
  const Tensor label = Tensor::from(std::vector<double>{1, 0, 0, 1, 0.3});
  check_gradients("fuzzy", [label](const Inputs& in) { return fuzzy_cross_entropy(label, in[0]); },
                  {random_tensor({5}, 0.05, 0.95, 5)});
  for (const double alpha : {1.0, 2.5}) {
    const SparseBlock block = sparse_block(p);
    check_gradients("kl_student_t", [&](const Inputs& in) { return kl_student_t(in[0], block, alpha); },
                    {random_tensor({n, 2}, -1, 1, 6)});
  }
}

TEST_CASE("the fused t-SNE loss equals its parts") {
  const std::int64_t n = 9;
  const Tensor p = affinities(n);
  Tensor y = random_tensor({n, 2}, -2, 2, 8).requires_grad(true);
  for (const double alpha : {1.0, 1.7}) {
    const Tensor q = condensed_to_square(student_t(pdist(y), alpha), n);
    const Tensor composed = kl_divergence(p, q / sum(q));
    composed.backward();
    const std::vector<double> expected = y.grad().to_vector<double>();
    y.zero_grad();
    const Tensor fused = kl_student_t(y, sparse_block(p), alpha);
    (fused * 1.0).backward();
    CHECK(fused.item() == doctest::Approx(composed.item()).epsilon(1e-12));
    for (std::int64_t i = 0; i < y.numel(); ++i) {
      CHECK(std::abs(y.grad().at(i) - expected[static_cast<std::size_t>(i)]) < 1e-12);
    }
    y.zero_grad();
  }
}

TEST_CASE("gradients of a three-layer network with every loss") {
  const std::int64_t n = 6;
  Sequential net({4, 5, 3, 2}, activation::softplus);
  net.to(Dtype::float64);
  Inputs parameters;
  for (const NamedTensor& p : net.parameters()) parameters.push_back(p.tensor);
  const Tensor x = random_tensor({n, 4}, -1, 1, 1), target = random_tensor({n, 2}, -1, 1, 2);
  const Tensor p = affinities(n), label = random_tensor({n / 2}, 0, 1, 9);
  const SparseBlock block = sparse_block(p);
  const Tensor classes = Tensor::from(std::vector<std::int64_t>{0, 1, 1, 0, 1, 0});
  const auto embed = [&](const Inputs& in) {
    Tensor h = linear(x, in[0], in[1], activation::softplus);
    h = linear(h, in[2], in[3], activation::softplus);
    return linear(h, in[4], in[5]);
  };
  const auto composed_kl = [&](const Tensor& y) {
    const Tensor q = student_t(pdist(y));
    return kl_divergence(p, condensed_to_square(q / (2.0 * sum(q)), n));
  };
  const auto umap = [&](const Tensor& y) {
    const Tensor d = pair_distances(slice_rows(y, 0, n / 2), slice_rows(y, n / 2, n));
    return fuzzy_cross_entropy(label, modified_cauchy(d, 1.577, 0.895));
  };
  const auto correlation = [&](const Tensor& y) {
    const Tensor a = column(x, 1), b = column(y, 0);
    return 1.0 - square(covariance(a, b) / (std_dev(a) * std_dev(b)));
  };
  check_gradients(
      "mse", [&](const Inputs& in) { return mse_loss(embed(in), target); }, parameters);
  check_gradients(
      "classes", [&](const Inputs& in) { return cross_entropy(embed(in), classes); }, parameters);
  check_gradients(
      "kl", [&](const Inputs& in) { return composed_kl(embed(in)); }, parameters);
  check_gradients(
      "fused kl", [&](const Inputs& in) { return kl_student_t(embed(in), block); }, parameters);
  check_gradients(
      "umap", [&](const Inputs& in) { return umap(embed(in)); }, parameters);
  check_gradients(
      "correlation", [&](const Inputs& in) { return correlation(embed(in)); }, parameters);
  check_gradients(
      "compound",
      [&](const Inputs& in) {
        const Tensor y = embed(in);
        return 2.0 * kl_student_t(y, block) + 0.5 * mse_loss(y, target) + correlation(y);
      },
      parameters);
}

TEST_CASE("gradcheck finds wrong, missing and not-a-number gradients") {
  const auto wrong = [](double factor) {
    return [factor](const Inputs& x) {
      Tensor y = square(x[0].detach());
      record(y, {x[0]}, [x0 = x[0].detach(), factor](BackwardContext& ctx) {
        ctx.accumulate(0, ctx.grad() * x0 * factor);
      });
      return y;
    };
  };
  const Inputs a{random_tensor({3}, 0.5, 1)};
  CHECK(gradcheck(wrong(2), a).ok);
  const GradcheckResult off = gradcheck(wrong(2.001), a);
  CHECK(!off.ok);
  CHECK(off.worst > 1e-4);
  CHECK(test::contains(off.message, "input 0 (3), value"));
  CHECK(!gradcheck(wrong(std::numeric_limits<double>::quiet_NaN()), a).ok);
  CHECK(!gradcheck([](const Inputs& x) { return square(x[0].detach()); }, a).ok);
  CHECK(test::contains(test::error_of([&] { gradcheck(wrong(2), {Tensor::ones({2})}); }), "must be float64"));
}
