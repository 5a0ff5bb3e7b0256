#include <flatland/dr/replayable.h>

#include <algorithm>

namespace flatland {

namespace {

// A loss of losses.h, which decides nothing on the host.
bool built_in(const std::function<Tensor(const Tensor&, const Tensor&)>& f) {
  return f.target<MSELoss>() || f.target<L1Loss>() || f.target<SmoothL1Loss>() || f.target<BCELoss>() ||
         f.target<BCEWithLogitsLoss>() || f.target<CrossEntropy>();
}

bool built_in(const Transform& transform) {
  return transform.target<StudentT>() || transform.target<ModifiedCauchy>() ||
         transform.target<Normalize>() || transform.target<ToSquare>() || transform.target<Symmetrize>();
}

template <class R>
bool built_in_as(const Relation& relation) {
  const auto* r = relation.target<R>();
  return r != nullptr && r->metric.built_in() &&
         std::ranges::all_of(r->transforms, [](const Transform& t) { return built_in(t); });
}

}  // namespace

bool replayable(const Loss& loss, const RelationMap& batch_relations, Sampling sampling) {
  const bool edges = sampling == Sampling::negative_edge;
  // A recorded batch of edges has as many items as there may be at most; a loss over items would count some
  // twice.
  if (const auto* l = loss.target<PositionLoss>()) return !edges && built_in(l->f);
  if (const auto* l = loss.target<ClassificationLoss>()) return !edges && built_in(l->f);
  if (const auto* l = loss.target<ReconstructionLoss>()) return !edges && built_in(l->f);
  if (loss.target<CorrelationLoss>()) return !edges;
  if (loss.target<TripletLoss>()) return edges;
  if (const auto* l = loss.target<RelationLoss>()) {
    const Relation* relation = batch_relations.find(l->batch_key);
    const bool known = l->f.target<KullbackLeiblerDiv>() || l->f.target<CrossEntropyLoss>();
    if (relation == nullptr || !known) return false;
    if (edges) return built_in_as<DistsFromTo>(*relation);
    // Items that repeat are looked for.
    return sampling != Sampling::weighted && built_in_as<DifferentiablePDist>(*relation);
  }
  if (const auto* l = loss.target<CompoundLoss>()) {
    return std::ranges::all_of(
        l->losses, [&](const auto& part) { return replayable(part.second, batch_relations, sampling); });
  }
  return false;
}

}  // namespace flatland
