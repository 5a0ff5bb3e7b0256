#include <doctest/doctest.h>
#include <flatland/engine/autograd.h>
#include <flatland/engine/ops.h>

#include <string>
#include <vector>

#include "tests/support/errors.h"

using namespace flatland;
using test::contains;
using test::error_of;

namespace {

Tensor leaf(std::initializer_list<std::initializer_list<double>> rows) {
  return Tensor::of(rows, Dtype::float64).requires_grad(true);
}

}  // namespace

TEST_CASE("backward gives leaves their gradients and adds to those they have") {
  Tensor x = leaf({{1, 2}, {3, 4}});
  const Tensor constant = Tensor::of({{2, 2}, {2, 2}}, Dtype::float64);
  sum(x * x * constant).backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{4, 8, 12, 16});
  CHECK(!constant.grad().defined());
  sum(x).backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{5, 9, 13, 17});
  x.zero_grad();
  CHECK(!x.grad().defined());
}

TEST_CASE("a value used several times gets the sum of its gradients") {
  Tensor x = leaf({{3}});
  const Tensor y = x * x;
  const Tensor z = y + y * x + y;  // 2 x^2 + x^3
  reshape(z, {}).backward();
  CHECK(x.grad().item() == 4 * 3 + 3 * 9);
}

TEST_CASE("gradients that share memory stay apart") {
  Tensor a = leaf({{1, 2}}), b = leaf({{3, 4}});
  const Tensor y = a + b;
  const Tensor upstream = Tensor::of({{5, 6}}, Dtype::float64);
  y.backward(upstream);
  (a + b).backward(upstream);
  CHECK(a.grad().to_vector<double>() == std::vector<double>{10, 12});
  CHECK(b.grad().to_vector<double>() == std::vector<double>{10, 12});
  CHECK(upstream.to_vector<double>() == std::vector<double>{5, 6});
  CHECK(a.grad().data<double>() != b.grad().data<double>());
}

TEST_CASE("a gradient that somebody holds does not change behind their back") {
  Tensor a = leaf({{1, 2}});
  sum(a).backward();
  const Tensor held = a.grad();
  sum(a).backward();
  CHECK(held.at(0) == 1);
  CHECK(a.grad().at(0) == 2);
}

TEST_CASE("a result needs a history only where an input asks for a gradient") {
  Tensor x = leaf({{1, 2}});
  CHECK((x * 2.0).requires_grad());
  CHECK(!(x * 2.0).is_leaf());
  CHECK(!(x.detach() * 2.0).requires_grad());
  CHECK(!less(x, x).requires_grad());
  const NoGrad no_grad;
  CHECK(!(x * 2.0).requires_grad());
}

TEST_CASE("copies are differentiable") {
  Tensor x = Tensor::of({{1, 2}}).requires_grad(true);
  const Tensor y = x.clone().to(Dtype::float64);
  sum(y * y).backward();
  CHECK(x.grad().dtype() == Dtype::float32);
  CHECK(x.grad().to_vector<float>() == std::vector<float>{2, 4});
  x.zero_grad();
  sum(x.detach() * x).backward();
  CHECK(x.grad().to_vector<float>() == std::vector<float>{1, 2});
}

TEST_CASE("misuse of backward is an error that says what to do") {
  Tensor x = leaf({{1, 2}});
  const Tensor y = x * x;
  CHECK(contains(error_of([&] { y.backward(); }), "not a single value"));
  CHECK(contains(error_of([&] { sum(x.detach()).backward(); }), "no history"));
  CHECK(contains(error_of([&] { y.backward(Tensor::ones({2}, Dtype::float64)); }), "shape and type"));
  CHECK(contains(error_of([&] { Tensor().backward(); }), "undefined"));
  Tensor z = x * 1.0;
  CHECK(contains(error_of([&] { z.requires_grad(true); }), "only leaves"));
}

TEST_CASE("a second backward through a freed history is an error and changes nothing") {
  Tensor x = leaf({{1, 2}});
  const Tensor y = x * x;
  const Tensor loss = sum(y);
  loss.backward();
  const std::vector<double> grad = x.grad().to_vector<double>();
  CHECK(contains(error_of([&] { loss.backward(); }), "freed by an earlier backward"));
  CHECK(contains(error_of([&] { (sum(y) + sum(x)).backward(); }), "freed by an earlier backward"));
  CHECK(x.grad().to_vector<double>() == grad);
}

TEST_CASE("backward frees what it has used") {
  Tensor x = Tensor::zeros({1000}, Dtype::float64).requires_grad(true);
  const std::size_t before = memory_use().in_use;
  {
    Tensor y = x;
    for (int i = 0; i < 50; ++i) y = y * y;
    const Tensor loss = sum(y);
    CHECK(memory_use().in_use > before + 50 * 8000);
    loss.backward();
    CHECK(memory_use().in_use < before + 4 * 10000);
  }
  x.zero_grad();
  CHECK(memory_use().in_use == before);
}

TEST_CASE("an error inside backward leaves the tape usable") {
  Tensor x = leaf({{1, 2}});
  Tensor y = x * 2.0;
  Tensor z = y.detach().clone();
  record(z, {y}, [](BackwardContext&) { throw Error("broken"); });
  CHECK(contains(error_of([&] { sum(z).backward(); }), "broken"));
  sum(y).backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{2, 2});
}

TEST_CASE("an own op records its backward") {
  Tensor x = leaf({{1, 2}}), unused = leaf({{1, 2}});
  Tensor y = x.detach() * 3.0;
  record(y, {x, x.detach(), Tensor(), unused}, [](BackwardContext& ctx) {
    CHECK(ctx.wants(0));
    CHECK(!ctx.wants(1));
    CHECK(!ctx.wants(2));
    CHECK(!grad_enabled());
    CHECK(contains(error_of([&] { ctx.wants(4); }), "input 4"));
    CHECK(contains(error_of([&] { ctx.accumulate(0, Tensor::ones({3})); }), "shape and type"));
    ctx.accumulate(0, ctx.grad() * 3.0);
    ctx.accumulate(1, ctx.grad());  // not wanted
  });
  sum(y).backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{3, 3});
  CHECK(!unused.grad().defined());
}

TEST_CASE("a chain of 100,000 operations needs no deep stack") {
  Tensor x = Tensor::scalar(1, Dtype::float64).requires_grad(true);
  {
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = y + x;
    y.backward();
    CHECK(x.grad().item() == 100001);
  }
  {
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = y * x;
  }  // destroyed without backward
  CHECK(x.grad().item() == 100001);
}
