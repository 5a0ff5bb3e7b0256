// Gradients of every transform and every loss, in double, with points that coincide: there a distance has a
// kink, and its gradient is 0.
#include <doctest/doctest.h>
#include <flatland/dr/losses.h>
#include <flatland/engine/ops.h>

#include "tests/support/edges.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/tensors.h"

using namespace flatland;
using namespace flatland::test;

namespace {

using Inputs = std::vector<Tensor>;

// Eight points, of which 0, 3 and 7 are one, and 1 and 4.
Tensor points(std::int64_t dims = 2) {
  Tensor y = random_tensor({8, dims}, 11, Dtype::float64) * 2.0;
  for (const auto& [i, like] : {std::pair{3, 0}, {7, 0}, {4, 1}})
    for (std::int64_t c = 0; c < dims; ++c) y.mutable_data<double>()[i * dims + c] = y.at(like, c);
  return y;
}

// Its input is the embedding; a matrix decodes and classifies.
class Given : public Model {
 public:
  Tensor encode(const Tensor& x) const override { return x; }
  Tensor decode(const Tensor& z) const override { return flatland::tanh(matmul(z, mix)); }
  Tensor classify(const Tensor& x) const override { return matmul(x, mix); }
  std::string name() const override { return "Given"; }
  std::int64_t in_dim() const override { return -1; }

  Tensor mix = random_tensor({2, 2}, 12, Dtype::float64);
};

// Losses of points(), which are the items of a data set.
struct Scene {
  Given model;
  Dataset data{{"main", Tensor::zeros({8, 2}, Dtype::float64)},
               {"position", random_tensor({8, 2}, 13, Dtype::float64)},
               {"attribute", random_tensor({8, 3}, 14, Dtype::float64)},
               {"labels", Tensor::from(std::vector<std::int64_t>{0, 1, 1, 0, 1, 0, 1, 1})}};
  RelationDataMap global = {{"rel", NeighborBasedPDist{.transforms = {PerplexityBasedRescale{.perplexity = 2},
                                                                      Symmetrize{}, Normalize{}}}(
                                        random_tensor({8, 4}, 15, Dtype::float64), {})}};
  RelationContext context = {};

  // With respect to the points and the matrix, and to `parameters` that the batch relations have.
  void check(const std::string& name, Batch& batch, const Loss& loss,
             const std::function<RelationMap(const Inputs&)>& relations = {}, Inputs parameters = {}) {
    const Tensor matrix = model.mix;
    Inputs inputs{gather_rows(points(), batch.index()), matrix};
    inputs.insert(inputs.end(), parameters.begin(), parameters.end());
    const auto value = [&](const Inputs& in) {
      batch.replace("main", in[0]);
      model.mix = in[1];
      const RelationMap all = relations ? relations(in) : RelationMap();
      return loss(LossInput{model, batch, global, all, context});
    };
    check_gradients(name, value, inputs);
    model.mix = matrix;
  }
};

RelationMap student(double alpha) {
  return DifferentiablePDist{.transforms = {StudentT{.alpha = alpha}, Normalize{}, ToSquare{}}};
}

// Edges between points that coincide, from an item to itself, and others, a random item each.
Batch edges_of(const Dataset& data) {
  return batch_of_edges(data, {0, 0, 1, 1, 6, 6, 2, 2, 5, 5}, {3, 5, 2, 4, 2, 5, 2, 7, 6, 1},
                        Tensor::from({1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0}), 1);
}

}  // namespace

TEST_CASE("gradients of transforms and of relations of pairs, points that coincide among them") {
  const Transform mine = [](const RelationData& d) { return d.with_values(exp(-d.values())); };
  const Functional squares{[](const Tensor& v) { return square(v); }};
  const std::vector<std::pair<std::string, std::vector<Transform>>> chains{
      {"Identity", {Identity{}}},
      {"StudentT", {StudentT{}}},
      {"StudentT 0.5", {StudentT{.alpha = 0.5}}},
      {"StudentT 2.5", {StudentT{.alpha = 2.5}}},
      {"ModifiedCauchy", {ModifiedCauchy{}}},
      {"ModifiedCauchy a b", {ModifiedCauchy{.a = 1.2, .b = 0.7}}},
      {"Normalize", {StudentT{}, Normalize{}}},
      {"Normalize square", {squares, ToSquare{}, Normalize{}}},
      {"Normalize flat", {StudentT{}, ToFlat{}, Normalize{}}},
      {"NormalizeRows", {squares, NormalizeRows{}}},
      {"NormalizeRows square", {StudentT{}, ToSquare{}, NormalizeRows{}}},
      {"Symmetrize", {Symmetrize{}}},
      {"Symmetrize product", {StudentT{}, Symmetrize{.subtract_product = true}}},
      {"Symmetrize rows", {StudentT{}, NormalizeRows{}, Symmetrize{}}},
      {"Symmetrize rows product", {StudentT{}, NormalizeRows{}, Symmetrize{.subtract_product = true}}},
      {"ZeroDiagonal", {ZeroDiagonal{}}},
      {"ZeroDiagonal square", {ToSquare{}, ZeroDiagonal{}}},
      {"Functional", {squares}},
      {"lambda", {mine}},
      {"ToSquare", {ToSquare{}}},
      {"ToTriangular", {StudentT{}, NormalizeRows{}, ToTriangular{}}},
      {"ToFlat", {ToFlat{}}},
      {"t-SNE", {StudentT{}, Normalize{}, ToSquare{}}}};
  const Tensor y = points();
  for (const auto& chain : chains) {
    const DifferentiablePDist relation{.transforms = chain.second};
    check_gradients(chain.first, [&](const Inputs& in) { return relation(in[0], {}).values(); }, {y});
  }
  const Tensor a = Tensor::from({1.3}), b = Tensor::from({0.8});
  const auto values = [](const Tensor& x, std::vector<Transform> transforms) {
    return DifferentiablePDist{.transforms = std::move(transforms)}(x, {}).values();
  };
  check_gradients("StudentT and its alpha",
                  [&](const Inputs& in) {
                    return values(in[0], {StudentT{.trained_alpha = in[1]}, Normalize{}});
                  },
                  {y, a});
  check_gradients("ModifiedCauchy and its a and b",
                  [&](const Inputs& in) {
                    return values(in[0], {ModifiedCauchy{.trained_a = in[1], .trained_b = in[2]}});
                  },
                  {y, a, b});
  const Tensor pairs = reshape(concat({points(), points()}), {2, 8, 2});
  Tensor apart = pairs.clone();
  for (int i = 20; i < 32; ++i) apart.mutable_data<double>()[i] += 0.7;  // pairs 0 and 1 coincide
  check_gradients("DistsFromTo", [](const Inputs& in) { return DistsFromTo{}(in[0], {}).values(); }, {apart});
}

TEST_CASE("gradients of distances by every metric, points that coincide among them") {
  for (const Metric& m :
       {metric::euclidean, metric::sqeuclidean, metric::manhattan, metric::chebyshev, metric::cosine,
        metric::correlation, metric::minkowski(3), metric::minkowski(1.5)}) {
    const DifferentiablePDist relation{.metric = m};
    check_gradients(std::string(flatland::name(m.kind)),
                    [&](const Inputs& in) { return relation(in[0], {}).values(); }, {points(4)});
  }
  const TensorMetric mine = [](const Tensor& a, const Tensor& b) { return sqrt(sum(square(a - b), 1)); };
  check_gradients("a user's",
                  [&](const Inputs& in) { return DifferentiablePDist{.metric = mine}(in[0], {}).values(); },
                  {points()});
}

TEST_CASE("gradients of losses over items, points that coincide among them") {
  Scene scene;
  Batch batch(scene.data, Tensor::from(std::vector<std::int64_t>{7, 2, 0, 1, 6, 4, 3}));
  scene.check("PositionLoss", batch, PositionLoss{.position_key = "position"});
  scene.check("ClassificationLoss", batch, ClassificationLoss{});
  scene.check("ReconstructionLoss", batch, ReconstructionLoss{});
  scene.check("CorrelationLoss", batch,
              CorrelationLoss{.attribute = 2, .embedding_dim = 1, .data_key = "attribute"});
  scene.check("lambda", batch, [](const LossInput& input) { return mean(square(input.embed() - 1.0)); });
  for (const double alpha : {1.0, 2.5})
    for (const bool fuse : {true, false})
      for (const bool normalize_sub : {true, false}) {
        const RelationLoss loss{.f = kullback_leibler_div, .normalize_sub = normalize_sub, .fuse = fuse};
        const auto relations = [=](const Inputs&) { return student(alpha); };
        scene.check("KL divergence", batch, loss, relations);
      }
  const auto trained = [](const Inputs& in) {
    return RelationMap(
        DifferentiablePDist{.transforms = {StudentT{.trained_alpha = in[2]}, Normalize{}, ToSquare{}}});
  };
  scene.check("KL divergence and alpha", batch, RelationLoss{kullback_leibler_div}, trained,
              {Tensor::from({1.3})});
  const auto rows = [](const Inputs&) {
    return RelationMap(DifferentiablePDist{.transforms = {StudentT{}, NormalizeRows{}}});
  };
  scene.check("cross-entropy of squares", batch, RelationLoss{cross_entropy_loss}, rows);
  const auto kl = [](const Inputs&) { return student(1); };
  scene.check("CompoundLoss", batch,
              CompoundLoss{{{"kl", RelationLoss{kullback_leibler_div}},
                            {"classes", ClassificationLoss{}},
                            {"guide", CorrelationLoss{.data_key = "attribute"}}},
                           {3, 0.5, 2}},
              kl);
  Batch whole(scene.data);
  whole.select_whole(Tensor::arange(8));
  scene.check("KL divergence of all items", whole, RelationLoss{kullback_leibler_div}, kl);
  Batch repeated(scene.data);
  repeated.select_repeated(Tensor::from(std::vector<std::int64_t>{2, 5, 5, 0, 3, 2}));
  scene.check("KL divergence of items that repeat", repeated, RelationLoss{kullback_leibler_div}, kl);
}

TEST_CASE("gradients of losses over edges, ends that coincide among them") {
  Scene scene;
  Batch batch = edges_of(scene.data);
  scene.check("TripletLoss", batch, TripletLoss{});
  scene.check("TripletLoss of a small margin", batch, TripletLoss{.margin = 0.2});
  const auto cauchy = [](const Inputs&) {
    return RelationMap(DistsFromTo{.transforms = {ModifiedCauchy{.min_dist = 0.1}}});
  };
  scene.check("cross-entropy of edges", batch, RelationLoss{cross_entropy_loss}, cauchy);
  const auto trained = [](const Inputs& in) {
    return RelationMap(DistsFromTo{.transforms = {ModifiedCauchy{.trained_a = in[2], .trained_b = in[3]}}});
  };
  scene.check("cross-entropy of edges, a and b", batch, RelationLoss{cross_entropy_loss}, trained,
              {Tensor::from({1.3}), Tensor::from({0.8})});
}

TEST_CASE("what cannot pass a gradient on says so") {
  Tensor values = random_tensor({4, 2}, 16, Dtype::float64);
  values.requires_grad(true);
  const RelationData near =
      NeighborRelations{reshape(Tensor::from({1, 2, 0, 2, 0, 1, 0, 1}), {4, 2}), values};
  const RelationData square = DifferentiablePDist{.transforms = {ToSquare{}}}(values, {});
  const std::vector<std::pair<RelationData, Transform>> cases{
      {near, PerplexityBasedRescale{.perplexity = 1.5}},
      {near, ConnectivityBasedRescale{.n_neighbors = 2}},
      {near, Symmetrize{}},
      {near, NormalizeRows{}},
      {near, ToSquare{}},
      {near, ToSparse{}},
      {square, ToSparse{}},
      {square, ToNeighbor{}}};
  for (const auto& c : cases) {
    CHECK(contains(error_of([&] { c.second(c.first); }), "carry a gradient"));
    const NoGrad no_grad;
    CHECK(error_of([&] { c.second(c.first); }) == "");
  }
}
