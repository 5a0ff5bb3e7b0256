// Training phases on every device: step by step, and recorded.
#include <doctest/doctest.h>
#include <flatland/dr/phase_run.h>
#include <flatland/engine/ops.h>
#include <flatland/models/classifier.h>
#include <flatland/models/coordinate_table.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/devices.h"
#include "tests/support/tensors.h"

#include <functional>
#include <string>
#include <vector>

using namespace flatland;
using namespace flatland::test;

namespace {

RelationData affinities(const Tensor& x, double perplexity) {
  return NeighborBasedPDist{
      .transforms = {PerplexityBasedRescale{.perplexity = perplexity}, Symmetrize{}, Normalize{}}}(x, {})
      .to_sparse()
      .marked_symmetric();
}

// Encodes into the plane and back.
class SmallAutoencoder : public Model {
 public:
  SmallAutoencoder()
      : there_(std::make_shared<Sequential>(std::vector<std::int64_t>{6, 5, 2}, activation::tanh)),
        back_(std::make_shared<Sequential>(std::vector<std::int64_t>{2, 5, 6}, activation::tanh)) {
    add_child("there", there_);
    add_child("back", back_);
    initialize(0);
  }
  Tensor encode(const Tensor& x) const override { return there_->forward(x); }
  Tensor decode(const Tensor& z) const override { return back_->forward(z); }
  std::string name() const override { return "SmallAutoencoder"; }
  std::int64_t in_dim() const override { return 6; }
  bool replayable() const override { return true; }

 private:
  std::shared_ptr<Sequential> there_, back_;
};

// What a phase leaves after its epochs.
struct Outcome {
  std::vector<double> losses;
  std::vector<Tensor> parameters;
  int recorded_kernels = 0;
};

struct Case {
  std::string name;
  Sampling sampling;
  Loss loss;
  std::function<ModelHandle()> model;
  bool recorded = true;  // on a GPU
};

// 30 items in batches of 10.
Outcome train(const Case& c, const Loss& loss, Device device, std::int64_t most_recorded = 100) {
  constexpr std::int64_t n = 30;
  const Tensor x = clouds(n, 6, 3, 1);
  std::vector<std::int64_t> labels;
  std::vector<float> weights;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(i % 3), weights.push_back(i % 5 == 0 ? 0.0f : 0.5f);
  const Dataset data = Dataset{{"main", x},
                               {"pca", random_tensor({n, 2}, 2)},
                               {"labels", Tensor::from(labels)},
                               {"weights", Tensor::from(weights)}}
                           .to(device);
  const RelationDataMap global{{"rel", affinities(x, 5).to(device)}};
  const RelationMap relations{
      {"rel", DifferentiablePDist{.transforms = {StudentT{}, Normalize{}, ToSquare{}}}},
      {"edges", DistsFromTo{.transforms = {ModifiedCauchy{}}}}};
  const LossMap losses = loss;
  const ModelHandle model = c.model();
  model->to(device);
  PhaseRun run({.epochs = 3, .batch_size = 10, .sampling = c.sampling, .neg_sampling_rate = 1},
               {.model = *model,
                .data = data,
                .global_relations = global,
                .batch_relations = relations,
                .losses = losses,
                .seed = 5,
                .device = device,
                .most_recorded_steps = most_recorded});
  Outcome outcome;
  while (!run.done()) outcome.losses.push_back(run.run_epoch({}).loss);
  for (const NamedTensor& p : model->parameters())
    outcome.parameters.push_back(p.tensor.detach().to(Device::cpu));
  outcome.recorded_kernels = run.recorded_kernels();
  return outcome;
}

ModelHandle network() {
  return FullyConnectedEmbedder({.in_dim = 6, .hidden_dims = {8}});
}
ModelHandle hybrid() {
  return HybridEmbedder({.in_dim = 6, .n_classes = 3, .hidden_dims = {8}});
}
ModelHandle table() {
  return CoordinateTable({.items = 30});
}
ModelHandle autoencoder() {
  return SmallAutoencoder();
}

std::vector<Case> cases() {
  using enum Sampling;
  const RelationLoss kl{kullback_leibler_div}, edges{.f = cross_entropy_loss, .batch_key = "edges"};
  const CorrelationLoss guide{.attribute = 4};
  const CompoundLoss triplets{{{"kl", kl}, {"triplets", TripletLoss{}}}, {700, 1}};
  const CompoundLoss guided{{{"position", PositionLoss{}}, {"guide", guide}}, {2, 1}};
  return {{"positions of weighted items", weighted, PositionLoss{}, network},
          {"classes of weighted items", weighted, ClassificationLoss{}, hybrid},
          {"a correlation", standard, guide, network},
          {"positions and a correlation of weighted items", weighted, guided, network},
          {"reconstruction", standard, ReconstructionLoss{}, autoencoder},
          {"reconstruction of weighted items", weighted, ReconstructionLoss{}, autoencoder},
          {"relations of weighted items", weighted, kl, network, false},
          {"edges", negative_edge, edges, network},
          {"triplets", negative_edge, TripletLoss{}, network},
          {"triplets and relations", negative_edge, triplets, network, false},
          {"a table of coordinates", standard, kl, table},
          {"a table of coordinates, all items", whole, kl, table},
          {"a table of coordinates, weighted items", weighted, PositionLoss{}, table},
          {"a table of coordinates, edges", negative_edge, edges, table}};
}

}  // namespace

TEST_CASE("a recorded step of parametric t-SNE is few kernels on every device") {
  constexpr int most = 12;  // each costs its launch, which a step of a small network feels
  const std::int64_t n = 120, batch = 40;
  const Tensor x = clouds(n, 8, 4, 1);
  for (const Device device : devices()) {
    FullyConnectedEmbedder model({.in_dim = 8, .hidden_dims = {10, 5}});
    model.to(device);
    const Dataset data(x.to(device));
    const RelationDataMap global{{"rel", affinities(x, 10).to(device)}};
    const RelationMap relations = DifferentiablePDist{.transforms = {StudentT{}, Normalize{}, ToSquare{}}};
    const LossMap losses = RelationLoss{kullback_leibler_div};
    PhaseRun run({.name = "embedding", .epochs = 3, .batch_size = batch}, {.model = model,
                                                                           .data = data,
                                                                           .global_relations = global,
                                                                           .batch_relations = relations,
                                                                           .losses = losses,
                                                                           .device = device});
    for (int epoch = 0; epoch < 3; ++epoch) run.run_epoch({});
    INFO(std::string(name(device)));
    CHECK(run.recorded_kernels() <= most * (n / batch));
    CHECK((run.recorded_kernels() > 0) == (device == Device::cuda));
  }
}

// The same items and edges are drawn everywhere, so losses differ by rounding alone. A loss that is a lambda
// runs step by step, and what is recorded has its bits; batches of edges have other sizes then, so that sums
// over their items are rounded otherwise.
TEST_CASE(
    "all losses, samplings and a table train as on the CPU, recorded as step by step, on every device") {
  for (const Case& c : cases()) {
    const Outcome want = train(c, c.loss, Device::cpu);
    for (const Device device : devices()) {
      INFO(c.name, " on ", std::string(name(device)));
      const Outcome got = train(c, c.loss, device);
      REQUIRE(got.losses.size() == 3);
      for (std::size_t e = 0; e < 3; ++e)
        CHECK(got.losses[e] == doctest::Approx(want.losses[e]).epsilon(1e-4));
      CHECK((got.recorded_kernels > 0) == (device == Device::cuda && c.recorded));
      const Outcome steps = train(
          c, [&](const LossInput& input) { return c.loss(input); }, device);
      CHECK(steps.recorded_kernels == 0);
      for (std::size_t p = 0; p < got.parameters.size(); ++p) {
        if (c.sampling == Sampling::negative_edge) {
          check_close(got.parameters[p], steps.parameters[p], 1e-4, 1);
        } else {
          CHECK(same_bits(got.parameters[p], steps.parameters[p]));
        }
      }
    }
  }
}

TEST_CASE("epochs of very many steps are not recorded and train alike, on every device") {
  for (const Device device : devices()) {
    for (const Case& c : cases()) {
      if (c.name != "edges" && c.name != "a correlation") continue;
      const Outcome all = train(c, c.loss, device, c.sampling == Sampling::standard ? 3 : 2);
      const Outcome none = train(c, c.loss, device, 1);
      CHECK((all.recorded_kernels > 0) == (device == Device::cuda));
      CHECK(none.recorded_kernels == 0);
      for (std::size_t e = 0; e < 3; ++e)
        CHECK(none.losses[e] == doctest::Approx(all.losses[e]).epsilon(1e-4));
    }
  }
}
