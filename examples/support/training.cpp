#include "examples/support/training.h"

#include <flatland/engine/ops.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <variant>

namespace flatland::examples {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The sum of the batches' losses, which is read once an epoch: a GPU need not wait for the host.
double run_epoch(Optimizer& optimizer, DataLoader& loader, const Training& training) {
  Tensor total;
  for (const Dataset& batch : loader) {
    optimizer.zero_grad();
    const Tensor loss = training.loss(batch);
    loss.backward();
    optimizer.step();
    const NoGrad not_recorded;
    total = total.defined() ? total + loss : loss.detach();
  }
  return total.item();
}

}  // namespace

Curves train(Module& module, DataLoader& loader, const Training& training, const Listener& listener) {
  const std::vector<Tensor> parameters = tensors_of(module.parameters());
  const auto optimizer = std::visit(
      [&](const auto& recipe) { return make_optimizer(recipe, parameters, training.learning_rate); },
      training.optimizer);
  constexpr int k_report_interval = 5;
  const auto batches = static_cast<double>(loader.batches());
  Curves curves;
  std::vector<double> seconds;
  const auto start = Clock::now();
  listener({.kind = Event::Kind::phase_started, .text = training.name});
  kernels::with_team(current_exec(parameters.front().device()), [&] {
    for (int epoch = 0; epoch < training.epochs; ++epoch) {
      const auto epoch_start = Clock::now();
      module.train();
      const double loss = run_epoch(*optimizer, loader, training);
      seconds.push_back(seconds_since(epoch_start));
      FLATLAND_CHECK(std::isfinite(loss), training.name, ": the loss of epoch ", epoch, " is ", loss,
                     "; a smaller learning rate may help");
      module.eval();
      curves.loss.push_back(loss / batches);
      const NoGrad not_recorded;
      if (training.validate) curves.validation.push_back(training.validate());
      listener({.kind = Event::Kind::epoch_finished,
                .text = training.name,
                .seconds = seconds_since(start),
                .epoch = epoch + 1,
                .epochs = training.epochs,
                .report = epoch % k_report_interval == 0 || epoch + 1 == training.epochs,
                .loss = loss,
                .components = {{"loss", loss}}});
    }
  });
  listener({.kind = Event::Kind::phase_finished, .text = training.name, .seconds = seconds_since(start)});
  curves.seconds_per_epoch = median(seconds);
  return curves;
}

}  // namespace flatland::examples
