// Fixture "train_steps": one training step of ParaDime 1.1 (torch 1.13) in float64.
#include <doctest/doctest.h>
#include <flatland/engine/optim.h>
#include <flatland/engine/relation_ops.h>
#include <flatland/kernels/similarity.h>
#include <flatland/models/fully_connected_embedder.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/golden.h"
#include "tests/support/sparse_block.h"

using namespace flatland;
using test::golden;
using test::sparse_block;

namespace {

FullyConnectedEmbedder initial_model() {
  FullyConnectedEmbedder model({.in_dim = 5, .hidden_dims = {8, 4}});
  model.to(Dtype::float64);
  std::vector<NamedTensor> state = model.state();
  for (NamedTensor& p : state) {
    std::string name = p.name;
    for (char& c : name) c = c == '.' ? '_' : c;
    p.tensor = golden("train_steps/init_" + name);
  }
  model.load_state(state);
  return model;
}

void matches(const Tensor& got, const std::string& name, double tolerance) {
  const Tensor want = golden("train_steps/" + name);
  REQUIRE(got.shape() == want.shape());
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    INFO(name << ", value " << i << ": " << got.at(i) << " but " << want.at(i));
    CHECK(std::abs(got.at(i) - want.at(i)) <= tolerance * std::max(1.0, std::abs(want.at(i))));
  }
}

void gradients_match(const FullyConnectedEmbedder& model, const std::string& prefix, double tolerance) {
  for (const NamedTensor& p : model.parameters()) {
    std::string name = p.name;
    for (char& c : name) c = c == '.' ? '_' : c;
    matches(p.tensor.grad(), prefix + "_grad_" + name, tolerance);
  }
}

// The block of the normalised affinities at the batch's items, divided by its sum.
Tensor batch_affinities(const std::vector<std::int64_t>& index) {
  const Tensor value = golden("neighbors/perp_norm_data"), col = golden("neighbors/perp_norm_indices");
  const Tensor offset = golden("neighbors/perp_norm_indptr");
  const auto n = static_cast<std::int64_t>(index.size());
  Tensor block = Tensor::zeros({n, n}, Dtype::float64);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto row = index[static_cast<std::size_t>(i)];
    for (auto e = static_cast<std::int64_t>(offset.at(row));
         e < static_cast<std::int64_t>(offset.at(row + 1)); ++e) {
      for (std::int64_t j = 0; j < n; ++j) {
        if (static_cast<double>(index[static_cast<std::size_t>(j)]) == col.at(e)) {
          block.mutable_matrix<double>()(i, j) = value.at(e);
        }
      }
    }
  }
  return block / sum(block).item();
}

struct Batch {
  std::vector<std::int64_t> index = golden("train_steps/idx").to_vector<std::int64_t>();
  Tensor x = gather_rows(golden("neighbors/X"), Tensor::from(index));
  Tensor p = batch_affinities(index);
};

Tensor composed_kl(const Tensor& p, const Tensor& y) {
  const Tensor q = student_t(pdist(y));
  return kl_divergence(p, condensed_to_square(q / (2.0 * sum(q)), y.size(0)));
}

}  // namespace

TEST_CASE("a t-SNE step is ParaDime's, composed and fused") {
  const Batch batch;
  const SparseBlock block = sparse_block(batch.p);
  const std::vector<std::function<Tensor(const Tensor&)>> losses{
      [&](const Tensor& y) { return composed_kl(batch.p, y); },
      [&](const Tensor& y) { return kl_student_t(y, block); }};
  for (const auto& f : losses) {
    FullyConnectedEmbedder model = initial_model();
    const auto adam = make_optimizer(Adam{}, tensors_of(model.parameters()), 0.01);
    const Tensor loss = f(model.embed(batch.x));
    CHECK(loss.item() == doctest::Approx(0.09118665890769398).epsilon(1e-11));
    loss.backward();
    gradients_match(model, "tsne", 1e-12);
    adam->step();
    for (const NamedTensor& p : model.parameters()) {
      std::string name = p.name;
      for (char& c : name) c = c == '.' ? '_' : c;
      matches(p.tensor, "tsne_after_" + name, 1e-10);
    }
  }
}

TEST_CASE("a UMAP step is ParaDime's") {
  const FullyConnectedEmbedder model = initial_model();
  const Tensor x = golden("neighbors/X");
  const Tensor from = model.embed(gather_rows(x, golden("train_steps/rows").to(Dtype::int64)));
  const Tensor to = model.embed(gather_rows(x, golden("train_steps/cols").to(Dtype::int64)));
  const kernels::CauchyShape shape = kernels::fit_cauchy(0.1, 1.0);
  const Tensor q = modified_cauchy(pair_distances(from, to), shape.a, shape.b);
  const Tensor loss = fuzzy_cross_entropy(golden("train_steps/edge_rel"), q);
  CHECK(loss.item() == doctest::Approx(5.071230932056759).epsilon(1e-6));  // the fit of a and b
  loss.backward();
  gradients_match(model, "umap", 1e-5);
}

TEST_CASE("a position step is ParaDime's") {
  const Batch batch;
  const FullyConnectedEmbedder model = initial_model();
  const Tensor loss = mse_loss(model.embed(batch.x), golden("train_steps/pos"));
  CHECK(loss.item() == doctest::Approx(1.447164825933444).epsilon(1e-12));
  loss.backward();
  gradients_match(model, "position", 1e-12);
}

TEST_CASE("a guided step is ParaDime's") {
  const Batch batch;
  const FullyConnectedEmbedder model = initial_model();
  const Tensor y = model.embed(batch.x);
  const Tensor a = column(batch.x, 2), b = column(y, 0);
  const Tensor r = covariance(a, b) / (std_dev(a) * std_dev(b));
  const Tensor loss = 100.0 * composed_kl(batch.p, y) + (1.0 - square(r));
  CHECK(loss.item() == doctest::Approx(9.648719482804823).epsilon(1e-11));
  loss.backward();
  gradients_match(model, "guided", 1e-11);
}

TEST_CASE("the correlation loss is torch's") {
  Tensor coord = golden("pearson/coord").requires_grad(true);
  const Tensor attr = golden("pearson/attr");
  const Tensor r = covariance(attr, coord) / (std_dev(attr) * std_dev(coord));
  CHECK(r.item() == doctest::Approx(0.5265977902814334).epsilon(1e-13));
  const Tensor loss = 1.0 - square(r);
  CHECK(loss.item() == doctest::Approx(0.7226947672707116).epsilon(1e-13));
  loss.backward();
  const Tensor want = golden("pearson/grad");
  for (std::int64_t i = 0; i < want.numel(); ++i) CHECK(std::abs(coord.grad().at(i) - want.at(i)) < 1e-14);
}
