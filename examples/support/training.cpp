#include "examples/support/training.h"

#include <flatland/engine/ops.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <variant>

namespace flatland::examples {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The mean of the batches' losses, which is read once an epoch: a GPU need not wait for the host.
double run_epoch(Optimizer& optimizer, DataLoader& loader, const Training& training) {
  Tensor total;
  int batches = 0;
  for (const Dataset& batch : loader) {
    optimizer.zero_grad();
    const Tensor loss = training.loss(batch);
    loss.backward();
    optimizer.step();
    const NoGrad not_recorded;
    total = total.defined() ? total + loss : loss.detach();
    ++batches;
  }
  return total.item() / batches;
}

}  // namespace

Curves train(Module& module, DataLoader& loader, const Training& training, const Listener& listener) {
  const std::vector<ParameterGroup> groups =
      training.groups.empty() ? std::vector{ParameterGroup{.parameters = tensors_of(module.parameters())}}
                              : training.groups;
  const auto optimizer =
      std::visit([&](const auto& recipe) { return make_optimizer(recipe, groups, training.learning_rate); },
                 training.optimizer);
  Curves curves;
  std::vector<double> seconds;
  const auto start = Clock::now();
  listener({.kind = Event::Kind::phase_started, .text = training.name});
  kernels::with_team(current_exec(groups.front().parameters.front().device()), [&] {
    for (int epoch = 0; epoch < training.epochs; ++epoch) {
      const auto epoch_start = Clock::now();
      module.train();
      const double loss = run_epoch(*optimizer, loader, training);
      seconds.push_back(seconds_since(epoch_start));
      FLATLAND_CHECK(std::isfinite(loss), training.name, ": the loss of epoch ", epoch, " is ", loss,
                     "; a smaller learning rate may help");
      module.eval();
      curves.loss.push_back(loss);
      const NoGrad not_recorded;
      if (training.validate) curves.validation.push_back(training.validate());
      listener({.kind = Event::Kind::epoch_finished,
                .text = training.name,
                .seconds = seconds_since(start),
                .epoch = epoch + 1,
                .epochs = training.epochs,
                .report = epoch % training.report_interval == 0 || epoch + 1 == training.epochs,
                .loss = loss,
                .components = {{"loss", loss}}});
    }
  });
  listener({.kind = Event::Kind::phase_finished, .text = training.name, .seconds = seconds_since(start)});
  std::ranges::sort(seconds);
  curves.seconds_per_epoch = quantile(seconds, 0.5);
  return curves;
}

double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], at - std::floor(at));
}

}  // namespace flatland::examples
