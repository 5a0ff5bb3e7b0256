#include "bench/support/images.h"

#include <flatland/dr/readers.h>
#include <flatland/engine/ops.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

namespace flatland::bench {

namespace {

double uniform(std::mt19937& random) {
  return random() / 4294967296.0;
}

}  // namespace

Tensor made_up(std::int64_t n, std::int64_t d, unsigned seed) {
  constexpr int factors = 20;
  std::mt19937 random(seed);
  std::vector<double> loading(static_cast<std::size_t>(factors * d));
  for (double& v : loading) v = uniform(random) - 0.5;
  Tensor rows = Tensor::empty({n, d});
  const auto out = rows.mutable_matrix<float>();
  for (std::int64_t i = 0; i < n; ++i) {
    double factor[factors];
    for (double& f : factor) f = uniform(random) + uniform(random) - 1;
    for (std::int64_t k = 0; k < d; ++k) {
      double sum = 0.1 * uniform(random);
      for (int f = 0; f < factors; ++f) sum += factor[f] * loading[static_cast<std::size_t>(f * d + k)];
      out(i, k) = static_cast<float>(std::max(0., sum));
    }
  }
  return rows;
}

Tensor images(const std::string& path, std::int64_t n) {
  if (path.empty()) return made_up(n, 784, 1);
  const Tensor all = read_idx_images(path);
  return all.size(0) < n ? made_up(n, 784, 1) : slice_rows(all, 0, n).to(Dtype::float32).clone();
}

std::string take_data_option(int& argc, char** argv) {
  std::string data;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--data=", 7) != 0) continue;
    data = argv[i] + 7;
    std::rotate(argv + i, argv + i + 1, argv + argc);
    --argc;
    --i;
  }
  return data;
}

}  // namespace flatland::bench
