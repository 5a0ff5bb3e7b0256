#include <flatland/dr/phase_run.h>
#include <flatland/dr/replayable.h>
#include <flatland/dr/streams.h>
#include <flatland/engine/ops.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace flatland {

namespace {

std::vector<Tensor> trained_parameters(const Model& model) {
  std::vector<Tensor> parameters;
  for (const NamedTensor& p : model.parameters()) {
    if (p.tensor.requires_grad()) parameters.push_back(p.tensor);
  }
  return parameters;
}

}  // namespace

// All values that the steps left.
Tensor PhaseRun::in_a_row(const std::vector<StepLosses>& steps) {
  const NoGrad no_grad;
  std::vector<Tensor> values;
  for (const StepLosses& step : steps) {
    values.push_back(reshape(step.loss, {1}));
    for (const auto& component : step.components) values.push_back(reshape(component.second, {1}));
  }
  return concat(values);
}

PhaseRun::PhaseRun(const TrainingPhase& phase, Inputs inputs)
    : phase_(phase),
      inputs_(inputs),
      device_(inputs.device),
      parameters_(trained_parameters(inputs.model)),
      batch_(inputs.data) {
  for (const std::string& key : phase.loss_keys) loss_.losses.emplace_back(key, *inputs.losses.find(key));
  loss_.weights = phase.loss_weights;
  FLATLAND_CHECK(!parameters_.empty(), "training phase '", phase.name,
                 "': the model has no parameters to train");
  optimizer_ =
      std::visit([&](const auto& recipe) { return make_optimizer(recipe, parameters_, phase.learning_rate); },
                 phase.optimizer);
  if (device_ == Device::cpu) return;
  gpu_.emplace(device_);
  check_labels();
  recordable_ =
      inputs.model.replayable() && phase.input_noise == 0 && replayable(loss_, inputs.batch_relations);
}

// On a GPU a step cannot say that a label has no logit, so all labels are looked at before the first.
void PhaseRun::check_labels() const {
  const NoGrad no_grad;
  for (const auto& [key, loss] : loss_.losses) {
    const auto* classification = loss.target<ClassificationLoss>();
    if (classification == nullptr || !inputs_.data.contains(classification->label_key)) continue;
    const Dataset first = inputs_.data.first(1).to(device_);
    const std::int64_t classes = inputs_.model.classify(first["main"]).size(-1);
    const std::vector<std::int64_t> labels =
        inputs_.data[classification->label_key].to_vector<std::int64_t>();
    for (std::size_t i = 0; i < labels.size(); ++i) {
      FLATLAND_CHECK(labels[i] >= 0 && labels[i] < classes, "ClassificationLoss: label ", labels[i],
                     " of item ", i, " is out of range; the model knows classes 0 to ", classes - 1);
    }
  }
}

// The order of the items, how they fall into batches, and the learning rates of their steps.
void PhaseRun::begin_epoch() {
  const std::int64_t n = inputs_.data.size();
  if (!order_.defined() || order_.numel() != n) order_ = Tensor::empty({n}, Dtype::int64, device_);
  batch_size_ = std::min(phase_.batch_size, n);
  batches_ = ceil_div(n, batch_size_);
  if (phase_.batches_per_epoch > 0) batches_ = std::min(batches_, phase_.batches_per_epoch);
  const kernels::RandomStream random =
      stream_of(inputs_.seed, StreamDomain::order, inputs_.number, static_cast<std::uint64_t>(epoch_));
  kernels::random_permutation(current_exec(device_), random,
                              {order_.mutable_data<std::int64_t>(), static_cast<std::size_t>(n)});
  if (device_ == Device::cpu) return;
  std::vector<double> rates(static_cast<std::size_t>(batches_));
  for (std::size_t b = 0; b < rates.size(); ++b)
    rates[b] = learning_rate(step_ + static_cast<std::int64_t>(b));
  const Tensor host = Tensor::from(rates);
  if (rates_.defined()) {
    rates_.copy_from(host.to(device_));
  } else {
    rates_ = host.to(device_);
  }
}

double PhaseRun::learning_rate(std::int64_t step) const {
  const double lr = phase_.learning_rate;
  if (phase_.schedule.kind == LearningRateSchedule::Kind::constant) return lr;
  const double steps = static_cast<double>(phase_.epochs) * static_cast<double>(batches_);
  const double done = static_cast<double>(step) / steps;
  const double falling = (1 + std::cos(std::numbers::pi * done)) / 2;
  return lr * (phase_.schedule.final_fraction + (1 - phase_.schedule.final_fraction) * falling);
}

EpochSums PhaseRun::run_epoch(const RelationContext& context) {
  std::optional<ExecScope> scope;
  if (gpu_) scope.emplace(*gpu_);
  begin_epoch();
  if (recordable_ && epoch_ > 0 && !recording_) record_steps(context);
  if (recording_) {
    recording_->graph.launch(*gpu_);
  } else {
    run_steps(context);
  }
  step_ += batches_;
  ++epoch_;
  return sums();
}

void PhaseRun::run_steps(const RelationContext& context) {
  steps_.resize(static_cast<std::size_t>(batches_));
  for (std::int64_t b = 0; b < batches_; ++b) step(b, context, steps_[static_cast<std::size_t>(b)]);
}

void PhaseRun::record_steps(const RelationContext& context) {
  auto recording = std::make_unique<Recording>(device_);
  try {
    recording->memory.record([&] {
      recording->graph = kernels::Graph::record(*gpu_, [&] {
        recording->steps.resize(static_cast<std::size_t>(batches_));
        for (std::int64_t b = 0; b < batches_; ++b)
          step(b, context, recording->steps[static_cast<std::size_t>(b)]);
        recording->losses = in_a_row(recording->steps);
      });
    });
  } catch (const Error& error) {
    recordable_ = false;
    context.warn("training phase '" + phase_.name +
                 "' runs step by step, for it could not be recorded: " + error.what());
    return;
  }
  for (const Tensor& parameter : parameters_) recording->kept.push_back(parameter.grad());
  recording_ = std::move(recording);
}

void PhaseRun::add_input_noise(std::int64_t begin) {
  const Tensor& x = batch_["main"];
  Tensor noise = Tensor::empty(x.shape(), x.dtype(), x.device());
  const kernels::RandomStream random =
      stream_of(inputs_.seed, StreamDomain::input_noise, inputs_.number, static_cast<std::uint64_t>(epoch_));
  const auto first = static_cast<std::uint64_t>(begin * (x.numel() / x.size(0)));
  const auto fill = [&](auto zero) {
    using T = decltype(zero);
    const std::span<T> values(noise.mutable_data<T>(), static_cast<std::size_t>(noise.numel()));
    kernels::fill_normal(current_exec(device_), random, 0, phase_.input_noise, values, first);
  };
  x.dtype() == Dtype::float64 ? fill(double{}) : fill(float{});
  batch_.replace("main", x + noise);
}

void PhaseRun::step(std::int64_t b, const RelationContext& context, StepLosses& values) {
  const std::int64_t begin = b * batch_size_, end = std::min(begin + batch_size_, order_.numel());
  batch_.select(slice_rows(order_, begin, end));
  if (phase_.input_noise > 0) add_input_noise(begin);
  values.components.clear();
  LossInput input{.model = inputs_.model,
                  .batch = batch_,
                  .global_relations = inputs_.global_relations,
                  .batch_relations = inputs_.batch_relations,
                  .context = context};
  input.components = &values.components;
  optimizer_->zero_grad();
  const Tensor loss = loss_(input);
  FLATLAND_CHECK(loss.requires_grad(), "training phase '", phase_.name,
                 "': the loss does not depend on the model's parameters");
  loss.backward();
  if (device_ == Device::cpu) {
    optimizer_->set_learning_rate(learning_rate(step_ + b));
  } else {
    optimizer_->set_learning_rate(rates_, b);
  }
  optimizer_->step();
  values.loss = loss.detach();
}

// A GPU is asked once.
EpochSums PhaseRun::sums() const {
  const std::vector<StepLosses>& steps = recording_ ? recording_->steps : steps_;
  std::vector<double> values;
  if (device_ != Device::cpu)
    values = (recording_ ? recording_->losses : in_a_row(steps)).to_vector<double>();
  std::size_t next = 0;
  const auto read = [&](const Tensor& value) { return values.empty() ? value.item() : values[next++]; };
  EpochSums sums;
  for (const StepLosses& step : steps) {
    sums.loss += read(step.loss);
    for (std::size_t i = 0; i < step.components.size(); ++i) {
      const auto& [name, value] = step.components[i];
      auto at = i < sums.components.size() && sums.components[i].first == name
                    ? sums.components.begin() + static_cast<std::ptrdiff_t>(i)
                    : std::ranges::find(sums.components, name, &std::pair<std::string, double>::first);
      if (at == sums.components.end()) at = sums.components.insert(at, {name, 0.0});
      at->second += read(value);
    }
  }
  return sums;
}

}  // namespace flatland
