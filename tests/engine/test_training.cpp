#include <doctest/doctest.h>
#include <flatland/engine/optim.h>
#include <flatland/engine/relation_ops.h>

#include <thread>
#include <vector>

#include "tests/support/random_tensor.h"

using namespace flatland;
using test::random_tensor;

namespace {

// All parameters after 50 steps with every kind of loss.
std::vector<float> train(int threads) {
  kernels::Exec exec(Device::cpu, threads);
  const ExecScope scope(exec);
  constexpr std::int64_t n = 130;  // no multiple of a tile
  const Tensor x = random_tensor({n, 37}, -1, 1, 1, Dtype::float32);
  const Tensor target = random_tensor({n, 2}, -1, 1, 2, Dtype::float32);
  Tensor labels = Tensor::zeros({n}, Dtype::int64);
  for (std::int64_t i = 0; i < n; ++i) labels.mutable_data<std::int64_t>()[i] = i % 2;
  const Tensor p = random_tensor({n, n}, 0, 1, 3, Dtype::float32);
  const Tensor p_sum = (p + transpose(p)) / (2 * sum(p).item());
  Sequential net({37, 33, 20, 2}, activation::softplus);
  net.initialize(11);
  const auto optimizer = make_optimizer(Adam{}, tensors_of(net.parameters()), 0.01);
  for (int step = 0; step < 50; ++step) {
    const Tensor y = net.forward(x);
    const Tensor q = student_t(pdist(y));
    const Tensor square = condensed_to_square(q / (2.0 * sum(q)), n);
    const Tensor d = pair_distances(slice_rows(y, 0, n / 2), slice_rows(y, n / 2, n));
    const Tensor w = modified_cauchy(d, 1.577, 0.895);
    optimizer->zero_grad();
    (kl_divergence(p_sum, square) + mse_loss(y, target) + cross_entropy(y, labels) +
     fuzzy_cross_entropy(Tensor::full({n / 2}, 0.5), w) + 0.01 * std_dev(column(y, 1)))
        .backward();
    optimizer->step();
  }
  std::vector<float> all;
  for (const NamedTensor& p : net.parameters()) {
    const std::vector<float> values = p.tensor.to_vector<float>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

}  // namespace

TEST_CASE("50 training steps give the same bits for any number of threads") {
  const std::vector<float> one = train(1);
  for (const int threads : {2, 3, 8}) CHECK(train(threads) == one);
}

TEST_CASE("two networks train at the same time in two threads of the caller") {
  const std::vector<float> alone = train(1);
  std::vector<float> first, second;
  std::thread other([&] { second = train(2); });
  first = train(1);
  other.join();
  CHECK(first == alone);
  CHECK(second == alone);
}
