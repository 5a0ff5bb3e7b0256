#include <flatland/engine/module.h>
#include <flatland/engine/op_inputs.h>
#include <flatland/kernels/dropout.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace flatland {

// --- Module -------------------------------------------------------------------------------------------

namespace {

// Random states have streams beyond those of the parameters, which are counted from 0.
void start(Tensor& state, std::uint64_t seed, std::uint64_t number) {
  constexpr std::uint64_t k_first_stream = std::uint64_t{6} << 56;
  const std::vector<std::int64_t> words{static_cast<std::int64_t>(seed),
                                        static_cast<std::int64_t>(k_first_stream | number), 0, 0};
  state.copy_from(Tensor::from(words).to(state.device()));
}

}  // namespace

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

Tensor Module::add_random_state(std::string name) {
  for (const NamedTensor& s : random_states_) {
    FLATLAND_CHECK(s.name != name, "Module: there is a random state '", name, "' already; names must differ");
  }
  static_assert(sizeof(kernels::DropoutState) == 4 * sizeof(std::int64_t));
  random_states_.push_back({std::move(name), Tensor::zeros({4}, Dtype::int64)});
  start(random_states_.back().tensor, 0, random_states_.size() - 1);
  return random_states_.back().tensor;
}

void Module::add_child(std::string name, std::shared_ptr<Module> child) {
  FLATLAND_CHECK(child, "Module: the child '", name, "' is empty");
  for (const auto& c : children_) {
    FLATLAND_CHECK(c.first != name, "Module: there is a child '", name, "' already; names must differ");
  }
  children_.emplace_back(std::move(name), std::move(child));
}

void Module::list(const std::string& prefix, std::vector<Named>& all) {
  if (std::ranges::find(all, this, &Named::second) != all.end()) return;
  all.emplace_back(prefix, this);
  for (auto& [name, child] : children_) child->list(prefix + name + ".", all);
}

template <class F>
void Module::visit(F&& f) {
  std::vector<Named> all;
  list("", all);
  for (const auto& [prefix, module] : all)
    for (Parameter& p : module->own_) f(prefix + p.name, p);
}

template <class G>
void Module::visit_random_states(G&& g) {
  std::vector<Named> all;
  list("", all);
  for (const auto& [prefix, module] : all)
    for (NamedTensor& s : module->random_states_) g(prefix + s.name, s.tensor);
}

std::vector<NamedTensor> Module::parameters() const {
  std::vector<NamedTensor> all;
  const_cast<Module*>(this)->visit([&](std::string name, Parameter& p) {
    all.push_back({std::move(name), p.tensor});
  });
  return all;
}

std::vector<NamedTensor> Module::state_tensors() const {
  std::vector<NamedTensor> all = parameters();
  const_cast<Module*>(this)->visit_random_states([&](std::string name, Tensor& state) {
    all.push_back({std::move(name), state});
  });
  return all;
}

std::vector<NamedTensor> Module::state() const {
  std::vector<NamedTensor> all = state_tensors();
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
  std::vector<NamedTensor> all = state_tensors();
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
  visit([](const std::string&, Parameter& p) { p.tensor.zero_grad(); });
}

void Module::requires_grad(bool on) {
  visit([on](const std::string&, Parameter& p) { p.tensor.requires_grad(on); });
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
  visit([device](const std::string&, Parameter& p) { replace_values(p.tensor, p.tensor.to(device)); });
  visit_random_states([device](const std::string&, Tensor& s) { replace_values(s, s.to(device)); });
}

void Module::to(Dtype dtype) {
  FLATLAND_CHECK(dtype == Dtype::float32 || dtype == Dtype::float64, "Module::to: parameters cannot be ",
                 flatland::name(dtype), "; they must be float32 or float64");
  const NoGrad no_grad;
  visit([dtype](const std::string&, Parameter& p) { replace_values(p.tensor, p.tensor.to(dtype)); });
}

void Module::train(bool on) {
  training_ = on;
  for (auto& [name, child] : children_) child->train(on);
}

void Module::initialize(std::uint64_t seed) {
  std::uint64_t stream = 0;
  visit([&](const std::string&, Parameter& p) {
    if (!p.kept) draw(p, seed, stream);
    ++stream;
  });
  std::uint64_t number = 0;
  visit_random_states([&](const std::string&, Tensor& state) { start(state, seed, number++); });
}

void Module::keep(bool on) {
  visit([on](const std::string&, Parameter& p) { p.kept = on; });
}

void Module::draw(Parameter& p, std::uint64_t seed, std::uint64_t stream) {
  const Init& init = p.init;
  if (init.bound == 0 && init.deviation == 0) p.tensor.fill(init.constant);
  detail::dispatch_float("Module::initialize", p.tensor.dtype(), [&]<class T>(std::type_identity<T>) {
    const kernels::Exec& exec = detail::exec_of(p.tensor);
    const kernels::RandomStream random{.seed = seed, .stream = stream};
    const std::span<T> values = detail::mutable_span_of<T>(p.tensor);
    if (init.bound != 0) kernels::fill_uniform<T>(exec, random, -init.bound, init.bound, values);
    if (init.deviation != 0) kernels::fill_normal<T>(exec, random, 0, init.deviation, values);
    if (init.zero_row < 0) return;
    const auto cols = static_cast<std::size_t>(p.tensor.size(1));
    kernels::fill<T>(exec, 0, values.subspan(static_cast<std::size_t>(init.zero_row) * cols, cols));
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
    add(std::make_shared<Linear>(sizes[i], sizes[i + 1],
                                 Linear::Options{.activation = is_last ? last : hidden}));
  }
  initialize(0);
}

namespace {

bool equal(const std::vector<NamedTensor>& a, const std::vector<NamedTensor>& b) {
  return std::ranges::equal(a, b, [](const NamedTensor& x, const NamedTensor& y) {
    return x.tensor.to_vector<double>() == y.tensor.to_vector<double>();
  });
}

}  // namespace

Sequential::Sequential(std::vector<std::shared_ptr<Layer>> layers) {
  for (std::shared_ptr<Layer>& layer : layers) add(std::move(layer));
  std::vector<std::pair<Layer*, std::vector<NamedTensor>>> used;
  for (const auto& layer : layers_) {
    std::vector<NamedTensor> state = layer->state();
    layer->initialize(0);  // as constructors do
    if (!equal(state, layer->state())) used.emplace_back(layer.get(), std::move(state));
  }
  initialize(0);
  for (const auto& [layer, state] : used) layer->load_state(state);
}

void Sequential::add(std::shared_ptr<Layer> layer) {
  add_child(std::to_string(layers_.size()), layer);
  layers_.push_back(std::move(layer));
}

Linear& Sequential::operator[](std::size_t i) {
  auto* const linear = i < layers_.size() ? dynamic_cast<Linear*>(layers_[i].get()) : nullptr;
  FLATLAND_CHECK(linear != nullptr, "Sequential: child ", i, " of ", layers_.size(),
                 " is no Linear layer; keep a pointer to the layer that you put there");
  return *linear;
}

Tensor Sequential::forward(const Tensor& x) const {
  Tensor y = x;
  for (const auto& layer : layers_) y = layer->forward(y);
  return y;
}

}  // namespace flatland
