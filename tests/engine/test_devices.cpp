// Tensors, ops and training on every device: the values and gradients of the CPU, within rounding.
#include <doctest/doctest.h>
#include <flatland/engine/module.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/optim.h>
#include <flatland/engine/relation_ops.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/devices.h"
#include "tests/support/gradients.h"
#include "tests/support/random_tensor.h"
#include "tests/support/ulps.h"

using namespace flatland;
using test::distance;
using test::Function;
using test::Inputs;
using test::random_tensor;

namespace {

// f(inputs) and the gradients of a sum of its values, brought to the CPU.
std::vector<Tensor> run(const Function& f, const Inputs& inputs, Device device, Dtype dtype) {
  Inputs on_device;
  for (const Tensor& input : inputs) {
    Tensor t = input.is_floating() ? input.to(dtype).to(device) : input.to(device);
    on_device.push_back(t.detach().clone());
    if (t.is_floating()) on_device.back().requires_grad(true);
  }
  const Tensor y = f(on_device);
  CHECK(y.device() == device);
  sum(y * y).backward();
  std::vector<Tensor> results{y.detach().to(Device::cpu)};
  for (const Tensor& input : on_device)
    if (input.grad().defined()) results.push_back(input.grad().to(Device::cpu));
  return results;
}

void check(const std::string& what, const Function& f, const Inputs& inputs) {
  for (const Dtype dtype : {Dtype::float32, Dtype::float64}) {
    const std::vector<Tensor> want = run(f, inputs, Device::cpu, dtype);
    for (const Device device : test::devices()) {
      const std::vector<Tensor> got = run(f, inputs, device, dtype);
      REQUIRE(got.size() == want.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        INFO(what << " in " << std::string(name(dtype)) << ", result " << i);
        CHECK(distance(got[i], want[i]) <= (dtype == Dtype::float32 ? 1e-5 : 1e-13));
      }
    }
  }
}

}  // namespace

TEST_CASE("tensors are made, converted and copied on every device") {
  for (const Device device : test::devices())
    for (const Dtype dtype : {Dtype::float32, Dtype::float64, Dtype::int32, Dtype::int64}) {
      CAPTURE(std::string(name(dtype)));
      Tensor a = Tensor::full({3, 5}, 7, dtype, device);
      CHECK(a.device() == device);
      CHECK(a.to_vector<double>() == std::vector<double>(15, 7));
      a.fill(-2);
      CHECK(a.to_vector<std::int64_t>() == std::vector<std::int64_t>(15, -2));
      CHECK(Tensor::scalar(5, dtype, device).item() == 5);
      CHECK(a.at(2, 4) == -2);
      CHECK(Tensor::zeros({0}, dtype, device).to_vector<float>().empty());
      const Tensor host = Tensor::of({{1, -2, 3}, {4, 5, -6}}, dtype);
      const Tensor there = host.to(device);
      CHECK(there.to(Device::cpu).to_vector<double>() == host.to_vector<double>());
      CHECK(there.clone().to_vector<double>() == host.to_vector<double>());
      for (const Dtype other : {Dtype::float32, Dtype::float64, Dtype::int32, Dtype::int64})
        CHECK(there.to(other).to_vector<double>() == host.to_vector<double>());
      const Tensor index = Tensor::from(std::vector<std::int64_t>{1, 0, 1}).to(device);
      CHECK(gather_rows(there, index).to_vector<double>() ==
            gather_rows(host, index.to(Device::cpu)).to_vector<double>());
      CHECK(concat({there, there}, 1).to_vector<double>() == concat({host, host}, 1).to_vector<double>());
      CHECK(transpose(there).to_vector<double>() == transpose(host).to_vector<double>());
      CHECK(column(there, 1).to_vector<double>() == column(host, 1).to_vector<double>());
      CHECK(slice_rows(there, 1, 2).to_vector<double>() == slice_rows(host, 1, 2).to_vector<double>());
    }
}

TEST_CASE("elementwise ops and their gradients on every device") {
  const Tensor x = random_tensor({5, 7}, 0.5, 2, 1), y = random_tensor({5, 7}, 0.5, 2, 2);
  const Tensor row = random_tensor({7}, 0.5, 2, 3), col = random_tensor({5, 1}, 0.5, 2, 4);
  const Tensor any = random_tensor({3, 4, 5}, -2, 2, 5);
  for (const Tensor& b : {y, row, col, random_tensor({}, 0.5, 2, 6)}) {
    check("+", [](const Inputs& in) { return in[0] + in[1]; }, {x, b});
    check("-", [](const Inputs& in) { return in[0] - in[1]; }, {x, b});
    check("*", [](const Inputs& in) { return in[0] * in[1]; }, {x, b});
    check("/", [](const Inputs& in) { return in[0] / in[1]; }, {x, b});
    check("maximum", [](const Inputs& in) { return maximum(in[0], in[1]); }, {x, b});
    check("minimum", [](const Inputs& in) { return minimum(in[0], in[1]); }, {x, b});
  }
  const std::vector<std::pair<std::string, Function>> of_one{
      {"numbers", [](const Inputs& in) { return (1.0 - (in[0] + 2.0) * 3.0) / 4.0 - 0.5; }},
      {"negative", [](const Inputs& in) { return -in[0]; }},
      {"exp", [](const Inputs& in) { return exp(in[0]); }},
      {"abs", [](const Inputs& in) { return abs(in[0]); }},
      {"square", [](const Inputs& in) { return square(in[0]); }},
      {"clamp", [](const Inputs& in) { return clamp(in[0], -1, 1); }},
      {"softplus", [](const Inputs& in) { return softplus(in[0]); }},
      {"tanh", [](const Inputs& in) { return flatland::tanh(in[0]); }},
      {"sigmoid", [](const Inputs& in) { return sigmoid(in[0]); }},
      {"relu", [](const Inputs& in) { return relu(in[0]); }},
      {"leaky_relu", [](const Inputs& in) { return leaky_relu(in[0], 0.2); }},
      {"elu", [](const Inputs& in) { return elu(in[0], 1.3); }}};
  for (const auto& [what, f] : of_one) check(what, f, {any});
  const std::vector<std::pair<std::string, Function>> of_positive{
      {"2 / a", [](const Inputs& in) { return 2.0 / in[0]; }},
      {"log", [](const Inputs& in) { return log(in[0]); }},
      {"sqrt", [](const Inputs& in) { return sqrt(in[0]); }},
      {"pow", [](const Inputs& in) { return pow(in[0], 1.5); }}};
  for (const auto& [what, f] : of_positive) check(what, f, {x});
}

TEST_CASE("reductions, shapes and losses and their gradients on every device") {
  const Tensor x = random_tensor({6, 7}, -1, 1, 1), y = random_tensor({6, 7}, -1, 1, 2);
  const Tensor deep = random_tensor({2, 3, 4}, -1, 1, 3);
  const Tensor index = Tensor::from(std::vector<std::int64_t>{5, 0, 3, 3, 5, 3});
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{0, 6, 3, 3, 1, 2});
  const std::vector<std::pair<std::string, Function>> of_one{
      {"sum", [](const Inputs& in) { return sum(in[0]); }},
      {"mean", [](const Inputs& in) { return mean(in[0]); }},
      {"std_dev", [](const Inputs& in) { return std_dev(in[0]); }},
      {"sum 0", [](const Inputs& in) { return sum(in[0], 0); }},
      {"mean -1", [](const Inputs& in) { return mean(in[0], -1); }}};
  for (const auto& [what, f] : of_one) {
    check(what, f, {x});
    check(what, f, {deep});
  }
  check("sum 1 of three", [](const Inputs& in) { return sum(in[0], 1); }, {deep});
  check("reshape", [](const Inputs& in) { return reshape(in[0], {3, -1}); }, {x});
  check("transpose", [](const Inputs& in) { return transpose(in[0]); }, {x});
  check("concat", [](const Inputs& in) { return concat({in[0], in[1]}, 1); }, {x, y});
  check("stack", [](const Inputs& in) { return stack(std::vector{in[0], in[1]}); }, {x, y});
  check("slice_rows", [](const Inputs& in) { return slice_rows(in[0], 2, 5); }, {x});
  check("column", [](const Inputs& in) { return column(in[0], 3); }, {x});
  check("gather_rows", [](const Inputs& in) { return gather_rows(in[0], in[1]); }, {x, index});
  check("softmax", [](const Inputs& in) { return softmax(in[0]); }, {x});
  check("log_softmax", [](const Inputs& in) { return log_softmax(in[0]); }, {x});
  check("mse_loss", [](const Inputs& in) { return mse_loss(in[0], in[1]); }, {x, y});
  check("l1_loss", [](const Inputs& in) { return l1_loss(in[0], in[1]); }, {x, y});
  check("smooth_l1_loss", [](const Inputs& in) { return SmoothL1Loss{.beta = 0.5}(in[0], in[1]); }, {x, y});
  check("bce_with_logits_loss",
        [](const Inputs& in) { return bce_with_logits_loss(in[0], sigmoid(in[1]).detach()); }, {x, y});
  check("bce_loss", [](const Inputs& in) { return bce_loss(sigmoid(in[0]), sigmoid(in[1]).detach()); },
        {x, y});
  check("gaussian_nll_loss",
        [](const Inputs& in) { return gaussian_nll_loss(in[0], in[1], softplus(in[0] * in[1])); }, {x, y});
  check("triplet_margin_loss",
        [](const Inputs& in) { return triplet_margin_loss(in[0], in[1], in[0] * in[1]); }, {x, y});
  check("cross_entropy of each",
        [](const Inputs& in) { return CrossEntropy{.reduction = Reduction::none}(in[0], in[1]); },
        {x, labels});
  check("embedding", [](const Inputs& in) { return embedding(in[1], in[0], 3, 0.5); }, {x, index});
  check("cross_entropy", [](const Inputs& in) { return cross_entropy(in[0], in[1]); }, {x, labels});
  check("several losses",
        [](const Inputs& in) { return 0.5 * cross_entropy(in[0], in[2]) + mse_loss(in[0], in[1]); },
        {x, y, labels});
  for (const Device device : test::devices()) {
    CHECK(max_value(x.to(device)) == max_value(x));
    CHECK(argmax(x.to(device)).to_vector<std::int64_t>() == argmax(x).to_vector<std::int64_t>());
    Tensor a = x.to(device).clone().requires_grad(true);
    mse_loss(a, y.to(device)).backward();  // the gradient of 1 is not multiplied, and not shared
    a.grad().fill(3);
    CHECK(a.grad().to_vector<double>() == std::vector<double>(42, 3));
  }
}

TEST_CASE("distances and forms of relations and their gradients on every device") {
  const Tensor x = random_tensor({13, 3}, -1, 1, 1), y = random_tensor({13, 3}, -1, 1, 2);
  const Tensor z = random_tensor({7, 3}, -1, 1, 3);
  for (const Metric m : {metric::euclidean, metric::sqeuclidean, metric::manhattan, metric::chebyshev,
                         metric::cosine, metric::correlation, metric::minkowski(3)}) {
    CAPTURE(std::string(name(m.kind)));
    check("pdist", [m](const Inputs& in) { return pdist(in[0], m); }, {x});
    check("cdist", [m](const Inputs& in) { return cdist(in[0], in[1], m); }, {x, z});
    check("pair_distances", [m](const Inputs& in) { return pair_distances(in[0], in[1], m); }, {x, y});
  }
  const Tensor square = random_tensor({40, 40}, -1, 1, 4), condensed = random_tensor({780}, -1, 1, 5);
  check("to square", [](const Inputs& in) { return condensed_to_square(in[0], 40); }, {condensed});
  check("to condensed", [](const Inputs& in) { return square_to_condensed(in[0]); }, {square});
  check("cdist, one side", [](const Inputs& in) { return cdist(in[0], in[1].detach()); }, {x, z});
}

namespace {

// The parameters after some steps of cross-entropy and mean squares on a small network, as float64.
template <class Recipe>
std::vector<double> train(Device device, Dtype dtype, const Recipe& recipe) {
  Sequential net({6, 9, 5, 3}, activation::softplus);
  net.initialize(11);
  net.to(dtype);
  net.to(device);
  const Tensor x = random_tensor({33, 6}, -1, 1, 1).to(dtype).to(device);
  const Tensor target = random_tensor({33, 3}, -1, 1, 2).to(dtype).to(device);
  std::vector<std::int64_t> classes;
  for (std::int64_t i = 0; i < 33; ++i) classes.push_back(i % 3);
  const Tensor labels = Tensor::from(classes).to(device);
  const auto optimizer = make_optimizer(recipe, tensors_of(net.parameters()), 0.01);
  for (int step = 0; step < 20; ++step) {
    if (step == 10) optimizer->set_learning_rate(0.005);
    optimizer->zero_grad();
    const Tensor y = net.forward(x);
    (cross_entropy(y, labels) + 0.5 * mse_loss(y, target)).backward();
    optimizer->step();
  }
  std::vector<double> all;
  for (const NamedTensor& p : net.parameters()) {
    const std::vector<double> values = p.tensor.to_vector<double>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

template <class Recipe>
void check_training(const Recipe& recipe) {
  for (const Dtype dtype : {Dtype::float32, Dtype::float64}) {
    const std::vector<double> want = train(Device::cpu, dtype, recipe);
    for (const Device device : test::devices()) {
      const std::vector<double> got = train(device, dtype, recipe);
      CHECK(got == train(device, dtype, recipe));
      double worst = 0;
      for (std::size_t i = 0; i < got.size(); ++i) worst = test::worse(worst, std::abs(got[i] - want[i]));
      INFO(std::string(name(device)) << ' ' << std::string(name(dtype)));
      // Adam divides by the root of v, which makes rounding errors of small gradients steps of their size.
      CHECK(worst <= (dtype == Dtype::float32 ? 1e-4 : 1e-11));
    }
  }
}

}  // namespace

TEST_CASE("a small network trains as on the CPU on every device") {
  check_training(Adam{});
  check_training(Adam{.weight_decay = 0.01});
  check_training(SGD{.momentum = 0.9});
  check_training(AdamW{});
  check_training(RMSprop{.momentum = 0.5});
}
