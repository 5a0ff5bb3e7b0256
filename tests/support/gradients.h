// Gradients against differences.
#pragma once

#include <doctest/doctest.h>
#include <flatland/engine/autograd.h>

#include "tests/support/ulps.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace flatland::test {

using Inputs = std::vector<Tensor>;
using Function = std::function<Tensor(const Inputs&)>;

// In double; central differences of fourth order are good to about 1e-10 here.
inline void check_gradients(const std::string& name, const Function& f, const Inputs& inputs) {
  const GradcheckResult result = gradcheck(f, inputs, {.tolerance = 1e-8});
  INFO(name << ": " << result.worst << " at " << result.message);
  CHECK(result.ok);
}

// The largest |a - b| / max(1, |b|).
inline double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    worst = worse(worst, std::abs(x[i] - y[i]) / std::max(1.0, std::abs(y[i])));
  return worst;
}

}  // namespace flatland::test
