#include <flatland/engine/op_inputs.h>
#include <flatland/engine/optim.h>

#include <algorithm>
#include <limits>

namespace flatland {

Optimizer::Optimizer(std::vector<Tensor> parameters, double lr)
    : parameters_(std::move(parameters)), learning_rate_(lr) {
  FLATLAND_CHECK(lr >= 0, "optimizer: the learning rate is ", lr, "; it must be 0 or more");
  for (const Tensor& p : parameters_) {
    FLATLAND_CHECK(p.defined() && p.is_floating() && p.is_leaf() && p.requires_grad(),
                   "optimizer: a parameter is ", p, "; parameters are leaves that require a gradient");
    FLATLAND_CHECK(p.dtype() == parameters_[0].dtype() && p.device() == parameters_[0].device(),
                   "optimizer: parameters are of ", name(parameters_[0].dtype()), " and ", name(p.dtype()),
                   "; all must have one type and live on one device");
  }
}

void Optimizer::zero_grad() {
  for (Tensor& p : parameters_) p.zero_grad();
}

namespace {

void step_kernel(const kernels::Exec& exec, const kernels::SgdRule& rule, std::int64_t step,
                 auto parameters) {
  kernels::sgd_step(exec, rule, step, parameters);
}
void step_kernel(const kernels::Exec& exec, const kernels::AdamRule& rule, std::int64_t step,
                 auto parameters) {
  kernels::adam_step(exec, rule, step, parameters);
}

// An optimizer whose rule is a kernel and whose state is up to two tensors a parameter.
template <class T, class Rule>
class KernelOptimizer final : public Optimizer {
 public:
  KernelOptimizer(const Rule& rule, std::vector<Tensor> parameters, double lr, bool first, bool second)
      : Optimizer(std::move(parameters), lr), rule_(rule), updates_(parameters_.size()) {
    for (const Tensor& p : parameters_) {
      if (first) first_.push_back(Tensor::zeros(p.shape(), p.dtype(), p.device()));
      if (second) second_.push_back(Tensor::zeros(p.shape(), p.dtype(), p.device()));
    }
    views_.reserve(parameters_.size());
  }

  // One kernel for all parameters that were updated equally often, as a rule for all.
  void step() override {
    ++steps_;
    constexpr std::int64_t none = std::numeric_limits<std::int64_t>::max();
    for (std::size_t i = 0; i < parameters_.size(); ++i) updates_[i] += has_gradient(i);
    for (std::int64_t count = 0;;) {
      std::int64_t next = none;
      for (std::size_t i = 0; i < parameters_.size(); ++i) {
        if (has_gradient(i) && updates_[i] > count) next = std::min(next, updates_[i]);
      }
      if (next == none) return;
      count = next;
      update(count);
    }
  }

 private:
  bool has_gradient(std::size_t i) const { return parameters_[i].impl()->grad.defined(); }

  void update(std::int64_t count) {
    views_.clear();
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (!has_gradient(i) || updates_[i] != count) continue;
      Tensor& p = parameters_[i];
      views_.push_back({.value = p.mutable_data<T>(),
                        .grad = p.impl()->grad.template data<T>(),
                        .m = first_.empty() ? nullptr : first_[i].template mutable_data<T>(),
                        .v = second_.empty() ? nullptr : second_[i].template mutable_data<T>(),
                        .n = p.numel()});
    }
    rule_.lr = learning_rate_;
    step_kernel(detail::exec_of(parameters_[0]), rule_, count,
                std::span<const kernels::ParameterView<T>>(views_));
  }

  Rule rule_;
  std::vector<Tensor> first_, second_;
  std::vector<std::int64_t> updates_;  // how often each parameter was updated
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
  const kernels::SgdRule rule{.lr = lr,
                              .momentum = recipe.momentum,
                              .dampening = recipe.dampening,
                              .weight_decay = recipe.weight_decay,
                              .nesterov = recipe.nesterov};
  return make(rule, std::move(parameters), lr, recipe.momentum != 0, false);
}

std::unique_ptr<Optimizer> make_optimizer(const Adam& recipe, std::vector<Tensor> parameters, double lr) {
  FLATLAND_CHECK(recipe.beta1 >= 0 && recipe.beta1 < 1 && recipe.beta2 >= 0 && recipe.beta2 < 1,
                 "Adam: betas ", recipe.beta1, " and ", recipe.beta2, "; both must be in [0, 1)");
  const kernels::AdamRule rule{.lr = lr,
                               .beta1 = recipe.beta1,
                               .beta2 = recipe.beta2,
                               .eps = recipe.eps,
                               .weight_decay = recipe.weight_decay};
  return make(rule, std::move(parameters), lr, true, true);
}

}  // namespace flatland
