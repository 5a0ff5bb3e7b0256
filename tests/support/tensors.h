// Random tensors and comparisons for tests of the routine layer.
#pragma once

#include <doctest/doctest.h>
#include <flatland/engine/tensor.h>
#include <flatland/kernels/random.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace flatland::test {

// Uniform in [0, 1).
inline Tensor random_tensor(Shape shape, std::uint64_t seed, Dtype dtype = Dtype::float32) {
  const kernels::RandomStream random{seed, 77};
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.uniform(i);
  return Tensor::from(values, shape).to(dtype);
}

// `groups` clouds of points far from each other; item i belongs to cloud i % groups.
inline Tensor clouds(std::int64_t n, std::int64_t dim, std::int64_t groups, std::uint64_t seed) {
  const Tensor noise = random_tensor({n, dim}, seed, Dtype::float64);
  std::vector<float> values(static_cast<std::size_t>(n * dim));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < dim; ++j) {
      const double centre = j % groups == i % groups ? 1 : 0;
      values[static_cast<std::size_t>(i * dim + j)] = static_cast<float>(centre + 0.3 * noise.at(i, j));
    }
  }
  return Tensor::from(values, {n, dim});
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape()) || a.dtype() != b.dtype()) return false;
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  return x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(double)) == 0;
}

// |a - b| <= tolerance * max(scale, |b|) everywhere; a failure names the worst place.
inline void check_close(const Tensor& a, const Tensor& b, double tolerance, double scale = 1e-300) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  std::size_t worst = 0;
  double excess = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double limit = tolerance * std::max(scale, std::abs(y[i]));
    const double error = std::abs(x[i] - y[i]);
    const double ratio = std::isfinite(x[i]) ? error / std::max(limit, 1e-300) : HUGE_VAL;
    if (ratio > excess) {
      excess = ratio;
      worst = i;
    }
  }
  if (x.empty()) return;
  CAPTURE(worst);
  CAPTURE(x[worst]);
  CAPTURE(y[worst]);
  CHECK(excess <= 1);
}

}  // namespace flatland::test
