// Two whole published runs with everything random pinned, in double: ParaDime's linear maps of 442 patients
// of a diabetes study, of which one learns principal components and the other metric scaling.
#include <doctest/doctest.h>
#include <flatland/dr/parametric_dr.h>
#include <flatland/dr/pca.h>
#include <flatland/dr/readers.h>
#include <flatland/engine/ops.h>

#include "tests/support/golden.h"
#include "tests/support/tensors.h"

#include <algorithm>
#include <filesystem>

using namespace flatland;
using namespace flatland::test;

// Golden values: tests/golden/mds, by PyTorch 1.13 in float64, on data in float32, from the initial weights
// and orders of its seed 42; the losses are those that ParaDime's document prints.

namespace {

// y = x W^T.
class LinearMap : public Model {
 public:
  explicit LinearMap(const Tensor& weight) {
    weight_ = add_parameter("weight", weight.shape(), {});
    to(Dtype::float64);
    weight_.copy_from(weight);
  }
  Tensor encode(const Tensor& x) const override { return linear(x, weight_, Tensor()); }
  std::string name() const override { return "LinearMap"; }
  std::int64_t in_dim() const override { return 10; }

 private:
  Tensor weight_;
};

// The study's ten columns, of mean 0 and length 1.
Tensor patients() {
  const auto root = std::filesystem::path(FLATLAND_GOLDEN_DIR).parent_path().parent_path();
  const Table table = read_csv(root / "examples/data/diabetes.csv");
  const Tensor x = table.numbers_except({"progression"}, Dtype::float64);
  const Tensor centred = x - mean(x, 0);
  return centred / sqrt(sum(square(centred), 0));
}

Tensor as_float32(const Tensor& x) {
  return x.to(Dtype::float32).to(Dtype::float64);
}

}  // namespace

TEST_CASE("the linear map learns principal components as the reference does, epoch by epoch") {
  const Tensor x = patients();
  const Pca pca = Pca::fit(x, 10);
  // The reference's signs; each of its learned maps is close to the component.
  const Tensor final_map = golden("mds/pca_final"), along = sum(final_map * pca.components, 1);
  const Tensor sign = along / abs(along);
  const Dataset data{{"main", as_float32(x)}, {"pca", as_float32(pca.transform(x) * sign)}};
  LinearMap model(golden("mds/pca_init"));
  const Tensor weight = model.parameters()[0].tensor;
  const auto optimizer = make_optimizer(Adam{}, {weight}, 0.01);
  const RelationDataMap global;
  const RelationMap batch_relations;
  const RelationContext context;
  const Tensor order = golden("mds/pca_perm").to(Dtype::int64), want = golden("mds/pca_epoch_loss");
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    const Tensor items = reshape(slice_rows(order, epoch, epoch + 1), {442});
    double total = 0;
    for (std::int64_t begin = 0; begin < 442; begin += 50) {
      const Batch batch(data, slice_rows(items, begin, std::min<std::int64_t>(begin + 50, 442)));
      optimizer->zero_grad();
      const Tensor loss = PositionLoss{}(LossInput{model, batch, global, batch_relations, context});
      loss.backward();
      optimizer->step();
      total += loss.item();
    }
    CHECK(total == doctest::Approx(want.at(epoch)).epsilon(1e-9));
  }
  check_close(weight.detach(), final_map, 1e-9, 1);
}

TEST_CASE("metric scaling follows the reference's losses, step by step") {
  const auto sum_of_squares = [](const Tensor& p, const Tensor& q) { return sum(square(p - q)); };
  ParametricDR scaling({.model = LinearMap(golden("mds/mds_init")),
                        .global_relations = PDist{},
                        .batch_relations = DifferentiablePDist{},
                        .losses = RelationLoss{.f = sum_of_squares, .normalize_sub = false},
                        .initialize = false});
  scaling.add_training_phase({.epochs = 100, .sampling = Sampling::whole});
  scaling.train(as_float32(patients()));
  const std::vector<double>& got = scaling.history()[0].loss;
  const Tensor want = golden("mds/mds_loss");
  REQUIRE(got.size() == 100);
  for (std::size_t step = 0; step < got.size(); ++step)
    CHECK(got[step] == doctest::Approx(want.at(static_cast<std::int64_t>(step))).epsilon(1e-9));
}
