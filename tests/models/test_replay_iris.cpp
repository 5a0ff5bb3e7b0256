// Fixture "iris": four networks of the label embeddings' document, full batches of thirty irises, step by
// step as PyTorch 1.13 ran them in float64. Their second hidden layer has no activation.
#include <doctest/doctest.h>
#include <flatland/engine/layers.h>
#include <flatland/engine/optim.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/golden.h"

using namespace flatland;

namespace {

Tensor fixture(const std::string& name) {
  return test::golden("iris/" + name);
}

Tensor items(const std::string& which) {
  return fixture(which + "_idx").to(Dtype::int64);
}

struct Irises {
  Tensor x, labels;
};
Irises irises(const std::string& which) {
  return {gather_rows(fixture("iris_X"), items(which)).to(Dtype::float64),
          gather_rows(fixture("iris_y").to(Dtype::int64), items(which))};
}

// Layers of the document's names, from the fixture's weights.
Sequential network(const std::string& part, const std::vector<std::pair<std::string, Activation>>& names) {
  std::vector<std::shared_ptr<Layer>> layers;
  std::vector<NamedTensor> weights;
  for (const auto& [name, activation] : names) {
    const std::string number = std::to_string(layers.size());
    for (const std::string which : {"weight", "bias"}) {
      std::string file = part;
      file += "_init_" + name + "_" + which;
      weights.push_back({number + "." + which, fixture(file)});
    }
    const Shape& shape = weights[2 * layers.size()].tensor.shape();
    layers.push_back(std::make_shared<Linear>(shape[1], shape[0], Linear::Options{.activation = activation}));
  }
  Sequential all(std::move(layers));
  all.load_state(weights);
  all.to(Dtype::float64);
  return all;
}

double largest_difference(const Tensor& got, const Tensor& want) {
  REQUIRE(got.shape() == want.shape());
  return max_value(abs(got.detach() - want.to(Dtype::float64)));
}

// The largest difference between `steps` losses, each before its step, and the fixture's.
double worst_loss(const std::string& part, Optimizer& optimizer, int steps,
                  const std::function<Tensor()>& loss) {
  kernels::Exec one_thread(Device::cpu, 1);  // for small products
  const ExecScope scope(one_thread);
  const Tensor want = fixture(part + "_loss");
  double worst = 0;
  for (int step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    const Tensor value = loss();
    value.backward();
    optimizer.step();
    const double off = std::abs(value.item() - want.at(step));
    worst = std::isfinite(off) ? std::max(worst, off) : off;
  }
  return worst;
}

std::vector<Tensor> parameters(std::initializer_list<const Module*> modules) {
  std::vector<Tensor> all;
  for (const Module* m : modules) {
    for (const NamedTensor& p : m->parameters()) all.push_back(p.tensor);
  }
  return all;
}

}  // namespace

TEST_CASE("a classifier with a softmax before its cross-entropy follows PyTorch for 1,000 steps") {
  const Irises train = irises("train"), unseen = irises("test");
  const Sequential net = network("classify", {{"fc1", activation::relu}, {"fc2", {}}, {"fc3", {}}});
  const auto classes = [&](const Tensor& x) { return softmax(net.forward(x)); };
  const auto sgd = make_optimizer(SGD{}, parameters({&net}), 0.01);
  CHECK(worst_loss("classify", *sgd, 1000, [&] { return cross_entropy(classes(train.x), train.labels); }) <
        1e-11);
  CHECK(largest_difference(net.forward(unseen.x), fixture("classify_test_out")) < 1e-10);
}

TEST_CASE("regression onto places of labels follows PyTorch for 1,000 steps") {
  const Irises train = irises("train"), unseen = irises("test");
  const Sequential net = network("regress", {{"fc1", activation::relu}, {"fc2", {}}, {"fc3", {}}});
  const Tensor targets = gather_rows(fixture("table").to(Dtype::float64), train.labels);
  const auto sgd = make_optimizer(SGD{}, parameters({&net}), 0.01);
  CHECK(worst_loss("regress", *sgd, 1000, [&] { return mse_loss(net.forward(train.x), targets); }) < 1e-10);
  CHECK(largest_difference(net.forward(unseen.x), fixture("regress_test_out")) < 1e-9);
}

TEST_CASE("a table that is only shortened gives the targets of PyTorch's joint training") {
  const Irises train = irises("train"), unseen = irises("test");
  const Sequential net = network("joint", {{"fc1", activation::relu}, {"fc2", {}}, {"fc3", {}}});
  const Embedding table =
      Embedding::from(fixture("joint_table").to(Dtype::float64), {.max_norm = 1}, /*freeze=*/true);
  const auto sgd = make_optimizer(SGD{}, parameters({&net, &table}), 0.01);
  CHECK(worst_loss("joint", *sgd, 1000,
                   [&] { return mse_loss(net.forward(train.x), table.forward(train.labels)); }) < 1e-9);
  CHECK(largest_difference(table.weight, fixture("joint_table_after")) < 1e-12);
  CHECK(largest_difference(net.forward(unseen.x), fixture("joint_test_out")) < 1e-8);
}

// Small variances make it chaotic: what differs by rounding at first differs visibly after some hundred
// steps.
TEST_CASE("regression with variances follows PyTorch's AdamW for 50 steps") {
  const Irises train = irises("train");
  const Sequential trunk = network("gaussian", {{"fc1", activation::relu}, {"fc2", {}}});
  const Sequential mean = network("gaussian", {{"fc3", {}}});
  const Sequential variance = network("gaussian", {{"variance", activation::softplus}});
  const Tensor targets = gather_rows(fixture("table").to(Dtype::float64), train.labels);
  const auto adam = make_optimizer(AdamW{}, parameters({&trunk, &mean, &variance}), 0.001);
  CHECK(worst_loss("gaussian", *adam, 50, [&] {
          const Tensor h = trunk.forward(train.x);
          return gaussian_nll_loss(mean.forward(h), targets, variance.forward(h));
        }) < 1e-11);
}
