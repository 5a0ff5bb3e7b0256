#include <doctest/doctest.h>
#include <flatland/dr/relations.h>
#include <flatland/kernels/knn_approximate.h>
#include <tests/support/replay.h>

using namespace flatland;

TEST_CASE("an approximate search finds nearly all neighbours among 20,000 images") {
  const auto mnist = test::replayed_mnist(20000);
  if (!mnist) return;
  const Tensor images = (*mnist)["main"].to(Dtype::float32);
  const NeighborBasedPDist relation{.n_neighbors = 15, .search = NeighborSearch::approximate};
  const Tensor found = relation(images, {}).values();
  CHECK(kernels::knn_recall<float>(current_exec(), metric::euclidean, images.matrix<float>(),
                                   found.matrix<float>(), 500, 1) >= 0.95);
}
