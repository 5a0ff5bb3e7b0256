#include <doctest/doctest.h>
#include <flatland/dr/losses.h>
#include <flatland/dr/parametric_dr.h>
#include <flatland/engine/ops.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/edges.h"
#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/mirror_model.h"
#include "tests/support/tensors.h"

#include <cmath>
#include <tuple>

using namespace flatland;
using namespace flatland::test;

// Golden values: tests/golden/train_steps, one training step through ParaDime 1.1.0's own losses in float64.

namespace {

std::vector<NamedTensor> golden_parameters(const std::string& prefix) {
  std::vector<NamedTensor> state;
  for (const int layer : {0, 1, 2}) {
    for (const char* kind : {"weight", "bias"}) {
      const std::string number = std::to_string(layer);
      state.push_back({"layers." + number + "." + kind,
                       golden("train_steps/" + prefix + "_layers_" + number + "_" + kind)});
    }
  }
  return state;
}

FullyConnectedEmbedder golden_model() {
  FullyConnectedEmbedder model({.in_dim = 5, .hidden_dims = {8, 4}});
  model.to(Dtype::float64);
  model.load_state(golden_parameters("init"));
  return model;
}

RelationData golden_relations() {
  return RelationData(SparseRelations{golden("neighbors/perp_norm_indptr").to(Dtype::int64),
                                      golden("neighbors/perp_norm_indices"),
                                      golden("neighbors/perp_norm_data")})
      .marked_symmetric();
}

DifferentiablePDist student_pdist(double alpha, bool to_square = true) {
  DifferentiablePDist relation{.transforms = {StudentT{.alpha = alpha}, Normalize{}}};
  if (to_square) relation.transforms.push_back(ToSquare{});
  return relation;
}

// A batch with everything around it.
struct Scene {
  FullyConnectedEmbedder model = golden_model();
  Dataset data;
  RelationDataMap global = {{"rel", golden_relations()}};
  RelationMap batch_relations = student_pdist(1);
  RelationContext context = {};
  Tensor index = golden("train_steps/idx").to(Dtype::int64);

  Scene() {
    Tensor pos = Tensor::zeros({64, 2}, Dtype::float64);
    const Tensor given = golden("train_steps/pos");
    for (std::int64_t i = 0; i < 20; ++i) {
      for (std::int64_t j = 0; j < 2; ++j) {
        pos.mutable_data<double>()[static_cast<std::int64_t>(index.at(i)) * 2 + j] = given.at(i, j);
      }
    }
    data = Dataset{{"main", golden("neighbors/X")}, {"pca", pos}, {"labels", Tensor::arange(64)}};
  }

  double backward(const Loss& loss, std::vector<std::pair<std::string, Tensor>>* components = nullptr) {
    model.zero_grad();
    const Batch batch(data, index);
    LossInput input{model, batch, global, batch_relations, context};
    input.components = components;
    const Tensor value = loss(input);
    value.backward();
    return value.item();
  }
  void check_gradients(const std::string& prefix, double tolerance, double scale) {
    const std::vector<NamedTensor> expected = golden_parameters(prefix), own = model.parameters();
    for (std::size_t i = 0; i < own.size(); ++i) {
      CAPTURE(own[i].name);
      check_close(own[i].tensor.grad(), expected[i].tensor, tolerance, scale);
    }
  }
};

class NoEmbedding : public Model {
 public:
  std::string name() const override { return "NoEmbedding"; }
  std::int64_t in_dim() const override { return -1; }
};

}  // namespace

TEST_CASE("the t-SNE step equals the golden step, fused and composed") {
  for (const bool fuse : {true, false}) {
    CAPTURE(fuse);
    Scene scene;
    CHECK(scene.backward(RelationLoss{.f = kullback_leibler_div, .fuse = fuse}) ==
          doctest::Approx(0.09118665890769398).epsilon(1e-12));
    scene.check_gradients("tsne_grad", 1e-9, 1e-4);
    std::vector<Tensor> parameters;
    for (const NamedTensor& p : scene.model.parameters()) parameters.push_back(p.tensor);
    make_optimizer(Adam{}, parameters, 0.01)->step();
    const std::vector<NamedTensor> after = golden_parameters("tsne_after");
    for (std::size_t i = 0; i < parameters.size(); ++i)
      check_close(parameters[i], after[i].tensor, 1e-9, 1e-2);
  }
}

TEST_CASE("the position step equals the golden step") {
  Scene scene;
  CHECK(scene.backward(PositionLoss{}) == doctest::Approx(1.447164825933444).epsilon(1e-12));
  scene.check_gradients("position_grad", 1e-11, 1e-3);
}

TEST_CASE("the fused path equals the composed one for any alpha and block") {
  for (const double alpha : {0.5, 1.0, 2.5}) {
    for (const bool normalize_sub : {true, false}) {
      CAPTURE(alpha);
      Scene scene;
      scene.batch_relations = student_pdist(alpha, alpha != 1);
      const double fused =
          scene.backward(RelationLoss{.f = kullback_leibler_div, .normalize_sub = normalize_sub});
      std::vector<Tensor> gradients;
      for (const NamedTensor& p : scene.model.parameters()) gradients.push_back(p.tensor.grad().clone());
      const double composed = scene.backward(
          RelationLoss{.f = kullback_leibler_div, .normalize_sub = normalize_sub, .fuse = false});
      CHECK(fused == doctest::Approx(composed).epsilon(1e-10));
      const auto parameters = scene.model.parameters();
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        check_close(gradients[i], parameters[i].tensor.grad(), 1e-8, 1e-4);
      }
    }
  }
}

TEST_CASE("recipes that the fused kernel does not know take the composed path") {
  Scene scene;
  const double expected = 0.09118665890769398;
  const RelationLoss loss{kullback_leibler_div};
  SUBCASE("relations that are not marked symmetric") {
    scene.global[0].second = scene.global[0].second.marked_symmetric(false);
    CHECK(scene.backward(loss) == doctest::Approx(expected).epsilon(1e-12));
  }
  SUBCASE("dense relations") {
    scene.global[0].second = scene.global[0].second.to_square();
    CHECK(scene.backward(loss) == doctest::Approx(expected).epsilon(1e-12));
  }
  SUBCASE("a trained alpha gets its gradient") {
    Tensor alpha = Tensor::scalar(1, Dtype::float64);
    alpha.requires_grad(true);
    scene.batch_relations =
        DifferentiablePDist{.transforms = {StudentT{.trained_alpha = alpha}, Normalize{}, ToSquare{}}};
    CHECK(scene.backward(loss) == doctest::Approx(expected).epsilon(1e-12));
    CHECK(alpha.grad().defined());
  }
  SUBCASE("another metric") {
    scene.batch_relations =
        DifferentiablePDist{.metric = metric::manhattan, .transforms = {StudentT{}, Normalize{}, ToSquare{}}};
    CHECK(std::abs(scene.backward(loss) - expected) > 1e-6);
  }
  SUBCASE("a user's function of the relations") {
    const RelationLoss mine{[](const Tensor& p, const Tensor& q) { return kullback_leibler_div(p, q) * 2; }};
    CHECK(scene.backward(mine) == doctest::Approx(2 * expected).epsilon(1e-12));
  }
  SUBCASE("the cross-entropy of squares is divided by their rows") {
    const Tensor p = Tensor::full({2, 2}, 0.25, Dtype::float64),
                 q = Tensor::full({2, 2}, 0.5, Dtype::float64);
    CHECK(cross_entropy_loss(p, q).item() == doctest::Approx(2 * std::log(2.0)).epsilon(1e-12));
    CHECK(cross_entropy_loss(reshape(p, {4}), reshape(q, {4})).item() ==
          doctest::Approx(std::log(2.0)).epsilon(1e-12));
  }
}

TEST_CASE("the embedding is computed once a step") {
  struct Counting : Model {
    mutable int calls = 0;
    Tensor weight;
    Counting() { weight = add_parameter("weight", {2, 5}, {.bound = 1}); }
    Tensor encode(const Tensor& x) const override {
      ++calls;
      return linear(x, weight, Tensor());
    }
    std::string name() const override { return "Counting"; }
    std::int64_t in_dim() const override { return 5; }
  };
  Counting model;
  model.to(Dtype::float64);
  const Scene scene;
  const Batch batch(scene.data, scene.index);
  const LossInput input{model, batch, scene.global, scene.batch_relations, scene.context};
  const CompoundLoss both{{{"rel", RelationLoss{kullback_leibler_div}}, {"pos", PositionLoss{}}}};
  both(input);
  CHECK(model.calls == 1);
}

TEST_CASE("a compound loss is the weighted sum and reports weighted parts") {
  Scene scene;
  const Loss relation = RelationLoss{kullback_leibler_div}, position = PositionLoss{};
  const double a = scene.backward(relation), b = scene.backward(position);
  std::vector<std::pair<std::string, Tensor>> parts;
  const CompoundLoss inner{{{"a", relation}, {"b", position}}, {3, 1}};
  const double total = scene.backward(CompoundLoss{{{"inner", inner}, {"b", position}}, {2, 0.5}}, &parts);
  CHECK(total == doctest::Approx(6 * a + 2.5 * b).epsilon(1e-12));
  REQUIRE(parts.size() == 4);
  CHECK(parts[0].first == "inner.a");
  CHECK(parts[0].second.item() == doctest::Approx(6 * a).epsilon(1e-12));
  CHECK(parts[1].first == "inner.b");
  CHECK(parts[1].second.item() == doctest::Approx(2 * b).epsilon(1e-12));
  CHECK(parts[2].first == "inner");
  CHECK(parts[2].second.item() == doctest::Approx(6 * a + 2 * b).epsilon(1e-12));
  CHECK(parts[3].second.item() == doctest::Approx(0.5 * b).epsilon(1e-12));
}

TEST_CASE("batches gather rows of all types") {
  const Scene scene;
  Batch batch(scene.data, scene.index);
  CHECK(batch.size() == 20);
  const Tensor& x = batch["main"];
  CHECK(batch["labels"].to_vector<std::int64_t>() == scene.index.to_vector<std::int64_t>());
  CHECK(x.at(3, 4) == scene.data["main"].at(static_cast<std::int64_t>(scene.index.at(3)), 4));
  batch.select(Tensor::from({std::int64_t{5}}));
  CHECK(batch["main"].at(0, 0) == scene.data["main"].at(5, 0));
  CHECK(contains(error_of([&] { batch["none"]; }), "'none'"));
}

TEST_CASE("errors of losses say what is missing") {
  Scene scene;
  CHECK(contains(
      error_of([&] { scene.backward(RelationLoss{.f = kullback_leibler_div, .global_key = "knn"}); }),
      "'knn'"));
  CHECK(contains(error_of([&] { scene.backward(RelationLoss{.f = kullback_leibler_div, .batch_key = "q"}); }),
                 "'q'"));
  CHECK(contains(error_of([&] { scene.backward(RelationLoss{}); }), "no function"));
  CHECK(contains(error_of([&] { scene.backward(PositionLoss{.position_key = "spectral"}); }), "'spectral'"));
  CHECK(contains(error_of([&] { scene.backward(PositionLoss{.position_key = "main"}); }), "one shape"));
  CHECK(
      contains(error_of([&] { scene.backward(PositionLoss{.embedding_method = "project"}); }), "'project'"));
  CHECK(contains(error_of([&] { scene.backward(ClassificationLoss{}); }), "classify"));
  CHECK(contains(error_of([&] { scene.backward(CompoundLoss{}); }), "no losses"));
  CHECK(contains(error_of([&] {
                   scene.backward(CompoundLoss{{{"a", PositionLoss{}}}, {1, 2}});
                 }),
                 "2 weights"));
  CHECK(contains(error_of([&] { scene.backward(Loss{}); }), "empty loss"));
  scene.batch_relations = [](const Tensor& y) { return RelationData(FlatRelations{column(y, 0)}); };
  CHECK(contains(error_of([&] { scene.backward(RelationLoss{kullback_leibler_div}); }), "flat"));
  NoEmbedding none;
  CHECK(contains(error_of([&] { call_model(none, "embed", scene.data["main"]); }), "NoEmbedding"));
}

TEST_CASE("the UMAP step over edges equals the golden step") {
  Scene scene;
  scene.batch_relations = DistsFromTo{.transforms = {ModifiedCauchy{.min_dist = 0.1}}};
  const Batch batch =
      batch_of_edges(scene.data, golden("train_steps/rows").to(Dtype::int64).to_vector<std::int64_t>(),
                     golden("train_steps/cols").to(Dtype::int64).to_vector<std::int64_t>(),
                     golden("train_steps/edge_rel"), 3);
  const LossInput input{scene.model, batch, scene.global, scene.batch_relations, scene.context};
  const Tensor value = RelationLoss{cross_entropy_loss}(input);
  value.backward();
  CHECK(value.item() == doctest::Approx(5.071230932056759).epsilon(1e-6));  // a and b are fitted there
  scene.check_gradients("umap_grad", 1e-5, 1e-2);
}

TEST_CASE("the guided step equals the golden step") {
  Scene scene;
  CHECK(scene.backward(CompoundLoss{{{"kl", RelationLoss{kullback_leibler_div}},
                                     {"guide", CorrelationLoss{.attribute = 2, .embedding_dim = 0}}},
                                    {100, 1}}) == doctest::Approx(9.648719482804823).epsilon(1e-12));
  scene.check_gradients("guided_grad", 1e-9, 1e-3);
}

namespace {

const RelationDataMap no_relations;
const RelationMap no_batch_relations;
const RelationContext no_context;

}  // namespace

TEST_CASE("correlation and its gradient are the golden ones, and a constant coordinate has none") {
  const Tensor attribute = golden("pearson/attr"), given = golden("pearson/coord");
  Tensor coordinate = reshape(given, {100, 1}).clone();
  coordinate.requires_grad(true);
  MirrorModel model;
  const Dataset data{{"main", Tensor::zeros({100, 1}, Dtype::float64)},
                     {"attribute", reshape(attribute, {100, 1})}};
  Batch batch(data, Tensor::arange(100));
  const auto loss_of = [&](const Tensor& y) {
    batch.replace("main", y);
    return CorrelationLoss{.data_key = "attribute"}(
        LossInput{model, batch, no_relations, no_batch_relations, no_context});
  };
  const Tensor loss = loss_of(coordinate);
  loss.backward();
  CHECK(loss.item() == doctest::Approx(0.7226947672707116).epsilon(1e-12));
  check_close(reshape(coordinate.grad(), {100}), golden("pearson/grad"), 1e-10, 1e-3);
  Tensor constant = Tensor::full({100, 1}, 3.0, Dtype::float64);
  constant.requires_grad(true);
  const Tensor none = loss_of(constant);
  none.backward();
  CHECK(none.item() == 1);
  for (const double g : constant.grad().to_vector<double>()) CHECK(g == 0);
  CHECK(contains(error_of([&] {
                   batch.replace("main", coordinate);
                   CorrelationLoss{.attribute = 1, .data_key = "attribute"}(
                       LossInput{model, batch, no_relations, no_batch_relations, no_context});
                 }),
                 "attribute is 1; it is a column, counted from 0"));
}

TEST_CASE("triplets of sampled edges have PyTorch's loss and gradients, but for its offset of 1e-6") {
  // Items 0-31 anchors, 32-63 positives, 64-95 negatives.
  Tensor x =
      concat({golden("triplet/anchor"), golden("triplet/positive"), golden("triplet/negative")}).clone();
  x.requires_grad(true);
  MirrorModel model;
  const Dataset data(Tensor::zeros({96, 2}, Dtype::float64));
  std::vector<std::int64_t> source, target;
  for (std::int64_t i = 0; i < 32; ++i) {
    source.insert(source.end(), {i, i});
    target.insert(target.end(), {32 + i, 64 + i});
  }
  Tensor labels = Tensor::zeros({64}, Dtype::float64);
  Batch batch = batch_of_edges(data, source, target, labels, 1);
  batch.replace("main", x);
  for (const auto& [margin, tag, want] :
       {std::tuple{1.0, "_1.0", 1.0859072653819126}, {0.2, "_0.2", 0.4956481937362416}}) {
    x.zero_grad();
    const LossInput input{model, batch, no_relations, no_batch_relations, no_context};
    const Tensor loss = TripletLoss{.margin = margin}(input);
    loss.backward();
    CHECK(loss.item() == doctest::Approx(want).epsilon(1e-6));
    // Triplets 0 and 1 have coincident points, whose gradient is 0 here.
    const Tensor grad = x.grad();
    for (const auto& [name, begin] : {std::pair{"anchor", 0}, {"positive", 32}, {"negative", 64}})
      check_close(slice_rows(grad, begin + 2, begin + 32),
                  slice_rows(golden(std::string("triplet/grad_") + name + tag), 2, 32), 1e-4, 1e-2);
    for (const double g : grad.to_vector<double>()) CHECK(std::isfinite(g));
  }
  const Batch plain(data, Tensor::arange(4));
  CHECK(contains(error_of([&] {
                   TripletLoss{}(LossInput{model, plain, no_relations, no_batch_relations, no_context});
                 }),
                 "neg_sampling_rate = 1"));
}

// Golden values: tests/golden/modified_cauchy, edges of which one joins points that coincide.
TEST_CASE("distances of edges, Cauchy's similarity and cross-entropy have the golden values and gradients") {
  struct Shape {
    const char* tag;
    double a, b, loss;
  };
  const Tensor labels = golden("modified_cauchy/rel");
  for (const Shape& s : {Shape{"0.1_1.0", 1.5769434601962196, 0.8950608779914887, 0.9607595287460796},
                         {"0.01_1.0", 1.8956058659900246, 0.8006378439765344, 0.9394297998259165},
                         {"0.5_1.0", 0.583030020479462, 1.3341669929263487, 1.1317806835444846},
                         {"0.25_2.0", 0.41627349693884963, 0.9218551322340262, 1.1357967074703135}}) {
    CAPTURE(s.tag);
    Tensor pairs = golden("modified_cauchy/ft");
    pairs.requires_grad(true);
    const RelationData q = DistsFromTo{.transforms = {ModifiedCauchy{.a = s.a, .b = s.b}}}(pairs, no_context);
    check_close(q.values(), golden(std::string("modified_cauchy/chain_q_") + s.tag), 1e-12);
    const Tensor loss = cross_entropy_loss(labels, q.values());
    CHECK(loss.item() == doctest::Approx(s.loss).epsilon(1e-12));
    loss.backward();
    check_close(pairs.grad(), golden(std::string("modified_cauchy/chain_grad_") + s.tag), 1e-10, 1e-3);
  }
}

TEST_CASE("reconstruction compares what comes back with what went in") {
  MirrorModel model;
  const Dataset data(Tensor::full({4, 3}, 2.0));
  const Batch batch(data, Tensor::arange(4));
  CHECK(ReconstructionLoss{}(LossInput{model, batch, no_relations, no_batch_relations, no_context}).item() ==
        4);
}
