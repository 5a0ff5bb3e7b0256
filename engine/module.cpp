#include <flatland/engine/module.h>
#include <flatland/engine/op_inputs.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace flatland {

// --- Module -------------------------------------------------------------------------------------------

Tensor Module::add_parameter(std::string name, Shape shape, Init init) {
  for (const Parameter& p : own_) {
    FLATLAND_CHECK(p.name != name, "Module: there is a parameter '", name, "' already; names must differ");
  }
  Tensor tensor = Tensor::empty(shape);
  tensor.requires_grad(true);
  own_.push_back({std::move(name), tensor, init});
  draw(own_.back(), 0, own_.size() - 1);
  return tensor;
}

void Module::add_child(std::string name, std::shared_ptr<Module> child) {
  FLATLAND_CHECK(child, "Module: the child '", name, "' is empty");
  for (const auto& c : children_) {
    FLATLAND_CHECK(c.first != name, "Module: there is a child '", name, "' already; names must differ");
  }
  children_.emplace_back(std::move(name), std::move(child));
}

template <class F>
void Module::visit(const std::string& prefix, F&& f) {
  for (Parameter& p : own_) f(prefix + p.name, p);
  for (auto& [name, child] : children_) child->visit(prefix + name + ".", f);
}

std::vector<NamedTensor> Module::parameters() const {
  std::vector<NamedTensor> all;
  const_cast<Module*>(this)->visit("", [&](std::string name, Parameter& p) {
    all.push_back({std::move(name), p.tensor});
  });
  return all;
}

std::vector<NamedTensor> Module::state() const {
  std::vector<NamedTensor> all = parameters();
  const NoGrad no_grad;
  for (NamedTensor& entry : all) entry.tensor = entry.tensor.detach().clone();
  return all;
}

namespace {

const Tensor* find(const std::vector<NamedTensor>& state, const std::string& name) {
  const auto it = std::find_if(state.begin(), state.end(), [&](const auto& e) { return e.name == name; });
  return it == state.end() ? nullptr : &it->tensor;
}

// What keeps `state` from fitting `parameters`; empty when nothing does.
std::string misfits(const std::vector<NamedTensor>& parameters, const std::vector<NamedTensor>& state) {
  std::ostringstream text;
  for (const NamedTensor& p : parameters) {
    const Tensor* value = find(state, p.name);
    if (!value || !value->defined()) {
      text << "; missing: " << p.name << ' ' << p.tensor.shape();
    } else if (value->shape() != p.tensor.shape() || value->dtype() != p.tensor.dtype()) {
      text << "; " << p.name << " is " << value->shape() << " of " << name(value->dtype()) << " but must be "
           << p.tensor.shape() << " of " << name(p.tensor.dtype());
    }
  }
  for (const NamedTensor& entry : state) {
    if (!find(parameters, entry.name)) text << "; unexpected: " << entry.name;
  }
  return text.str();
}

}  // namespace

void Module::load_state(const std::vector<NamedTensor>& state) {
  std::vector<NamedTensor> all = parameters();
  const std::string problems = misfits(all, state);
  FLATLAND_CHECK(problems.empty(), "load_state: the state does not fit this module", problems);
  for (NamedTensor& p : all) p.tensor.copy_from(*find(state, p.name));
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const NamedTensor& p : parameters()) count += p.tensor.numel();
  return count;
}

void Module::zero_grad() {
  visit("", [](const std::string&, Parameter& p) { p.tensor.zero_grad(); });
}

namespace {

// Gives a tensor other memory; every handle on it sees the change.
void replace_values(Tensor& tensor, const Tensor& values) {
  tensor.impl()->storage = values.impl()->storage;
  tensor.impl()->dtype = values.dtype();
  tensor.impl()->grad = {};
}

}  // namespace

void Module::to(Device device) {
  const NoGrad no_grad;
  visit("", [device](const std::string&, Parameter& p) { replace_values(p.tensor, p.tensor.to(device)); });
}

void Module::to(Dtype dtype) {
  FLATLAND_CHECK(dtype == Dtype::float32 || dtype == Dtype::float64, "Module::to: parameters cannot be ",
                 flatland::name(dtype), "; they must be float32 or float64");
  const NoGrad no_grad;
  visit("", [dtype](const std::string&, Parameter& p) { replace_values(p.tensor, p.tensor.to(dtype)); });
}

void Module::train(bool on) {
  training_ = on;
  for (auto& [name, child] : children_) child->train(on);
}

void Module::initialize(std::uint64_t seed) {
  std::uint64_t stream = 0;
  visit("", [&](const std::string&, Parameter& p) { draw(p, seed, stream++); });
}

void Module::draw(Parameter& p, std::uint64_t seed, std::uint64_t stream) {
  if (p.init.bound == 0) return p.tensor.fill(p.init.constant);
  detail::dispatch_float("Module::initialize", p.tensor.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::fill_uniform<T>(detail::exec_of(p.tensor), {.seed = seed, .stream = stream}, -p.init.bound,
                             p.init.bound, detail::mutable_span_of<T>(p.tensor));
  });
}

// --- layers -------------------------------------------------------------------------------------------

Linear::Linear(std::int64_t in, std::int64_t out, Options options)
    : in_(in), out_(out), activation_(options.activation) {
  FLATLAND_CHECK(in > 0 && out > 0, "Linear: got ", in, " inputs and ", out,
                 " outputs; both must be above 0");
  const Init init{.bound = 1 / std::sqrt(static_cast<double>(in))};
  weight = add_parameter("weight", {out, in}, init);
  if (options.bias) bias = add_parameter("bias", {out}, init);
}

Tensor Linear::forward(const Tensor& x) const {
  return linear(x, weight, bias, activation_);
}

Sequential::Sequential(const std::vector<std::int64_t>& sizes, Activation hidden, Activation last) {
  FLATLAND_CHECK(sizes.size() >= 2, "Sequential: got ", sizes.size(),
                 " sizes; it needs at least the number of inputs and of outputs");
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
    const bool is_last = i + 2 == sizes.size();
    layers_.push_back(std::make_shared<Linear>(sizes[i], sizes[i + 1],
                                               Linear::Options{.activation = is_last ? last : hidden}));
    add_child(std::to_string(i), layers_.back());
  }
  initialize(0);
}

Tensor Sequential::forward(const Tensor& x) const {
  Tensor y = x;
  for (const auto& layer : layers_) y = layer->forward(y);
  return y;
}

}  // namespace flatland
