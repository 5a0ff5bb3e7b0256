#include <doctest/doctest.h>
#include <flatland/engine/layers.h>
#include <flatland/engine/module.h>
#include <flatland/engine/optim.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/parameter_names.h"
#include "tests/support/random_tensor.h"

using namespace flatland;
using test::contains;
using test::error_of;

TEST_CASE("a sequence of layers names its parameters") {
  Sequential net({5, 8, 4, 2}, activation::softplus);
  CHECK(test::parameter_names(net) ==
        std::vector<std::string>{"0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"});
  CHECK(net.parameter_count() == 5 * 8 + 8 + 8 * 4 + 4 + 4 * 2 + 2);
  CHECK(net[0].weight.shape() == Shape{8, 5});
  CHECK(net.forward(Tensor::zeros({3, 5})).shape() == Shape{3, 2});
  for (const NamedTensor& p : net.parameters()) CHECK(p.tensor.requires_grad());
}

TEST_CASE("a layer that stands twice has its parameters once") {
  const auto layer = std::make_shared<Linear>(3, 3);
  Sequential twice(std::vector<std::shared_ptr<Layer>>{layer, layer});
  CHECK(twice.parameters().size() == 2);
  CHECK(make_optimizer(SGD{}, tensors_of(twice.parameters()), 0.1) != nullptr);
}

TEST_CASE("parameter i draws from stream i, also behind a layer that stands twice") {
  const auto twice = std::make_shared<Linear>(3, 3), once = std::make_shared<Linear>(3, 3);
  const Sequential net({twice, twice, once});
  const Sequential plain({3, 3, 3}, activation::relu);
  REQUIRE(net.parameters().size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(net.parameters()[i].tensor.to_vector<float>() == plain.parameters()[i].tensor.to_vector<float>());
  }
}

TEST_CASE("a sequence keeps what its layers were given or have learned, and draws the new ones apart") {
  const Tensor values = Tensor::of({{1, 2, 3}, {4, 5, 6}});
  const auto table = std::make_shared<Embedding>(Embedding::from(values));
  const auto learned = std::make_shared<Linear>(3, 3), drawn = std::make_shared<Linear>(3, 3);
  learned->weight.fill(0.5);
  drawn->initialize(9);
  const std::vector<float> of_nine = drawn->weight.to_vector<float>();
  const auto first = std::make_shared<Linear>(3, 3), second = std::make_shared<Linear>(3, 3);
  const auto used = std::make_shared<Dropout>(0.5), fresh = std::make_shared<Dropout>(0.5);
  used->forward(values);
  const Tensor state = used->state()[0].tensor;
  Sequential net({table, learned, drawn, used, first, second, fresh});
  CHECK(table->weight.to_vector<float>() == values.to_vector<float>());
  CHECK(learned->weight.to_vector<float>() == std::vector<float>(9, 0.5f));
  CHECK(learned->bias.to_vector<float>() == Linear(3, 3).bias.to_vector<float>());
  CHECK(drawn->weight.to_vector<float>() == of_nine);
  CHECK(first->weight.to_vector<float>() != second->weight.to_vector<float>());
  CHECK(used->state()[0].tensor.to_vector<std::int64_t>() == state.to_vector<std::int64_t>());
  CHECK(fresh->state()[0].tensor.to_vector<std::int64_t>() !=
        Dropout(0.5).state()[0].tensor.to_vector<std::int64_t>());

  // Draws of a seed spare only what keeps its values.
  net.initialize(3);
  CHECK(table->weight.to_vector<float>() == values.to_vector<float>());
  CHECK(learned->weight.to_vector<float>() != std::vector<float>(9, 0.5f));
  table->keep(false);
  net.initialize(3);
  CHECK(table->weight.to_vector<float>() != values.to_vector<float>());
}

TEST_CASE("the last layer has its own activation") {
  Sequential net({2, 3, 1}, activation::relu, activation::sigmoid);
  const float y = static_cast<float>(net.forward(Tensor::of({{1, -1}})).item());
  CHECK(y > 0);
  CHECK(y < 1);
}

TEST_CASE("parameters start uniform in +-1/sqrt(in), by seed and position alone") {
  Sequential net({100, 60, 60}, activation::relu);
  const std::vector<NamedTensor> start = net.state();
  for (const NamedTensor& p : start) {
    const double bound = 1 / std::sqrt(p.name[0] == '0' ? 100.0 : 60.0);
    double low = 1, high = -1, square_sum = 0;
    for (const float v : p.tensor.values<float>()) {
      low = std::min<double>(low, v);
      high = std::max<double>(high, v);
      square_sum += v * v;
    }
    CHECK(low >= -bound);
    CHECK(high <= bound);
    const double n = static_cast<double>(p.tensor.numel());
    CHECK(std::sqrt(square_sum / n) ==
          doctest::Approx(bound / std::sqrt(3.0)).epsilon(n > 1000 ? 0.05 : 0.4));
  }
  CHECK(start[0].tensor.at(0) != start[2].tensor.at(0));
  net.initialize(7);
  const std::vector<NamedTensor> seven = net.state();
  CHECK(seven[0].tensor.at(0) != start[0].tensor.at(0));
  for (const int threads : {1, 2, 3, 8}) {
    kernels::Exec exec(Device::cpu, threads);
    const ExecScope scope(exec);
    Sequential other({100, 60, 60}, activation::tanh);
    other.initialize(7);
    for (std::size_t i = 0; i < seven.size(); ++i) {
      CHECK(other.state()[i].tensor.to_vector<float>() == seven[i].tensor.to_vector<float>());
    }
  }
  net.initialize(0);
  CHECK(net.state()[3].tensor.to_vector<float>() == start[3].tensor.to_vector<float>());
}

TEST_CASE("state is copied out and in, and what does not fit is listed") {
  Sequential net({3, 4, 2}, activation::relu), other({3, 4, 2}, activation::relu);
  other.initialize(5);
  const Tensor weight = net[0].weight;
  const std::vector<NamedTensor> state = other.state();
  net.load_state(state);
  CHECK(weight.to_vector<float>() == other[0].weight.to_vector<float>());
  other[0].weight.fill(0);
  CHECK(state[0].tensor.at(0) != 0);

  std::vector<NamedTensor> bad = state;
  bad[0].name = "0.wait";
  bad[1].tensor = Tensor::zeros({7});
  bad[2].tensor = bad[2].tensor.to(Dtype::float64);
  const std::string text = error_of([&] { net.load_state(bad); });
  INFO(text);
  CHECK(contains(text, "missing: 0.weight (4, 3)"));
  CHECK(contains(text, "unexpected: 0.wait"));
  CHECK(contains(text, "0.bias is (7) of float32 but must be (4) of float32"));
  CHECK(contains(text, "1.weight is (2, 4) of float64 but must be (2, 4) of float32"));
  CHECK(weight.to_vector<float>() == state[0].tensor.to_vector<float>());
}

TEST_CASE("changing type keeps the parameters themselves") {
  Sequential net({3, 4, 2}, activation::softplus);
  const std::vector<NamedTensor> held = net.parameters();
  const std::vector<float> before = held[0].tensor.to_vector<float>();
  net.to(Dtype::float64);
  CHECK(held[0].tensor.dtype() == Dtype::float64);
  CHECK(net[0].weight.impl() == held[0].tensor.impl());
  CHECK(held[0].tensor.requires_grad());
  sum(net.forward(Tensor::ones({5, 3}, Dtype::float64))).backward();
  CHECK(held[0].tensor.grad().dtype() == Dtype::float64);
  net.to(Dtype::float32);
  CHECK(!held[0].tensor.grad().defined());
  CHECK(held[0].tensor.to_vector<float>() == before);
  CHECK(contains(error_of([&] { net.to(Dtype::int32); }), "must be float32 or float64"));
  if (best_device() == Device::cpu)
    CHECK(contains(error_of([&] { net.to(Device::cuda); }), "device cuda cannot be used"));
}

TEST_CASE("modules move, and training mode reaches the children") {
  Sequential net({3, 4, 2}, activation::softplus);
  const Tensor x = Tensor::ones({2, 3});
  const std::vector<float> y = net.forward(x).to_vector<float>();
  Sequential moved = std::move(net);
  CHECK(moved.forward(x).to_vector<float>() == y);
  CHECK(moved.parameters().size() == 4);
  CHECK(moved.training());
  moved.eval();
  CHECK(!moved[0].training());
  moved.train();
  CHECK(moved[1].training());
  sum(moved.forward(x)).backward();
  CHECK(moved[0].weight.grad().defined());
  moved.zero_grad();
  CHECK(!moved[0].weight.grad().defined());
}

TEST_CASE("a single row gets the bits it has inside a batch") {
  Sequential net({31, 20, 7, 2}, activation::softplus);
  const Tensor x = test::random_tensor({67, 31}, -2, 2, 1, Dtype::float32);
  const std::vector<float> all = net.forward(x).to_vector<float>();
  for (const std::int64_t i : {0, 1, 15, 16, 33, 66}) {
    const std::vector<float> one = net.forward(slice_rows(x, i, i + 1)).to_vector<float>();
    for (std::size_t j = 0; j < 2; ++j) CHECK(one[j] == all[static_cast<std::size_t>(i) * 2 + j]);
  }
}

TEST_CASE("a layer without bias, and bad layers") {
  Linear layer(3, 2, {.bias = false});
  CHECK(layer.parameters().size() == 1);
  CHECK(layer.forward(Tensor::zeros({4, 3})).shape() == Shape{4, 2});
  CHECK(contains(error_of([] { Linear(0, 2); }), "both must be above 0"));
  CHECK(contains(error_of([] { Sequential({3}, {}); }), "it needs at least"));
  CHECK(contains(error_of([&] { layer.forward(Tensor::zeros({4, 5})); }), "x must have 3 columns"));
}
