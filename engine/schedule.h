// Learning rates that change from epoch to epoch, with PyTorch's names and rules.
#pragma once

#include <flatland/engine/optim.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace flatland {

// The rate at epoch e (0, 1, ...), given that of epoch 0. Any function of these two is a schedule.
using Schedule = std::function<double(double initial, std::int64_t epoch)>;

// initial gamma^(e / step_size), rounded down
struct StepLR {
  std::int64_t step_size = 1;
  double gamma = 0.1;
  double operator()(double initial, std::int64_t epoch) const;
};
// initial gamma^e
struct ExponentialLR {
  double gamma = 0.9;
  double operator()(double initial, std::int64_t epoch) const;
};
// From initial down to eta_min along half a cosine of t_max epochs, and up again after them.
struct CosineAnnealingLR {
  std::int64_t t_max = 1;
  double eta_min = 0;
  double operator()(double initial, std::int64_t epoch) const;
};

// Sets an optimizer's learning rate, that of each parameter group from its own. Call step() after each epoch:
//   LearningRateScheduler scheduler(*optimizer, StepLR{.step_size = 30});
class LearningRateScheduler {
 public:
  // Starts from the rates that the optimizer has. The optimizer must live longer.
  LearningRateScheduler(Optimizer& optimizer, Schedule schedule);
  void step();
  std::int64_t epoch() const { return epoch_; }

 private:
  void set_rates();

  Optimizer& optimizer_;
  Schedule schedule_;
  double initial_;
  std::vector<double> of_groups_;
  std::int64_t epoch_ = 0;
};

}  // namespace flatland
