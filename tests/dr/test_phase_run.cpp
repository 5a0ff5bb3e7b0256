#include <doctest/doctest.h>
#include <flatland/dr/phase_run.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/devices.h"
#include "tests/support/tensors.h"

using namespace flatland;
using namespace flatland::test;

TEST_CASE("a recorded step of parametric t-SNE is few kernels on every device") {
  constexpr int most = 12;  // each costs its launch, which a step of a small network feels
  const std::int64_t n = 120, batch = 40;
  const Tensor x = clouds(n, 8, 4, 1);
  const RelationData affinities = NeighborBasedPDist{.transforms = {PerplexityBasedRescale{.perplexity = 10},
                                                                    Symmetrize{}, Normalize{}}}(x, {})
                                      .to_sparse()
                                      .marked_symmetric();
  for (const Device device : devices()) {
    FullyConnectedEmbedder model({.in_dim = 8, .hidden_dims = {10, 5}});
    model.to(device);
    const Dataset data(x.to(device));
    const RelationDataMap global{{"rel", affinities.to(device)}};
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
