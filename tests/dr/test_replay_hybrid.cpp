// A whole published run, step by step, with everything random pinned: ParaDime's hybrid embedding and
// classification of 5,000 MNIST images, 40 steps of 500.
#include <doctest/doctest.h>
#include <flatland/dr/losses.h>
#include <flatland/dr/relations.h>
#include <flatland/engine/optim.h>
#include <flatland/models/classifier.h>

#include "tests/support/replay.h"
#include "tests/support/tensors.h"
#include "tests/support/ulps.h"

#include <cmath>

using namespace flatland;
using namespace flatland::test;

namespace {

// Gaussians of the reference's widths: log p falls by beta for each squared distance.
void check_betas(const Tensor& dist, const Tensor& p) {
  const Tensor beta = golden("replay_hybrid/beta_first200");
  for (std::int64_t i = 0; i < 200; ++i) {
    const double near = dist.at(i, 0) * dist.at(i, 0), far = dist.at(i, 89) * dist.at(i, 89);
    CHECK(std::log(p.at(i, 0) / p.at(i, 89)) / (far - near) == doctest::Approx(beta.at(i)).epsilon(1e-4));
  }
}

}  // namespace

TEST_CASE("the hybrid run follows the reference's losses step by step") {
  const std::optional<Dataset> mnist = replayed_mnist();
  if (!mnist) return;
  const Dataset& data = *mnist;
  const RelationContext context;
  const RelationData near = NeighborBasedPDist{.n_neighbors = 90}(data["main"], context);
  const RelationData weights = PerplexityBasedRescale{.perplexity = 30}(near, context);
  check_betas(near.values(), weights.values());
  const RelationDataMap global = {{"rel", Normalize{}(Symmetrize{}(weights))}};
  CHECK(global[0].second.values().numel() == 629970);
  const RelationMap batch_relations =
      DifferentiablePDist{.transforms = {StudentT{.alpha = 1}, Normalize{}, ToSquare{}}};

  HybridEmbedder model({.in_dim = 784, .n_classes = 10, .hidden_dims = {100, 50}});
  load_first_weights(model, "replay_hybrid");  // by PyTorch 1.13 in float64, as all golden values here
  const CompoundLoss loss{{{"kl", RelationLoss{kullback_leibler_div}}, {"ce", ClassificationLoss{}}},
                          {100, 1}};
  std::vector<Tensor> parameters;
  for (const NamedTensor& p : model.parameters()) parameters.push_back(p.tensor);
  const auto optimizer = make_optimizer(Adam{}, parameters, 0.001);
  const Tensor order = reshape(golden("replay_hybrid/perm").to(Dtype::int64), {20000});
  const Tensor expected = golden("replay_hybrid/loss"), expected_kl = golden("replay_hybrid/loss_kl"),
               expected_ce = golden("replay_hybrid/loss_ce");
  double worst = 0;
  for (std::int64_t step = 0; step < 40; ++step) {
    const Batch batch(data, slice_rows(order, 500 * step, 500 * step + 500));
    std::vector<std::pair<std::string, Tensor>> parts;
    LossInput input{model, batch, global, batch_relations, context};
    input.components = &parts;
    optimizer->zero_grad();
    const Tensor value = loss(input);
    value.backward();
    optimizer->step();
    worst = test::worse(worst, std::abs(value.item() / expected.at(step) - 1));
    CHECK(parts[0].second.item() == doctest::Approx(100 * expected_kl.at(step)).epsilon(2e-4));
    CHECK(parts[1].second.item() == doctest::Approx(expected_ce.at(step)).epsilon(2e-4));
  }
  CAPTURE(worst);
  CHECK(worst < 1e-5);  // float32 against float64; 1.5e-7 when this was written
  const NoGrad no_grad;
  check_close(model.embed(slice_rows(data["main"], 0, 200)), golden("replay_hybrid/emb_after"), 1e-3, 1);
}
