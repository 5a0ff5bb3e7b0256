// Optimizers: one kernel updates all parameters. PyTorch's rules and defaults.
#pragma once

#include <flatland/engine/module.h>
#include <flatland/kernels/optimizer.h>

#include <memory>
#include <optional>
#include <vector>

namespace flatland {

// Parameters that are updated with settings of their own.
struct ParameterGroup {
  std::vector<Tensor> parameters = {};
  // In place of the optimizer's. A change of the optimizer's rate, as by a schedule, changes this one by the
  // same factor.
  std::optional<double> learning_rate = {};
  std::optional<double> weight_decay = {};  // in place of the recipe's
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  void zero_grad();
  // Parameters without a gradient, and frozen ones, are left as they are. What changes from step to step, the
  // learning rate and the numbers of steps, lies on the parameters' device: a step recorded in a CUDA graph
  // can be replayed.
  virtual void step() = 0;
  double learning_rate() const { return learning_rate_; }
  std::size_t groups() const { return groups_.size(); }
  // Of one parameter group; NaN where it came from a tensor.
  double learning_rate(std::size_t group) const { return groups_.at(group).rate * groups_[group].factor; }
  void set_learning_rate(double lr);
  // Of one group; one that started at 0 stays there.
  void set_learning_rate(std::size_t group, double lr);
  // The rate at position i of `rates` (float64, on the parameters' device), as it is when the step runs.
  void set_learning_rate(const Tensor& rates, std::int64_t i);
  std::int64_t steps() const { return steps_; }

 protected:
  // Parameters [begin, end) of all, their learning rate, and what they take it times.
  struct Group {
    std::size_t begin = 0, end = 0;
    double factor = 1;
    double rate = 0;             // NaN: only the device knows
    Tensor rate_on_device = {};  // float64, where the parameters are
  };
  static void set_rate(Group& group, double rate);
  Optimizer(const std::vector<ParameterGroup>& groups, double lr);
  std::vector<Tensor> parameters_;  // of all groups
  std::vector<Group> groups_;
  double learning_rate_;
  std::int64_t steps_ = 0;
};

struct SGD {
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;

  bool operator==(const SGD&) const = default;
};
struct Adam {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;  // added to the gradient
  bool amsgrad = false;     // divide by the root of the largest second moment so far

  bool operator==(const Adam&) const = default;
};
// Adam whose weight decay shrinks the parameters themselves (Loshchilov and Hutter 2019).
struct AdamW {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  bool amsgrad = false;

  bool operator==(const AdamW&) const = default;
};
struct RMSprop {
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum = 0;
  bool centered = false;  // divide by the deviation of the gradients, not their root mean square

  bool operator==(const RMSprop&) const = default;
};

// The tensors of Module::parameters().
std::vector<Tensor> tensors_of(const std::vector<NamedTensor>& parameters);

// Recipes are values; this makes the thing that runs. Recipe: SGD, Adam, AdamW, RMSprop.
std::unique_ptr<Optimizer> make_optimizer(const SGD& recipe, const std::vector<ParameterGroup>& groups,
                                          double lr);
std::unique_ptr<Optimizer> make_optimizer(const Adam& recipe, const std::vector<ParameterGroup>& groups,
                                          double lr);
std::unique_ptr<Optimizer> make_optimizer(const AdamW& recipe, const std::vector<ParameterGroup>& groups,
                                          double lr);
std::unique_ptr<Optimizer> make_optimizer(const RMSprop& recipe, const std::vector<ParameterGroup>& groups,
                                          double lr);
template <class Recipe>
std::unique_ptr<Optimizer> make_optimizer(const Recipe& recipe, std::vector<Tensor> parameters, double lr) {
  return make_optimizer(recipe, std::vector{ParameterGroup{.parameters = std::move(parameters)}}, lr);
}

// Bounds gradients between backward and step; parameters without one are passed over. Nothing is decided on
// the host, so that it may be part of a recorded step.
// All gradients together are shortened to a length of max_norm where theirs is above it. Returns the length
// before, a single value on their device.
Tensor clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm);
// Every value to [-limit, limit].
void clip_grad_value(const std::vector<Tensor>& parameters, double limit);

}  // namespace flatland
