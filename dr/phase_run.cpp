#include <flatland/dr/phase_run.h>
#include <flatland/dr/streams.h>

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

PhaseRun::PhaseRun(const TrainingPhase& phase, Inputs inputs)
    : phase_(phase), inputs_(inputs), batch_(inputs.data) {
  for (const std::string& key : phase.loss_keys) loss_.losses.emplace_back(key, *inputs.losses.find(key));
  loss_.weights = phase.loss_weights;
  std::vector<Tensor> parameters = trained_parameters(inputs.model);
  FLATLAND_CHECK(!parameters.empty(), "training phase '", phase.name,
                 "': the model has no parameters to train");
  optimizer_ = std::visit(
      [&](const auto& recipe) { return make_optimizer(recipe, std::move(parameters), phase.learning_rate); },
      phase.optimizer);
}

// The order of the items, and how they fall into batches.
void PhaseRun::begin_epoch() {
  const std::int64_t n = inputs_.data.size();
  if (!order_.defined() || order_.numel() != n) order_ = Tensor::empty({n}, Dtype::int64);
  batch_size_ = std::min(phase_.batch_size, n);
  batches_ = ceil_div(n, batch_size_);
  if (phase_.batches_per_epoch > 0) batches_ = std::min(batches_, phase_.batches_per_epoch);
  const kernels::RandomStream random =
      stream_of(inputs_.seed, StreamDomain::order, inputs_.number, static_cast<std::uint64_t>(epoch_));
  kernels::random_permutation(current_exec(), random, order_.mutable_values<std::int64_t>());
}

double PhaseRun::learning_rate() const {
  const double lr = phase_.learning_rate;
  if (phase_.schedule.kind == LearningRateSchedule::Kind::constant) return lr;
  const double steps = static_cast<double>(phase_.epochs) * static_cast<double>(batches_);
  const double done = static_cast<double>(step_) / steps;
  const double falling = (1 + std::cos(std::numbers::pi * done)) / 2;
  return lr * (phase_.schedule.final_fraction + (1 - phase_.schedule.final_fraction) * falling);
}

EpochSums PhaseRun::run_epoch(const RelationContext& context) {
  begin_epoch();
  EpochSums sums;
  for (std::int64_t b = 0; b < batches_; ++b) {
    const std::int64_t begin = b * batch_size_;
    step(begin, std::min(begin + batch_size_, order_.numel()), context, sums);
  }
  ++epoch_;
  return sums;
}

void PhaseRun::add_input_noise(std::int64_t begin) {
  const Tensor& x = batch_["main"];
  Tensor noise = Tensor::empty(x.shape(), x.dtype());
  const kernels::RandomStream random =
      stream_of(inputs_.seed, StreamDomain::input_noise, inputs_.number, static_cast<std::uint64_t>(epoch_));
  const auto first = static_cast<std::uint64_t>(begin * (x.numel() / x.size(0)));
  if (x.dtype() == Dtype::float64) {
    kernels::fill_normal(current_exec(), random, 0, phase_.input_noise, noise.mutable_values<double>(),
                         first);
  } else {
    kernels::fill_normal(current_exec(), random, 0, phase_.input_noise, noise.mutable_values<float>(), first);
  }
  batch_.replace("main", x + noise);
}

void PhaseRun::step(std::int64_t begin, std::int64_t end, const RelationContext& context, EpochSums& sums) {
  batch_.select(slice_rows(order_, begin, end));
  if (phase_.input_noise > 0) add_input_noise(begin);
  components_.clear();
  LossInput input{.model = inputs_.model,
                  .batch = batch_,
                  .global_relations = inputs_.global_relations,
                  .batch_relations = inputs_.batch_relations,
                  .context = context};
  input.components = &components_;
  optimizer_->zero_grad();
  const Tensor loss = loss_(input);
  FLATLAND_CHECK(loss.requires_grad(), "training phase '", phase_.name,
                 "': the loss does not depend on the model's parameters");
  loss.backward();
  optimizer_->set_learning_rate(learning_rate());
  optimizer_->step();
  ++step_;
  sums.loss += loss.item();
  add_components(sums);
}

void PhaseRun::add_components(EpochSums& sums) const {
  for (std::size_t i = 0; i < components_.size(); ++i) {
    const auto& [name, value] = components_[i];
    auto at = i < sums.components.size() && sums.components[i].first == name
                  ? sums.components.begin() + static_cast<std::ptrdiff_t>(i)
                  : std::ranges::find(sums.components, name, &std::pair<std::string, double>::first);
    if (at == sums.components.end()) at = sums.components.insert(at, {name, 0.0});
    at->second += value.item();
  }
}

}  // namespace flatland
