// Losses of single items, of pairs by label, and of an attribute.
#include <flatland/dr/losses.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/relation_ops.h>
#include <flatland/kernels/reduce.h>

namespace flatland {

namespace {

void check_labels(const Tensor& labels, std::int64_t classes, const Batch& batch) {
  if (labels.device() != Device::cpu || batch.index().device() != Device::cpu) return;
  const auto values = labels.values<std::int64_t>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    FLATLAND_CHECK(values[i] >= 0 && values[i] < classes, "ClassificationLoss: label ", values[i],
                   " of item ", batch.index().values<std::int64_t>()[i],
                   " is out of range; the model knows classes 0 to ", classes - 1);
  }
}

// v / its largest absolute value; 0 where that is negligible. The factor counts as a constant in gradients.
Tensor scaled(const Tensor& v, double negligible) {
  const Tensor factor = [&] {
    const NoGrad no_grad;
    const Tensor size = abs(v);
    Tensor most = Tensor::empty({}, v.dtype(), v.device());
    kernels::max<double>(current_exec(v.device()), size.matrix<double>(), most.mutable_data<double>());
    const Tensor varies = less(Tensor::full({}, negligible, v.dtype(), v.device()), most);
    return varies / (most + (1.0 - varies));
  }();
  return v * factor;
}

// The deviations of v from its mean, in units of the largest, so that no square of them overflows or gets
// lost, whatever the scale of v and its distance from 0; all 0 where they are rounding only. A correlation
// and its gradient do not depend on the units.
Tensor deviations(const Tensor& v) {
  const Tensor near = scaled(v.to(Dtype::float64), 1e-300);
  return scaled(near - mean(near), 0x1p-50);
}

}  // namespace

Tensor PositionLoss::operator()(const LossInput& input) const {
  FLATLAND_CHECK(f != nullptr, "PositionLoss: no function given");
  const Tensor embedding = input.embed(embedding_method);
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
  const Tensor logits = input.classify();
  check_labels(labels, logits.size(-1), input.batch);
  return f(logits, labels);
}

Tensor ReconstructionLoss::operator()(const LossInput& input) const {
  FLATLAND_CHECK(f != nullptr, "ReconstructionLoss: no function given");
  const Tensor& x = input.batch[input.model.input_key()];
  const Tensor again = input.model.decode(input.embed("encode"));
  FLATLAND_CHECK(again.shape() == x.shape(), "ReconstructionLoss: decode(encode(x)) is ", again.shape(),
                 " but x is ", x.shape(), "; they must have one shape");
  return f(again, x);
}

Tensor TripletLoss::operator()(const LossInput& input) const {
  const BatchEdges* edges = input.batch.edges();
  FLATLAND_CHECK(edges != nullptr && edges->rate == 1,
                 "TripletLoss: it takes sampled edges with one random item each; set the phase's sampling = "
                 "Sampling::negative_edge and neg_sampling_rate = 1");
  const Tensor embedding = input.embed(embedding_method);
  const Tensor ends = gather_rows(embedding, edges->ends);
  const std::int64_t pairs = edges->size();
  const Tensor dist =
      reshape(pair_distances(slice_rows(ends, 0, pairs), slice_rows(ends, pairs, 2 * pairs)), {pairs / 2, 2});
  return mean(relu(column(dist, 0) - column(dist, 1) + margin));
}

Tensor CorrelationLoss::operator()(const LossInput& input) const {
  const Tensor& data = input.batch[data_key];
  const Tensor embedding = input.embed(embedding_method);
  FLATLAND_CHECK(data.rank() == 2 && attribute >= 0 && attribute < data.size(1), "CorrelationLoss: '",
                 data_key, "' is ", data.shape(), " but attribute is ", attribute,
                 "; it is a column, counted from 0");
  FLATLAND_CHECK(embedding_dim >= 0 && embedding_dim < embedding.size(1),
                 "CorrelationLoss: the embedding is ", embedding.shape(), " but embedding_dim is ",
                 embedding_dim, "; it is a column, counted from 0");
  const Tensor x = deviations(column(data, attribute));
  const Tensor y = deviations(column(embedding, embedding_dim));
  constexpr double tiny = 1e-30;  // no correlation, and no gradient, where one is constant
  const Tensor loss = 1.0 - square(sum(x * y)) / (sum(square(x)) * sum(square(y)) + tiny);
  return loss.to(embedding.dtype());
}

}  // namespace flatland
