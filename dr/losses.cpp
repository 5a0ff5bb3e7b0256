#include <flatland/dr/losses.h>

#include <algorithm>

namespace flatland {

// --- batch and input ---

Batch::Batch(const Dataset& data, Tensor index) : data_(&data) {
  select(std::move(index));
}

void Batch::select(Tensor index) {
  index_ = std::move(index);
  rows_.clear();
  rows_.reserve(data_->entry_count());
}

const Tensor& Batch::operator[](std::string_view key) const {
  for (const auto& entry : rows_) {
    if (entry.first == key) return entry.second;
  }
  const Tensor& all = (*data_)[key];
  rows_.emplace_back(std::string(key), gather_rows(all, index_));
  return rows_.back().second;
}

void Batch::replace(std::string_view key, Tensor rows) {
  for (auto& entry : rows_) {
    if (entry.first == key) {
      entry.second = std::move(rows);
      return;
    }
  }
  rows_.emplace_back(std::string(key), std::move(rows));
}

Tensor call_model(const Model& model, std::string_view method, const Tensor& x) {
  if (method == "embed") return model.embed(x);
  if (method == "encode") return model.encode(x);
  if (method == "decode") return model.decode(x);
  if (method == "classify") return model.classify(x);
  detail::fail("unknown method '", method, "'; a model has embed, encode, decode and classify");
}

const RelationData& LossInput::global(std::string_view key) const {
  for (const auto& entry : global_relations) {
    if (entry.first == key) return entry.second;
  }
  detail::fail("no global relations '", key, "'; name them in global_relations");
}

const Relation& LossInput::batch_relation(std::string_view key) const {
  const Relation* relation = batch_relations.find(key);
  FLATLAND_CHECK(relation != nullptr, "no batch relations '", key, "'; name them in batch_relations");
  return *relation;
}

Tensor LossInput::embed() const {
  if (!embedding_.defined()) embedding_ = model.embed(batch["main"]);
  return embedding_;
}

Tensor Loss::operator()(const LossInput& input) const {
  FLATLAND_CHECK(call_ != nullptr, "Loss: an empty loss was called; give it a loss or a function");
  return call_(input);
}

const Loss* LossMap::find(std::string_view key) const {
  for (const auto& entry : entries_) {
    if (entry.first == key) return &entry.second;
  }
  return nullptr;
}

// --- functions of two relations ---

Tensor KullbackLeiblerDiv::operator()(const Tensor& p, const Tensor& q) const {
  return kl_divergence(p, q, epsilon);
}

Tensor CrossEntropyLoss::operator()(const Tensor& p, const Tensor& q) const {
  FLATLAND_CHECK(p.shape() == q.shape() && p.rank() >= 1, "CrossEntropyLoss: p is ", p.shape(), " but q is ",
                 q.shape(), "; they must have one shape");
  const Tensor loss = fuzzy_cross_entropy(reshape(p, {p.numel()}), reshape(q, {q.numel()}), epsilon);
  if (p.rank() == 1 || p.size(0) == 0) return loss;
  return loss * (static_cast<double>(p.numel()) / static_cast<double>(p.size(0)));
}

// --- losses ---

namespace {

Tensor embedding_of(const LossInput& input, const std::string& method) {
  return method == "embed" ? input.embed() : call_model(input.model, method, input.batch["main"]);
}

// What the fused kernel needs to know, when the recipe allows it.
struct FusedTsne {
  double alpha = 1;
  double epsilon = 1e-7;
};

bool is_euclidean(const MetricOr<TensorMetric>& metric) {
  if (metric.built_in() == nullptr) return false;
  return *metric.built_in() == metric::euclidean;
}

// KL divergence of symmetric sparse relations against [StudentT of fixed alpha, Normalize, (ToSquare)] of
// Euclidean distances.
const DifferentiablePDist* fused_pdist(const Relation& relation) {
  const auto* dist = relation.target<DifferentiablePDist>();
  if (dist == nullptr || !is_euclidean(dist->metric)) return nullptr;
  const std::vector<Transform>& t = dist->transforms;
  if (t.size() < 2 || t.size() > 3 || t[1].target<Normalize>() == nullptr) return nullptr;
  if (t.size() == 3 && t[2].target<ToSquare>() == nullptr) return nullptr;
  const auto* student = t[0].target<StudentT>();
  const bool fixed = student != nullptr && !student->trained_alpha.defined() && student->alpha > 0;
  return fixed ? dist : nullptr;
}

bool find_fused(const RelationLoss& loss, const RelationData& global, const Relation& batch, FusedTsne& out) {
  const auto* kl = loss.f.target<KullbackLeiblerDiv>();
  const auto* dist = fused_pdist(batch);
  if (!loss.fuse || kl == nullptr || dist == nullptr) return false;
  if (!global.symmetric() || global.get_if<SparseRelations>() == nullptr) return false;
  out = {dist->transforms[0].target<StudentT>()->alpha, kl->epsilon};
  return true;
}

void check_labels(const Tensor& labels, std::int64_t classes, const Batch& batch) {
  if (labels.device() != Device::cpu || batch.index().device() != Device::cpu) return;
  const auto values = labels.values<std::int64_t>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    FLATLAND_CHECK(values[i] >= 0 && values[i] < classes, "ClassificationLoss: label ", values[i],
                   " of item ", batch.index().values<std::int64_t>()[i],
                   " is out of range; the model knows classes 0 to ", classes - 1);
  }
}

// Adds a part, after its own parts (from `before` on), which take its weight and name.
void add_components(std::vector<std::pair<std::string, Tensor>>& all, std::size_t before,
                    const std::string& name, double weight, const Tensor& value) {
  const NoGrad no_grad;
  for (std::size_t i = before; i < all.size(); ++i) {
    all[i].first = name + "." + all[i].first;
    if (weight != 1) all[i].second = all[i].second * weight;
  }
  all.emplace_back(name, value.detach());
}

}  // namespace

Tensor RelationLoss::operator()(const LossInput& input) const {
  FLATLAND_CHECK(f != nullptr, "RelationLoss: no function given, for example kullback_leibler_div");
  const RelationData& global = input.global(global_key);
  const Relation& batch = input.batch_relation(batch_key);
  const Tensor embedding = embedding_of(input, embedding_method);
  FusedTsne fused;
  if (find_fused(*this, global, batch, fused) && global.values().dtype() == embedding.dtype()) {
    return kl_student_t(embedding, global.sub_sparse(input.batch.index(), normalize_sub), fused.alpha,
                        fused.epsilon);
  }
  const RelationData q = batch(embedding, input.context);
  FLATLAND_CHECK(q.get_if<FlatRelations>() == nullptr, "RelationLoss: batch relations '", batch_key,
                 "' are flat, but items are compared all with all; use DifferentiablePDist");
  return f(global.sub(input.batch.index(), normalize_sub).to(embedding.dtype()), q.to_square().values());
}

Tensor PositionLoss::operator()(const LossInput& input) const {
  FLATLAND_CHECK(f != nullptr, "PositionLoss: no function given");
  const Tensor embedding = embedding_of(input, embedding_method);
  const Tensor& position = input.batch[position_key];
  FLATLAND_CHECK(position.shape() == embedding.shape(), "PositionLoss: '", position_key, "' is ",
                 position.shape(), " but the embedding is ", embedding.shape(), "; they must have one shape");
  return f(embedding, position.to(embedding.dtype()));
}

Tensor ClassificationLoss::operator()(const LossInput& input) const {
  FLATLAND_CHECK(f != nullptr, "ClassificationLoss: no function given");
  Tensor labels = input.batch[label_key];
  if (labels.dtype() == Dtype::int32) labels = labels.to(Dtype::int64);
  FLATLAND_CHECK(labels.rank() == 1 && labels.dtype() == Dtype::int64, "ClassificationLoss: '", label_key,
                 "' must be a vector of class numbers (int64 or int32); it is ", name(labels.dtype()), ' ',
                 labels.shape());
  const Tensor logits = input.model.classify(input.batch["main"]);
  check_labels(labels, logits.size(-1), input.batch);
  return f(logits, labels);
}

Tensor CompoundLoss::operator()(const LossInput& input) const {
  FLATLAND_CHECK(!losses.empty(), "CompoundLoss: no losses given");
  FLATLAND_CHECK(weights.empty() || weights.size() == losses.size(), "CompoundLoss: ", losses.size(),
                 " losses but ", weights.size(), " weights; give one each, or none");
  Tensor total;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const double weight = weights.empty() ? 1 : weights[i];
    const std::size_t before = input.components ? input.components->size() : 0;
    Tensor value = losses[i].second(input);
    FLATLAND_CHECK(value.defined() && value.numel() == 1, "loss '", losses[i].first,
                   "' must return one value; it returned ", value.defined() ? value.shape() : Shape{0},
                   " values");
    if (weight != 1) value = value * weight;
    if (input.components) add_components(*input.components, before, losses[i].first, weight, value);
    total = total.defined() ? total + value : value;
  }
  return total;
}

}  // namespace flatland
