#include <flatland/engine/op_inputs.h>
#include <flatland/engine/optim.h>
#include <flatland/kernels/memory.h>

#include <cmath>
#include <limits>
#include <set>

namespace flatland {

namespace {
void check_learning_rate(double lr) {
  FLATLAND_CHECK(lr >= 0 && std::isfinite(lr), "optimizer: the learning rate is ", lr,
                 "; it must be finite and 0 or more");
}
}  // namespace

Optimizer::Optimizer(const std::vector<ParameterGroup>& groups, double lr) : learning_rate_(lr) {
  check_learning_rate(lr);
  for (const ParameterGroup& group : groups) {
    const double own = group.learning_rate.value_or(lr);
    check_learning_rate(own);
    FLATLAND_CHECK(own == lr || lr > 0, "optimizer: a group has the learning rate ", own,
                   " beside the optimizer's, 0; give the optimizer one above 0");
    groups_.push_back({.begin = parameters_.size(),
                       .end = parameters_.size() + group.parameters.size(),
                       .factor = own == lr ? 1 : own / lr,
                       .rate = lr});
    parameters_.insert(parameters_.end(), group.parameters.begin(), group.parameters.end());
  }
  FLATLAND_CHECK(!parameters_.empty(), "optimizer: there are no parameters; give those of a module");
  bool trains = false;
  std::set<const void*> seen;
  for (const Tensor& p : parameters_) {
    detail::check_defined("optimizer", p);
    FLATLAND_CHECK(seen.insert(p.impl().get()).second, "optimizer: the parameter ", p,
                   " is there twice; give each once, in one group");
    FLATLAND_CHECK(p.is_floating() && p.is_leaf(), "optimizer: a parameter is ", p,
                   "; parameters are leaves of a floating type");
    FLATLAND_CHECK(p.dtype() == parameters_[0].dtype() && p.device() == parameters_[0].device(),
                   "optimizer: parameters are of ", name(parameters_[0].dtype()), " and ", name(p.dtype()),
                   "; all must have one type and live on one device");
    trains = trains || p.requires_grad();
  }
  FLATLAND_CHECK(trains, "optimizer: no parameter requires a gradient; unfreeze some, see requires_grad");
  for (Group& group : groups_)
    group.rate_on_device = Tensor::scalar(lr, Dtype::float64, parameters_[0].device());
}

void Optimizer::set_rate(Group& group, double rate) {
  if (rate == group.rate) return;
  group.rate = rate;
  group.rate_on_device.fill(rate);
}

void Optimizer::set_learning_rate(double lr) {
  check_learning_rate(lr);
  learning_rate_ = lr;
  for (Group& group : groups_) set_rate(group, lr);
}

void Optimizer::set_learning_rate(std::size_t group, double lr) {
  check_learning_rate(lr);
  Group& g = groups_.at(group);
  if (g.factor > 0) set_rate(g, lr / g.factor);
}

void Optimizer::set_learning_rate(const Tensor& rates, std::int64_t i) {
  const Device device = parameters_[0].device();
  FLATLAND_CHECK(rates.dtype() == Dtype::float64 && rates.device() == device && i >= 0 && i < rates.numel(),
                 "optimizer: the learning rates are ", rates, ", and number ", i,
                 " is asked for; they must be float64 on ", name(device));
  for (Group& group : groups_) {
    group.rate = std::numeric_limits<double>::quiet_NaN();
    kernels::copy_within(current_exec(device), group.rate_on_device.mutable_data<double>(),
                         rates.data<double>() + i, sizeof(double));
  }
}

void Optimizer::zero_grad() {
  for (Tensor& p : parameters_) p.zero_grad();
}

namespace {

using kernels::AdamRule;
using kernels::LearningRate;
using kernels::RmspropRule;
using kernels::SgdRule;

// The kernel of each rule, and the state that it keeps.
void step_kernel(const SgdRule& rule, const kernels::Exec& exec, LearningRate lr, auto parameters) {
  kernels::sgd_step(exec, rule, lr, parameters);
}
void step_kernel(const AdamRule& rule, const kernels::Exec& exec, LearningRate lr, auto parameters) {
  kernels::adam_step(exec, rule, lr, parameters);
}
void step_kernel(const RmspropRule& rule, const kernels::Exec& exec, LearningRate lr, auto parameters) {
  kernels::rmsprop_step(exec, rule, lr, parameters);
}

struct State {
  bool m = false, v = false, w = false;
};
State state_of(const SgdRule& rule) {
  return {.m = rule.momentum != 0};
}
State state_of(const AdamRule& rule) {
  return {.m = true, .v = true, .w = rule.amsgrad};
}
State state_of(const RmspropRule& rule) {
  return {.m = rule.momentum != 0, .v = true, .w = rule.centered};
}

// An optimizer whose rule is a kernel and whose state is up to three tensors a parameter and its clock.
template <class T, class Rule>
class KernelOptimizer final : public Optimizer {
 public:
  KernelOptimizer(const Rule& rule, const std::vector<ParameterGroup>& groups, double lr)
      : Optimizer(groups, lr) {
    for (const ParameterGroup& group : groups) {
      rules_.push_back(rule);
      rules_.back().weight_decay = group.weight_decay.value_or(rule.weight_decay);
      step_with(rules_.back(), 0);  // of no parameters: an Error where a setting is out of range
    }
    const State keeps = state_of(rule);
    for (const Tensor& p : parameters_) {
      const auto zeros = [&](bool kept) {
        return kept ? Tensor::zeros(p.shape(), p.dtype(), p.device()) : Tensor();
      };
      state_.push_back({zeros(keeps.m), zeros(keeps.v), zeros(keeps.w)});
    }
    static_assert(sizeof(kernels::ParameterClock) == 2 * sizeof(std::int64_t));
    clocks_ = Tensor::zeros({std::ssize(parameters_), 2}, Dtype::int64, parameters_[0].device());
    views_.reserve(parameters_.size());
    detail::unit_gradient(parameters_[0].dtype(), parameters_[0].device());
  }

  void step() override {
    ++steps_;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      views_.clear();
      for (std::size_t i = groups_[g].begin; i < groups_[g].end; ++i) add_view(i);
      if (views_.empty()) continue;
      step_with(rules_[g], g);
    }
  }

 private:
  // Updates what views_ holds.
  void step_with(const Rule& rule, std::size_t group) const {
    const Tensor& rate = groups_[group].rate_on_device;
    step_kernel(rule, detail::exec_of(rate), LearningRate(rate.data<double>(), groups_[group].factor),
                std::span<const kernels::ParameterView<T>>(views_));
  }
  void add_view(std::size_t i) {
    Tensor& p = parameters_[i];
    const Tensor& grad = p.impl()->grad;
    if (!grad.defined() || !p.requires_grad()) return;
    FLATLAND_CHECK(p.device() == clocks_.device() && p.dtype() == dtype_of<T>, "optimizer: a parameter ",
                   p.shape(), " is of ", name(p.dtype()), " on ", name(p.device()), " but was of ",
                   name(dtype_of<T>), " on ", name(clocks_.device()),
                   "; make a new optimizer after moving a model");
    const auto data = [](Tensor& t) { return t.defined() ? t.mutable_data<T>() : nullptr; };
    auto* const clocks = reinterpret_cast<kernels::ParameterClock*>(clocks_.mutable_data<std::int64_t>());
    auto& [m, v, w] = state_[i];
    views_.push_back({.value = p.mutable_data<T>(),
                      .grad = grad.template data<T>(),
                      .m = data(m),
                      .v = data(v),
                      .n = p.numel(),
                      .clock = clocks + i,
                      .w = data(w)});
  }

  std::vector<Rule> rules_;                   // of the groups
  std::vector<std::array<Tensor, 3>> state_;  // m, v, w of each parameter, undefined where not kept
  Tensor clocks_;                             // a ParameterClock a parameter
  std::vector<kernels::ParameterView<T>> views_;
};

template <class Rule>
std::unique_ptr<Optimizer> make(const Rule& rule, const std::vector<ParameterGroup>& groups, double lr) {
  for (const ParameterGroup& group : groups) {
    if (group.parameters.empty()) continue;
    detail::check_defined("optimizer", group.parameters[0]);
    return detail::dispatch_float("optimizer", group.parameters[0].dtype(),
                                  [&]<class T>(std::type_identity<T>) -> std::unique_ptr<Optimizer> {
                                    return std::make_unique<KernelOptimizer<T, Rule>>(rule, groups, lr);
                                  });
  }
  detail::fail("optimizer: there are no parameters; give those of a module");
}

// Adam and AdamW differ in what weight decay is added to.
template <class Recipe>
std::unique_ptr<Optimizer> make_adam(const char* who, const Recipe& recipe, bool decoupled,
                                     const std::vector<ParameterGroup>& groups, double lr) {
  FLATLAND_CHECK(recipe.beta1 >= 0 && recipe.beta1 < 1 && recipe.beta2 >= 0 && recipe.beta2 < 1, who,
                 ": betas ", recipe.beta1, " and ", recipe.beta2, "; both must be in [0, 1)");
  return make(AdamRule{.beta1 = recipe.beta1,
                       .beta2 = recipe.beta2,
                       .eps = recipe.eps,
                       .weight_decay = recipe.weight_decay,
                       .decoupled = decoupled,
                       .amsgrad = recipe.amsgrad},
              groups, lr);
}

}  // namespace

std::vector<Tensor> tensors_of(const std::vector<NamedTensor>& parameters) {
  std::vector<Tensor> tensors;
  for (const NamedTensor& p : parameters) tensors.push_back(p.tensor);
  return tensors;
}

std::unique_ptr<Optimizer> make_optimizer(const SGD& recipe, const std::vector<ParameterGroup>& groups,
                                          double lr) {
  FLATLAND_CHECK(!recipe.nesterov || (recipe.momentum > 0 && recipe.dampening == 0),
                 "SGD: nesterov with momentum ", recipe.momentum, " and dampening ", recipe.dampening,
                 "; it needs a momentum above 0 and no dampening");
  return make(SgdRule{.momentum = recipe.momentum,
                      .dampening = recipe.dampening,
                      .weight_decay = recipe.weight_decay,
                      .nesterov = recipe.nesterov},
              groups, lr);
}

std::unique_ptr<Optimizer> make_optimizer(const Adam& recipe, const std::vector<ParameterGroup>& groups,
                                          double lr) {
  return make_adam("Adam", recipe, false, groups, lr);
}

std::unique_ptr<Optimizer> make_optimizer(const AdamW& recipe, const std::vector<ParameterGroup>& groups,
                                          double lr) {
  return make_adam("AdamW", recipe, true, groups, lr);
}

std::unique_ptr<Optimizer> make_optimizer(const RMSprop& recipe, const std::vector<ParameterGroup>& groups,
                                          double lr) {
  FLATLAND_CHECK(recipe.alpha >= 0 && recipe.alpha < 1, "RMSprop: alpha is ", recipe.alpha,
                 "; it must be in [0, 1)");
  return make(RmspropRule{.alpha = recipe.alpha,
                          .eps = recipe.eps,
                          .weight_decay = recipe.weight_decay,
                          .momentum = recipe.momentum,
                          .centered = recipe.centered},
              groups, lr);
}

// --- bounds of gradients ------------------------------------------------------------------------------

namespace {

// f(a gradient) for each parameter that has one.
template <class F>
void for_gradients(const std::vector<Tensor>& parameters, const F& f) {
  for (const Tensor& p : parameters) {
    detail::check_defined("clip_grad", p);
    Tensor gradient = p.grad();
    if (gradient.defined()) f(gradient);
  }
}

}  // namespace

Tensor clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm) {
  FLATLAND_CHECK(!parameters.empty(), "clip_grad_norm: there are no parameters; give those of a module");
  const Tensor& first = parameters[0];
  detail::check_defined("clip_grad_norm", first);
  Tensor norm = detail::empty_value(first);
  detail::dispatch_float("clip_grad_norm", first.dtype(), [&]<class T>(std::type_identity<T>) {
    detail::PoolVector<kernels::GradientView<T>> views;
    views.reserve(parameters.size());
    for_gradients(parameters, [&](Tensor& gradient) {
      detail::check_alike("clip_grad_norm", gradient, first);
      views.push_back({gradient.mutable_data<T>(), gradient.numel()});
    });
    kernels::clip_norm<T>(detail::exec_of(first), max_norm, views, norm.mutable_data<T>());
  });
  return norm;
}

void clip_grad_value(const std::vector<Tensor>& parameters, double limit) {
  FLATLAND_CHECK(limit >= 0, "clip_grad_value: the limit is ", limit, "; it must be 0 or more");
  for_gradients(parameters, [&](Tensor& gradient) {
    detail::dispatch_float("clip_grad_value", gradient.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::clamp<T>(detail::exec_of(gradient), detail::span_of<T>(gradient), static_cast<T>(-limit),
                        static_cast<T>(limit), detail::mutable_span_of<T>(gradient));
    });
  });
}

}  // namespace flatland
