#include <flatland/engine/schedule.h>
#include <flatland/kernels/check.h>

#include <cmath>
#include <numbers>
#include <utility>

namespace flatland {

double StepLR::operator()(double initial, std::int64_t epoch) const {
  FLATLAND_CHECK(step_size >= 1, "StepLR: step_size is ", step_size, " epochs; it must be 1 or more");
  return initial * std::pow(gamma, static_cast<double>(epoch / step_size));
}

double ExponentialLR::operator()(double initial, std::int64_t epoch) const {
  return initial * std::pow(gamma, static_cast<double>(epoch));
}

double CosineAnnealingLR::operator()(double initial, std::int64_t epoch) const {
  FLATLAND_CHECK(t_max >= 1, "CosineAnnealingLR: t_max is ", t_max, " epochs; it must be 1 or more");
  const double turn = std::numbers::pi * static_cast<double>(epoch) / static_cast<double>(t_max);
  return eta_min + (initial - eta_min) * (1 + std::cos(turn)) / 2;
}

LearningRateScheduler::LearningRateScheduler(Optimizer& optimizer, Schedule schedule)
    : optimizer_(optimizer), schedule_(std::move(schedule)), initial_(optimizer.learning_rate()) {
  FLATLAND_CHECK(schedule_ != nullptr, "LearningRateScheduler: the schedule is empty; give one, as StepLR{}");
  for (std::size_t g = 0; g < optimizer.groups(); ++g) of_groups_.push_back(optimizer.learning_rate(g));
  set_rates();
}

void LearningRateScheduler::step() {
  ++epoch_;
  set_rates();
}

void LearningRateScheduler::set_rates() {
  optimizer_.set_learning_rate(schedule_(initial_, epoch_));
  for (std::size_t g = 0; g < of_groups_.size(); ++g)
    optimizer_.set_learning_rate(g, schedule_(of_groups_[g], epoch_));
}

}  // namespace flatland
