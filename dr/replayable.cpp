#include <flatland/dr/replayable.h>

#include <algorithm>

namespace flatland {

namespace {

using TensorFunction = Tensor (*)(const Tensor&, const Tensor&);

bool is(const std::function<Tensor(const Tensor&, const Tensor&)>& f, TensorFunction known) {
  const auto* target = f.target<TensorFunction>();
  return target != nullptr && *target == known;
}

bool built_in(const Transform& transform) {
  return transform.target<StudentT>() || transform.target<ModifiedCauchy>() ||
         transform.target<Normalize>() || transform.target<ToSquare>() || transform.target<Symmetrize>();
}

bool built_in(const Relation* relation) {
  const auto* dist = relation == nullptr ? nullptr : relation->target<DifferentiablePDist>();
  return dist != nullptr && dist->metric.built_in() &&
         std::ranges::all_of(dist->transforms, [](const Transform& t) { return built_in(t); });
}

}  // namespace

bool replayable(const Loss& loss, const RelationMap& batch_relations) {
  if (const auto* l = loss.target<PositionLoss>()) return is(l->f, mse_loss);
  if (const auto* l = loss.target<ClassificationLoss>()) return is(l->f, cross_entropy);
  if (const auto* l = loss.target<RelationLoss>()) {
    const bool known = l->f.target<KullbackLeiblerDiv>() || l->f.target<CrossEntropyLoss>();
    return known && built_in(batch_relations.find(l->batch_key));
  }
  if (const auto* l = loss.target<CompoundLoss>()) {
    return std::ranges::all_of(l->losses,
                               [&](const auto& part) { return replayable(part.second, batch_relations); });
  }
  return false;
}

}  // namespace flatland
