// Embedding, dropout, activations as layers, random states, freezing.
#include <doctest/doctest.h>
#include <flatland/engine/autograd.h>
#include <flatland/engine/layers.h>
#include <flatland/engine/optim.h>
#include <flatland/engine/pool.h>
#include <flatland/kernels/graph.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/parameter_names.h"
#include "tests/support/random_tensor.h"

using namespace flatland;
using test::contains;
using test::error_of;
using test::golden;
using test::random_tensor;

namespace {

Tensor indices(const std::string& name) {
  return golden("embedding/" + name).to(Dtype::int64);
}

void matches(const Tensor& got, const std::string& name, double tolerance) {
  const Tensor want = golden("embedding/" + name);
  REQUIRE(got.shape() == want.shape());
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    INFO(name << ", value " << i);
    CHECK(std::abs(got.at(i) - want.at(i)) <= tolerance);
  }
}

}  // namespace

// Fixture "embedding": torch 1.13 in float64.
TEST_CASE("an embedding looks up, pads and renormalises as PyTorch's on every device") {
  for (const Device device : test::devices())
    for (const Dtype dtype : {Dtype::float64, Dtype::float32}) {
      INFO(std::string(name(device)), ' ', std::string(name(dtype)));
      const double tolerance = dtype == Dtype::float64 ? 1e-12 : 1e-6;
      const auto at = [&](const Tensor& t) { return t.to(dtype).to(device); };
      const Embedding padded = Embedding::from(at(golden("embedding/a_weight")), {.padding_idx = 5}, false);
      const Tensor out = padded.forward(indices("a_idx").to(device));
      matches(out, "a_out", tolerance);
      out.backward(at(golden("embedding/a_upstream")));
      matches(padded.weight.grad(), "a_grad", tolerance);

      const Embedding bounded = Embedding::from(at(golden("embedding/b_weight")), {.max_norm = 1}, false);
      const Tensor short_out = bounded.forward(indices("b_idx").to(device));
      matches(bounded.weight, "b_weight_after", tolerance);
      matches(short_out, "b_out", tolerance);
      short_out.backward(at(golden("embedding/b_upstream")));
      matches(bounded.weight.grad(), "b_grad", tolerance);
    }
}

TEST_CASE("an embedding's gradient, rows that start normal, and frozen ones") {
  const Tensor index = Tensor::from(std::vector<std::int64_t>{3, 0, 3, 1, 4});
  const auto f = [&](const std::vector<Tensor>& in) { return embedding(index, in[0]); };
  const GradcheckResult result = gradcheck(f, {random_tensor({5, 3})}, {.tolerance = 1e-8});
  INFO(result.message);
  CHECK(result.ok);

  Embedding table(200, 50, {.padding_idx = 7});
  table.initialize(3);
  const std::vector<double> values = table.weight.to_vector<double>();
  double sum = 0, squares = 0;
  for (const double v : values) sum += v, squares += v * v;
  CHECK(std::abs(sum / 1e4) < 0.06);  // six deviations of a mean of 10,000
  CHECK(squares / 1e4 == doctest::Approx(1).epsilon(0.09));
  for (std::int64_t j = 0; j < 50; ++j) CHECK(table.weight.at(7, j) == 0);
  CHECK(table.weight.at(0, 0) != Embedding(200, 50).weight.at(0, 0));

  const Embedding given = Embedding::from(Tensor::of({{1, 2}, {3, 4}}));
  CHECK(!given.weight.requires_grad());
  CHECK(given.forward(Tensor::from(std::vector<std::int64_t>{1, 1})).to_vector<double>() ==
        std::vector<double>{3, 4, 3, 4});
  CHECK(contains(error_of([] { Embedding(3, 0); }), "got 3 rows of 0 values"));
  CHECK(contains(error_of([] { Embedding(3, 2, {.padding_idx = 3}); }), "padding_idx is 3"));
  CHECK(contains(error_of([&] { table.forward(Tensor::from(std::vector<std::int64_t>{200})); }),
                 "index[0] is 200"));
  CHECK(contains(error_of([&] { table.forward(Tensor::from({1.0})); }), "must be one dimension of int64"));
}

TEST_CASE("dropout draws anew at each call of training, the same on every device") {
  const Tensor x = random_tensor({40, 30}, 0.5, 1, 1);
  std::vector<std::vector<double>> first;
  for (const Device device : test::devices()) {
    Dropout layer(0.25);
    layer.initialize(9);
    layer.to(device);
    Tensor leaf = x.to(device).clone().requires_grad(true);
    const Tensor y = layer.forward(leaf);
    y.backward(Tensor::ones({40, 30}, Dtype::float64, device));
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const double want = y.at(i) != 0 ? 1 / 0.75 : 0;
      CHECK(y.at(i) == doctest::Approx(x.at(i) * want));
      CHECK(leaf.grad().at(i) == want);
      kept += want != 0;
    }
    CHECK(std::abs(static_cast<double>(kept) - 900) < 90);  // six deviations
    const std::vector<double> again = layer.forward(leaf).to_vector<double>();
    CHECK(again != y.to_vector<double>());
    first.push_back(y.to_vector<double>());
    first.push_back(again);
    CHECK(std::equal(first.end() - 2, first.end(), first.begin()));
    layer.eval();
    CHECK(layer.forward(leaf).to_vector<double>() == leaf.to_vector<double>());
  }
}

TEST_CASE("random states belong to a module's state, each with draws of its own") {
  const auto make = [] {
    return Sequential({std::make_shared<Linear>(6, 50), std::make_shared<Dropout>(0.5),
                       std::make_shared<ActivationLayer>(activation::elu()), std::make_shared<Dropout>(0.5)});
  };
  Sequential net = make(), other = make();
  CHECK(test::parameter_names(net) == std::vector<std::string>{"0.weight", "0.bias"});
  const std::vector<NamedTensor> start = net.state();
  REQUIRE(start.size() == 4);
  CHECK(start[2].name == "1.random");
  CHECK(start[2].tensor.to_vector<std::int64_t>()[1] !=
        start[3].tensor.to_vector<std::int64_t>()[1]);  // streams
  const Tensor x = random_tensor({8, 6}, -1, 1, 1, Dtype::float32);
  net.initialize(4);
  const std::vector<double> one = net.forward(x).to_vector<double>();
  other.load_state(net.state());
  const std::vector<double> two = net.forward(x).to_vector<double>();
  CHECK(one != two);
  CHECK(other.forward(x).to_vector<double>() == two);
  net.initialize(4);
  CHECK(net.forward(x).to_vector<double>() == one);
  CHECK(net[0].out() == 50);
  CHECK(contains(error_of([&] { net[1]; }), "child 1 of 4 is no Linear"));
  CHECK(contains(error_of([] { Dropout(1); }), "p is 1"));
}

TEST_CASE("frozen layers take no gradient and stay") {
  Sequential net({4, 5, 2}, activation::tanh);
  const auto optimizer = make_optimizer(Adam{}, tensors_of(net.parameters()), 0.1);
  const Tensor x = random_tensor({6, 4}, -1, 1, 1, Dtype::float32);
  const auto step = [&] {
    optimizer->zero_grad();
    mean(square(net.forward(x))).backward();
    optimizer->step();
  };
  net[0].requires_grad(false);
  const std::vector<NamedTensor> before = net.state();
  step();
  CHECK(!net[0].weight.grad().defined());
  CHECK(net.state()[0].tensor.to_vector<float>() == before[0].tensor.to_vector<float>());
  CHECK(net.state()[2].tensor.to_vector<float>() != before[2].tensor.to_vector<float>());
  net[0].requires_grad(true);
  step();
  CHECK(net.state()[0].tensor.to_vector<float>() != before[0].tensor.to_vector<float>());
  const std::vector<NamedTensor> now = net.state();
  net.requires_grad(false);  // with gradients that are still there
  optimizer->step();
  for (std::size_t i = 0; i < now.size(); ++i)
    CHECK(net.state()[i].tensor.to_vector<float>() == now[i].tensor.to_vector<float>());
  CHECK(contains(error_of([&] { make_optimizer(Adam{}, tensors_of(net.parameters()), 0.1); }),
                 "no parameter requires a gradient"));
}

namespace {

// A small step of everything that draws, bounds or renormalises; its parameters after some of them. Recorded
// and replayed where there is a graph for it.
std::vector<double> train_layers(Device device, bool recorded) {
  kernels::Exec exec(device);
  const ExecScope scope(exec);
  Sequential net({std::make_shared<Linear>(3, 20),
                  std::make_shared<ActivationLayer>(activation::leaky_relu()), std::make_shared<Dropout>(0.3),
                  std::make_shared<Linear>(20, 2)});
  Embedding table(4, 2, {.padding_idx = 0, .max_norm = 0.9});
  net.initialize(1);
  net.to(device);
  table.to(device);
  std::vector<Tensor> parameters = tensors_of(net.parameters());
  const auto optimizer = make_optimizer(
      RMSprop{.momentum = 0.5, .centered = true},
      std::vector<ParameterGroup>{{.parameters = parameters},
                                  {.parameters = {table.weight}, .learning_rate = 0.1, .weight_decay = 0.01}},
      0.01);
  parameters.push_back(table.weight);
  const Tensor x = random_tensor({16, 3}, -1, 1, 1, Dtype::float32).to(device);
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < 16; ++i) numbers.push_back(i % 4);
  const Tensor index = Tensor::from(numbers).to(device);
  const auto step = [&] {
    optimizer->zero_grad();
    const Tensor y = net.forward(x), wanted = table.forward(index);
    (mse_loss(y, wanted) + 0.1 * gaussian_nll_loss(y, wanted.detach(), softplus(y))).backward();
    clip_grad_norm(parameters, 0.5);
    clip_grad_value(parameters, 0.2);
    optimizer->step();
  };
  step();
  detail::GraphMemory memory(device);
  kernels::Graph graph;
  std::vector<Tensor> kept;  // the gradients that the graph writes
  if (recorded) {
    memory.record([&] { graph = kernels::Graph::record(exec, step); });
    for (const Tensor& p : parameters) kept.push_back(p.grad());
  }
  for (int i = 0; i < 5; ++i) {
    if (i == 3) optimizer->set_learning_rate(0.002);
    recorded ? graph.launch(exec) : step();
  }
  std::vector<double> all;
  for (const Tensor& p : parameters) {
    const std::vector<double> values = p.to_vector<double>();
    all.insert(all.end(), values.begin(), values.end());
  }
  for (const NamedTensor& s : net.state())
    if (s.name == "2.random") all.push_back(s.tensor.at(2));
  return all;
}

}  // namespace

TEST_CASE("steps that draw and bound train as on the CPU, and the same when recorded, on every device") {
  const std::vector<double> want = train_layers(Device::cpu, false);
  CHECK(want.back() == 6 * 16 * 20);  // draws
  for (const Device device : test::devices()) {
    const std::vector<double> got = train_layers(device, false);
    REQUIRE(got.size() == want.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      CHECK(std::abs(got[i] - want[i]) <= 1e-4 * std::max(1.0, std::abs(want[i])));
    if (device == Device::cuda) CHECK(train_layers(device, true) == got);
  }
}
