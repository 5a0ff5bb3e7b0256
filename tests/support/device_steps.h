// Training steps on every device against those on the CPU.
#pragma once

#include <doctest/doctest.h>
#include <flatland/engine/optim.h>

#include "tests/support/devices.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace flatland::test {

// The parameters of make(device) after three steps on loss(model, device) are the CPU's, and have moved.
template <class Make, class Loss>
void check_steps(const Make& make, const Loss& loss) {
  const auto values_of = [](const Module& model) {
    std::vector<double> all;
    for (const NamedTensor& p : model.parameters()) {
      const std::vector<double> values = p.tensor.template to_vector<double>();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  };
  const auto trained = [&](Device device) {
    auto model = make(device);
    model.initialize(3);
    model.to(device);
    const auto optimizer = make_optimizer(SGD{.momentum = 0.9}, tensors_of(model.parameters()), 0.1);
    for (int step = 0; step < 3; ++step) {
      optimizer->zero_grad();
      loss(model, device).backward();
      optimizer->step();
    }
    return values_of(model);
  };
  auto untrained = make(Device::cpu);
  untrained.initialize(3);
  const std::vector<double> before = values_of(untrained), want = trained(Device::cpu);
  CHECK(want != before);
  for (const Device device : devices()) {
    INFO(std::string(name(device)));
    const std::vector<double> got = trained(device);
    REQUIRE(got.size() == want.size());
    double worst = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      const double off = std::abs(got[i] - want[i]) / std::max(1.0, std::abs(want[i]));
      worst = std::isfinite(off) ? std::max(worst, off) : HUGE_VAL;
    }
    CHECK(worst <= 1e-5);  // float32, sums in another order
  }
}

}  // namespace flatland::test
