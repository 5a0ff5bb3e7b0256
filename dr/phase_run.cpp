#include <flatland/dr/phase_run.h>
#include <flatland/dr/replayable.h>
#include <flatland/dr/with_type.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/spans.h>

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

// Where the values lie.
std::vector<const void*> addresses(const std::vector<Tensor>& tensors) {
  std::vector<const void*> all;
  for (const Tensor& t : tensors) {
    all.push_back(with_type(t, [&](auto zero) -> const void* { return t.data<decltype(zero)>(); }));
  }
  return all;
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
  prepare_sampling();
  check_labels(loss_);
  if (device_ == Device::cpu) return;
  gpu_.emplace(device_);
}

void PhaseRun::prepare_sampling() {
  const std::int64_t n = inputs_.data.size();
  const bool edges = phase_.sampling == Sampling::negative_edge;
  batch_size_ = edges ? phase_.batch_size : std::min(phase_.batch_size, n);
  if (phase_.sampling == Sampling::whole) batch_size_ = n;
  epoch_size_ = edges ? std::max(phase_.batch_size, ceil_div(n, phase_.neg_sampling_rate + 1)) : n;
  batches_ = ceil_div(epoch_size_, batch_size_);
  if (phase_.batches_per_epoch > 0) {
    const bool replaces = edges || phase_.sampling == Sampling::weighted;
    batches_ = replaces ? phase_.batches_per_epoch : std::min(batches_, phase_.batches_per_epoch);
    if (replaces) epoch_size_ = checked_mul(batches_, batch_size_);
  }
  recordable_ = device_ == Device::cuda && batches_ <= inputs_.most_recorded_steps &&
                inputs_.model.replayable() && phase_.input_noise == 0 &&
                replayable(loss_, inputs_.batch_relations, phase_.sampling);
  const std::string who = "training phase '" + phase_.name + "': ";
  if (phase_.sampling == Sampling::weighted) {
    const Tensor& weights = inputs_.data[phase_.weight_key];
    check_item_weights(who + "entry '" + phase_.weight_key + "'", weights);
    weights_ = AliasTable(weights, device_);
  }
  if (!edges) return;
  for (const auto& [key, relations] : inputs_.global_relations) {
    if (key == phase_.edge_rel_key)
      edges_.emplace(who + "the relations '" + key + "'", relations, n, phase_.neg_sampling_rate,
                     parameters_.front().dtype(), device_);
  }
  FLATLAND_CHECK(edges_.has_value(), who, "no global relations '", phase_.edge_rel_key,
                 "' to sample edges from");
}

void PhaseRun::data_changed() {
  recording_.reset();
  warm_ = false;
  edges_.reset();
  drawn_.clear();
  order_ = rates_ = Tensor();
  batch_.select({});
  prepare_sampling();
  check_labels(loss_);
}

// All labels are looked at before the first step: on a GPU a step cannot say that one has no logit.
void PhaseRun::check_labels(const Loss& loss) const {
  if (const auto* compound = loss.target<CompoundLoss>()) {
    for (const auto& part : compound->losses) check_labels(part.second);
  }
  const auto* classification = loss.target<ClassificationLoss>();
  if (classification == nullptr || !inputs_.data.contains(classification->label_key)) return;
  const NoGrad no_grad;
  const Dataset first = inputs_.data.first(1).to(device_);
  const std::int64_t classes = inputs_.model.classify(first[inputs_.model.input_key()]).size(-1);
  const std::vector<std::int64_t> labels = inputs_.data[classification->label_key].to_vector<std::int64_t>();
  for (std::size_t i = 0; i < labels.size(); ++i) {
    FLATLAND_CHECK(labels[i] >= 0 && labels[i] < classes, "ClassificationLoss: label ", labels[i],
                   " of item ", i, " is out of range; the model knows classes 0 to ", classes - 1);
  }
}

kernels::RandomStream PhaseRun::stream(StreamDomain domain) const {
  return stream_of(inputs_.seed, domain, inputs_.number, static_cast<std::uint64_t>(epoch_));
}

// The items of an epoch. What a recorded epoch reads changes here, before it runs.
void PhaseRun::order_items() {
  switch (phase_.sampling) {
    case Sampling::standard:
      if (!order_.defined()) order_ = Tensor::empty({epoch_size_}, Dtype::int64, device_);
      return kernels::random_permutation(current_exec(device_), stream(StreamDomain::order),
                                         detail::mutable_span_of<std::int64_t>(order_));
    case Sampling::whole:
      if (!order_.defined()) order_ = Tensor::arange(epoch_size_).to(device_);
      return;
    case Sampling::weighted:
    case Sampling::negative_edge:
      if (!recordable_) return;
      for (std::int64_t b = 0; b < batches_; ++b) {
        if (std::ssize(drawn_) <= b) drawn_.push_back(empty_draws(b));
        draw(b, drawn_[static_cast<std::size_t>(b)]);
      }
  }
}

Tensor PhaseRun::empty_draws(std::int64_t b) const {
  return edges_ ? edges_->ends(size_of(b)) : Tensor::empty({size_of(b)}, Dtype::int64, device_);
}

void PhaseRun::draw(std::int64_t b, Tensor& drawn) const {
  if (edges_) return edges_->draw(stream(StreamDomain::edges), first_of(b), drawn);
  sample_items(weights_, stream(StreamDomain::weighted_items), static_cast<std::uint64_t>(first_of(b)),
               drawn);
}

// The order of the items and the learning rates of the steps.
void PhaseRun::begin_epoch() {
  order_items();
  if (device_ == Device::cpu) return;
  std::vector<double> rates(static_cast<std::size_t>(batches_));
  for (std::size_t b = 0; b < rates.size(); ++b) rates[b] = learning_rate(static_cast<std::int64_t>(b));
  const Tensor host = Tensor::from(rates);
  if (rates_.defined()) {
    rates_.copy_from(host.to(device_));
  } else {
    rates_ = host.to(device_);
  }
}

double PhaseRun::learning_rate(std::int64_t b) const {
  const double lr = phase_.learning_rate;
  if (phase_.schedule.kind == LearningRateSchedule::Kind::constant) return lr;
  const auto batches = static_cast<double>(batches_);
  const double done = (epoch_ * batches + static_cast<double>(b)) / (phase_.epochs * batches);
  const double falling = (1 + std::cos(std::numbers::pi * done)) / 2;
  return lr * (phase_.schedule.final_fraction + (1 - phase_.schedule.final_fraction) * falling);
}

EpochSums PhaseRun::run_epoch(const RelationContext& context) {
  std::optional<ExecScope> scope;
  if (gpu_) scope.emplace(*gpu_);
  begin_epoch();
  if (recording_ && recording_->parameters != addresses(parameters_)) recording_.reset();  // they moved
  if (recordable_ && warm_ && !recording_) record_steps(context);
  EpochSums sums;
  if (recording_) {
    recording_->graph.launch(*gpu_);
    sums = sums_of(recording_->steps, recording_->losses);
  } else {
    sums = run_steps(context);
  }
  warm_ = true;
  ++epoch_;
  return sums;
}

// A GPU is asked for the losses at the end; the CPU, which has them, keeps no more than one step's.
EpochSums PhaseRun::run_steps(const RelationContext& context) {
  if (device_ != Device::cpu) {
    const std::vector<StepLosses> steps = all_steps(context);
    return sums_of(steps, in_a_row(steps));
  }
  EpochSums sums;
  StepLosses values;
  for (std::int64_t b = 0; b < batches_; ++b) {
    step(b, context, values);
    add(sums, values, [](const Tensor& value) { return value.item(); });
  }
  return sums;
}

std::vector<PhaseRun::StepLosses> PhaseRun::all_steps(const RelationContext& context) {
  std::vector<StepLosses> steps(static_cast<std::size_t>(batches_));
  for (std::int64_t b = 0; b < batches_; ++b) step(b, context, steps[static_cast<std::size_t>(b)]);
  return steps;
}

void PhaseRun::record_steps(const RelationContext& context) {
  auto recording = std::make_unique<Recording>(device_);
  recording->parameters = addresses(parameters_);
  try {
    recording->memory.record([&] {
      recording->graph = kernels::Graph::record(*gpu_, [&] {
        recording->steps = all_steps(context);
        recording->losses = in_a_row(recording->steps);
      });
    });
  } catch (const Error& error) {
    recordable_ = false;
    drawn_.clear();
    context.warn("training phase '" + phase_.name +
                 "' runs step by step, for it could not be recorded: " + error.what());
    return;
  }
  for (const Tensor& parameter : parameters_) recording->kept.push_back(parameter.grad());
  recording_ = std::move(recording);
}

// Each row of the epoch has draws of its own.
Tensor PhaseRun::with_noise(std::int64_t b) const {
  const std::string key = inputs_.model.input_key();
  const Tensor& x = batch_[key];
  Tensor noise = Tensor::empty(x.shape(), x.dtype(), x.device());
  const std::int64_t rows = edges_ ? batch_size_ * (phase_.neg_sampling_rate + 2) : batch_size_;
  const auto first = static_cast<std::uint64_t>(b) * static_cast<std::uint64_t>(rows) *
                     static_cast<std::uint64_t>(x.numel() / x.size(0));
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    kernels::fill_normal(current_exec(device_), stream(StreamDomain::input_noise), 0, phase_.input_noise,
                         detail::mutable_span_of<T>(noise), first);
  });
  return x + noise;
}

void PhaseRun::select_batch(std::int64_t b) {
  if (phase_.sampling == Sampling::whole) return batch_.select_whole(order_);
  if (phase_.sampling == Sampling::standard)
    return batch_.select(slice_rows(order_, first_of(b), first_of(b) + size_of(b)));
  Tensor drawn;
  if (recordable_) {
    drawn = drawn_[static_cast<std::size_t>(b)];
  } else {
    drawn = empty_draws(b);
    draw(b, drawn);
  }
  edges_ ? edges_->select(batch_, drawn, recordable_) : batch_.select_repeated(drawn);
}

void PhaseRun::step(std::int64_t b, const RelationContext& context, StepLosses& values) {
  select_batch(b);
  values.components.clear();
  LossInput input{.model = inputs_.model,
                  .batch = batch_,
                  .global_relations = inputs_.global_relations,
                  .batch_relations = inputs_.batch_relations,
                  .context = context};
  if (phase_.input_noise > 0) input.noisy = with_noise(b);
  input.components = &values.components;
  optimizer_->zero_grad();
  const Tensor loss = loss_(input);
  FLATLAND_CHECK(loss.requires_grad(), "training phase '", phase_.name,
                 "': the loss does not depend on the model's parameters");
  loss.backward();
  if (device_ == Device::cpu) {
    optimizer_->set_learning_rate(learning_rate(b));
  } else {
    optimizer_->set_learning_rate(rates_, b);
  }
  optimizer_->step();
  values.loss = loss.detach();
}

template <class Value>
void PhaseRun::add(EpochSums& sums, const StepLosses& step, Value value) {
  sums.loss += value(step.loss);
  for (std::size_t i = 0; i < step.components.size(); ++i) {
    const auto& [name, part] = step.components[i];
    auto at = i < sums.components.size() && sums.components[i].first == name
                  ? sums.components.begin() + static_cast<std::ptrdiff_t>(i)
                  : std::ranges::find(sums.components, name, &std::pair<std::string, double>::first);
    if (at == sums.components.end()) at = sums.components.insert(at, {name, 0.0});
    at->second += value(part);
  }
}

EpochSums PhaseRun::sums_of(const std::vector<StepLosses>& steps, const Tensor& in_a_row) {
  const std::vector<double> values = in_a_row.to_vector<double>();
  std::size_t next = 0;
  EpochSums sums;
  for (const StepLosses& step : steps) add(sums, step, [&](const Tensor&) { return values[next++]; });
  return sums;
}

}  // namespace flatland
