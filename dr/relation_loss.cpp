#include <flatland/dr/distinct_items.h>
#include <flatland/dr/losses.h>

namespace flatland {

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

// --- the loss ---

namespace {

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

// All relations as one block.
SparseBlock whole_block(const SparseRelations& form, bool normalize) {
  const std::int64_t n = form.row_offset.numel() - 1;
  return {n, slice_rows(form.row_offset, 0, n), slice_rows(form.row_offset, 1, n + 1), form.col,
          normalize ? divided_by_sum(form.values) : form.values};
}

// The dense block of a batch, whose items may repeat.
Tensor block_of(const RelationData& global, const Batch& batch, bool normalize) {
  if (!batch.repeats()) return global.sub(batch.index(), normalize);
  const NoGrad no_grad;
  const DistinctItems items(batch.index(), global.items());
  const Tensor rows = gather_rows(global.sub(items.values()), items.places);
  const Tensor block = transpose(gather_rows(transpose(rows), items.places));
  return normalize ? divided_by_sum(block) : block;
}

Tensor over_edges(const RelationLoss& loss, const LossInput& input, const Relation& relation,
                  const BatchEdges& edges) {
  const Tensor embedding = input.embed(loss.embedding_method);
  const Tensor pairs = reshape(gather_rows(embedding, edges.ends), {2, edges.size(), embedding.size(1)});
  const RelationData q = relation(pairs, input.context);
  return loss.f(edges.labels.to(q.values().dtype()), q.values());
}

}  // namespace

Tensor RelationLoss::operator()(const LossInput& input) const {
  FLATLAND_CHECK(f != nullptr, "RelationLoss: no function given, for example kullback_leibler_div");
  const Relation& batch = input.batch_relation(batch_key);
  if (batch.target<DistsFromTo>() != nullptr) {
    const BatchEdges* edges = input.batch.edges();
    FLATLAND_CHECK(edges != nullptr, "RelationLoss: batch relations '", batch_key,
                   "' are DistsFromTo, which relates sampled pairs; set the phase's sampling = "
                   "Sampling::negative_edge, or use DifferentiablePDist");
    return over_edges(*this, input, batch, *edges);
  }
  const RelationData& global = input.global(global_key);
  const Tensor embedding = input.embed(embedding_method);
  FusedTsne fused;
  if (!input.batch.repeats() && find_fused(*this, global, batch, fused) &&
      global.values().dtype() == embedding.dtype()) {
    const SparseBlock block = input.batch.whole()
                                  ? whole_block(*global.get_if<SparseRelations>(), normalize_sub)
                                  : global.sub_sparse(input.batch.index(), normalize_sub);
    return kl_student_t(embedding, block, fused.alpha, fused.epsilon);
  }
  const RelationData q = batch(embedding, input.context);
  FLATLAND_CHECK(q.get_if<FlatRelations>() == nullptr, "RelationLoss: batch relations '", batch_key,
                 "' are flat, but items are compared all with all; use DifferentiablePDist");
  return f(block_of(global, input.batch, normalize_sub).to(embedding.dtype()), q.to_square().values());
}

}  // namespace flatland
