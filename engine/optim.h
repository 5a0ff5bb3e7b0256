// Optimizers: one kernel updates all parameters. PyTorch's rules and defaults.
#pragma once

#include <flatland/engine/module.h>
#include <flatland/kernels/optimizer.h>

#include <memory>
#include <vector>

namespace flatland {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  void zero_grad();
  // Parameters without a gradient are left as they are. What changes from step to step, the learning rate and
  // the numbers of steps, lies on the parameters' device: a step recorded in a CUDA graph can be replayed.
  virtual void step() = 0;
  double learning_rate() const { return learning_rate_; }
  void set_learning_rate(double lr);
  // The rate at position i of `rates` (float64, on the parameters' device), as it is when the step runs.
  void set_learning_rate(const Tensor& rates, std::int64_t i);
  std::int64_t steps() const { return steps_; }

 protected:
  Optimizer(std::vector<Tensor> parameters, double lr);
  std::vector<Tensor> parameters_;
  double learning_rate_;
  Tensor learning_rate_on_device_;  // float64, where the parameters are
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
  double weight_decay = 0;

  bool operator==(const Adam&) const = default;
};

// The tensors of Module::parameters().
std::vector<Tensor> tensors_of(const std::vector<NamedTensor>& parameters);

// Recipes are values; this makes the thing that runs.
std::unique_ptr<Optimizer> make_optimizer(const SGD& recipe, std::vector<Tensor> parameters, double lr);
std::unique_ptr<Optimizer> make_optimizer(const Adam& recipe, std::vector<Tensor> parameters, double lr);

}  // namespace flatland
