// Tensors of fixed random values.
#pragma once

#include <flatland/engine/tensor.h>
#include <flatland/kernels/random.h>

#include <cstdint>
#include <vector>

namespace flatland::test {

// Uniform in [low, high); each stream has its own values.
inline Tensor random_tensor(Shape shape, double low = -1, double high = 1, std::uint64_t stream = 0,
                            Dtype dtype = Dtype::float64) {
  const kernels::RandomStream random{.seed = 2023, .stream = stream};
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = low + (high - low) * random.uniform(i);
  return Tensor::from(values, shape).to(dtype);
}

}  // namespace flatland::test
