// Gradients against differences.
#pragma once

#include <doctest/doctest.h>
#include <flatland/engine/autograd.h>

#include <functional>
#include <string>
#include <vector>

namespace flatland::test {

// In double; central differences of fourth order are good to about 1e-10 here.
inline void check_gradients(const std::string& name,
                            const std::function<Tensor(const std::vector<Tensor>&)>& f,
                            const std::vector<Tensor>& inputs) {
  const GradcheckResult result = gradcheck(f, inputs, {.tolerance = 1e-8});
  INFO(name << ": " << result.worst << " at " << result.message);
  CHECK(result.ok);
}

}  // namespace flatland::test
