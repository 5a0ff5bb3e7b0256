// A whole published run, step by step, with everything random pinned: parametric UMAP of 5,000 MNIST images
// as ParaDime's documentation has it, 20 steps of 500 edges with 3 random items each.
#include <doctest/doctest.h>
#include <flatland/dr/losses.h>
#include <flatland/dr/relations.h>
#include <flatland/engine/optim.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/edges.h"
#include "tests/support/replay.h"
#include "tests/support/tensors.h"
#include "tests/support/ulps.h"

#include <cmath>

using namespace flatland;
using namespace flatland::test;

TEST_CASE("the UMAP run follows the reference's losses step by step") {
  const std::optional<Dataset> mnist = replayed_mnist();
  if (!mnist) return;
  Tensor images = (*mnist)["main"].to(Dtype::float64);
  for (double& v : images.mutable_values<double>()) v = std::round(v * 255) / 255;
  const Dataset data(images);
  FullyConnectedEmbedder model({.in_dim = 784, .hidden_dims = {100, 100, 100}});
  model.to(Dtype::float64);
  load_first_weights(model, "replay_umap");

  const RelationDataMap global;
  const RelationContext context;
  // a and b as the reference fitted them
  const RelationMap relations =
      DistsFromTo{.transforms = {ModifiedCauchy{.a = 1.5769434601962196, .b = 0.8950608779914887}}};
  const RelationLoss loss{cross_entropy_loss};
  std::vector<Tensor> parameters;
  for (const NamedTensor& p : model.parameters()) parameters.push_back(p.tensor);
  const auto optimizer = make_optimizer(Adam{}, parameters, 0.01);
  const Tensor rows = golden("replay_umap/rows"), cols = golden("replay_umap/cols"),
               expected = golden("replay_umap/loss");
  Tensor labels = Tensor::zeros({2000}, Dtype::float64);
  for (std::int64_t e = 0; e < 2000; e += 4) labels.mutable_data<double>()[e] = 1;
  double worst = 0;
  for (std::int64_t step = 0; step < 20; ++step) {
    std::vector<std::int64_t> source, target;
    for (std::int64_t e = 0; e < 2000; ++e) {
      source.push_back(static_cast<std::int64_t>(rows.at(step, e)));
      target.push_back(static_cast<std::int64_t>(cols.at(step, e)));
    }
    const Batch batch = batch_of_edges(data, source, target, labels, 3);
    const LossInput input{model, batch, global, relations, context};
    optimizer->zero_grad();
    const Tensor value = loss(input);
    value.backward();
    optimizer->step();
    worst = test::worse(worst, std::abs(value.item() / expected.at(step) - 1));
  }
  CAPTURE(worst);
  CHECK(worst < 1e-9);
  const NoGrad no_grad;
  check_close(model.embed(data.first(200)["main"]), golden("replay_umap/emb_after"), 1e-7, 1);
}
