#include <flatland/dr/losses.h>

#include <algorithm>

namespace flatland {

Tensor call_model(const Model& model, std::string_view method, const Tensor& x) {
  if (method == "embed") return model.embed(x);
  if (method == "encode") return model.encode(x);
  if (method == "decode") return model.decode(x);
  if (method == "classify") return model.classify(x);
  detail::fail("unknown method '", method, "'; a model has embed, encode, decode and classify");
}

const RelationData& LossInput::global(std::string_view key) const {
  return at(global_relations, key);
}

const Relation& LossInput::batch_relation(std::string_view key) const {
  const Relation* relation = batch_relations.find(key);
  FLATLAND_CHECK(relation != nullptr, "no batch relations '", key, "'; name them in batch_relations");
  return *relation;
}

namespace {

// What is computed without gradients is not kept: a later loss may need them.
template <class F>
Tensor once(Tensor& kept, F&& compute) {
  if (kept.defined()) return kept;
  const Tensor value = compute();
  if (grad_enabled()) kept = value;
  return value;
}

}  // namespace

Tensor LossInput::embed(std::string_view method) const {
  if (method == "embed") return once(embedding_, [&] { return model.embed_shared(shared()); });
  if (method == "encode") return once(encoding_, [&] { return model.encode_shared(shared()); });
  return call_model(model, method, items());
}

Tensor LossInput::classify() const {
  return model.classify_shared(shared());
}

Tensor LossInput::shared() const {
  return once(shared_, [&] { return model.shared(items()); });
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

namespace {

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
