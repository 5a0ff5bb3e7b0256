#include <flatland/engine/op_inputs.h>
#include <flatland/engine/optim.h>
#include <flatland/kernels/memory.h>

#include <cmath>

namespace flatland {

namespace {
void check_learning_rate(double lr) {
  FLATLAND_CHECK(lr >= 0 && std::isfinite(lr), "optimizer: the learning rate is ", lr,
                 "; it must be finite and 0 or more");
}
}  // namespace

Optimizer::Optimizer(std::vector<Tensor> parameters, double lr)
    : parameters_(std::move(parameters)), learning_rate_(lr) {
  check_learning_rate(lr);
  for (const Tensor& p : parameters_) {
    FLATLAND_CHECK(p.defined() && p.is_floating() && p.is_leaf() && p.requires_grad(),
                   "optimizer: a parameter is ", p, "; parameters are leaves that require a gradient");
    FLATLAND_CHECK(p.dtype() == parameters_[0].dtype() && p.device() == parameters_[0].device(),
                   "optimizer: parameters are of ", name(parameters_[0].dtype()), " and ", name(p.dtype()),
                   "; all must have one type and live on one device");
  }
  if (!parameters_.empty())
    learning_rate_on_device_ = Tensor::scalar(lr, Dtype::float64, parameters_[0].device());
}

void Optimizer::set_learning_rate(double lr) {
  if (lr == learning_rate_) return;
  check_learning_rate(lr);
  learning_rate_ = lr;
  learning_rate_on_device_.fill(lr);
}

void Optimizer::set_learning_rate(const Tensor& rates, std::int64_t i) {
  FLATLAND_CHECK(rates.dtype() == Dtype::float64 && rates.device() == learning_rate_on_device_.device() &&
                     i >= 0 && i < rates.numel(),
                 "optimizer: the learning rates are ", rates, ", and number ", i,
                 " is asked for; they must be float64 on ", name(learning_rate_on_device_.device()));
  const Device device = rates.device();
  kernels::copy_within(current_exec(device), learning_rate_on_device_.mutable_data<double>(),
                       rates.data<double>() + i, sizeof(double));
}

void Optimizer::zero_grad() {
  for (Tensor& p : parameters_) p.zero_grad();
}

namespace {

void step_kernel(const kernels::SgdRule& rule, const kernels::Exec& exec, const double* lr, auto parameters) {
  kernels::sgd_step(exec, rule, lr, parameters);
}
void step_kernel(const kernels::AdamRule& rule, const kernels::Exec& exec, const double* lr,
                 auto parameters) {
  kernels::adam_step(exec, rule, lr, parameters);
}

// An optimizer whose rule is a kernel and whose state is up to two tensors a parameter and its clock.
template <class T, class Rule>
class KernelOptimizer final : public Optimizer {
 public:
  KernelOptimizer(const Rule& rule, std::vector<Tensor> parameters, double lr, bool first, bool second)
      : Optimizer(std::move(parameters), lr), rule_(rule) {
    for (const Tensor& p : parameters_) {
      if (first) first_.push_back(Tensor::zeros(p.shape(), p.dtype(), p.device()));
      if (second) second_.push_back(Tensor::zeros(p.shape(), p.dtype(), p.device()));
    }
    static_assert(sizeof(kernels::ParameterClock) == 2 * sizeof(std::int64_t));
    clocks_ = Tensor::zeros({std::ssize(parameters_), 2}, Dtype::int64, parameters_[0].device());
    views_.reserve(parameters_.size());
    detail::unit_gradient(parameters_[0].dtype(), parameters_[0].device());
  }

  void step() override {
    ++steps_;
    views_.clear();
    auto* const clocks = reinterpret_cast<kernels::ParameterClock*>(clocks_.mutable_data<std::int64_t>());
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      Tensor& p = parameters_[i];
      const Tensor& grad = p.impl()->grad;
      if (!grad.defined()) continue;
      FLATLAND_CHECK(p.device() == clocks_.device() && p.dtype() == dtype_of<T>, "optimizer: a parameter ",
                     p.shape(), " is of ", name(p.dtype()), " on ", name(p.device()), " but was of ",
                     name(dtype_of<T>), " on ", name(clocks_.device()),
                     "; make a new optimizer after moving a model");
      views_.push_back({.value = p.mutable_data<T>(),
                        .grad = grad.template data<T>(),
                        .m = first_.empty() ? nullptr : first_[i].template mutable_data<T>(),
                        .v = second_.empty() ? nullptr : second_[i].template mutable_data<T>(),
                        .n = p.numel(),
                        .clock = clocks + i});
    }
    step_kernel(rule_, detail::exec_of(clocks_), learning_rate_on_device_.data<double>(),
                std::span<const kernels::ParameterView<T>>(views_));
  }

 private:
  Rule rule_;
  std::vector<Tensor> first_, second_;
  Tensor clocks_;  // a ParameterClock a parameter
  std::vector<kernels::ParameterView<T>> views_;
};

template <class Rule>
std::unique_ptr<Optimizer> make(const Rule& rule, std::vector<Tensor> parameters, double lr, bool first,
                                bool second) {
  FLATLAND_CHECK(!parameters.empty(), "optimizer: there are no parameters; give those of a module");
  detail::check_defined("optimizer", parameters[0]);
  return detail::dispatch_float(
      "optimizer", parameters[0].dtype(), [&]<class T>(std::type_identity<T>) -> std::unique_ptr<Optimizer> {
        return std::make_unique<KernelOptimizer<T, Rule>>(rule, std::move(parameters), lr, first, second);
      });
}

}  // namespace

std::vector<Tensor> tensors_of(const std::vector<NamedTensor>& parameters) {
  std::vector<Tensor> tensors;
  for (const NamedTensor& p : parameters) tensors.push_back(p.tensor);
  return tensors;
}

std::unique_ptr<Optimizer> make_optimizer(const SGD& recipe, std::vector<Tensor> parameters, double lr) {
  FLATLAND_CHECK(!recipe.nesterov || (recipe.momentum > 0 && recipe.dampening == 0),
                 "SGD: nesterov with momentum ", recipe.momentum, " and dampening ", recipe.dampening,
                 "; it needs a momentum above 0 and no dampening");
  const kernels::SgdRule rule{.momentum = recipe.momentum,
                              .dampening = recipe.dampening,
                              .weight_decay = recipe.weight_decay,
                              .nesterov = recipe.nesterov};
  return make(rule, std::move(parameters), lr, recipe.momentum != 0, false);
}

std::unique_ptr<Optimizer> make_optimizer(const Adam& recipe, std::vector<Tensor> parameters, double lr) {
  FLATLAND_CHECK(recipe.beta1 >= 0 && recipe.beta1 < 1 && recipe.beta2 >= 0 && recipe.beta2 < 1,
                 "Adam: betas ", recipe.beta1, " and ", recipe.beta2, "; both must be in [0, 1)");
  const kernels::AdamRule rule{
      .beta1 = recipe.beta1, .beta2 = recipe.beta2, .eps = recipe.eps, .weight_decay = recipe.weight_decay};
  return make(rule, std::move(parameters), lr, true, true);
}

}  // namespace flatland
