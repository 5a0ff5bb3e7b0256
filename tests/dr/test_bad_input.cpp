// What a user can get wrong: a clear error or a sane result, never a crash, NaN or a hang.
#include <doctest/doctest.h>
#include <flatland/dr/routines.h>
#include <flatland/models/classifier.h>
#include <flatland/models/coordinate_table.h>
#include <flatland/models/fully_connected_embedder.h>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

#include <cmath>
#include <limits>

using namespace flatland;
using namespace flatland::test;

namespace {

std::vector<std::string> warnings;

ParametricTSNE::Options small(std::int64_t in_dim, double perplexity) {
  warnings.clear();
  return {.in_dim = in_dim,
          .perplexity = perplexity,
          .hidden_dims = {8},
          .epochs = 3,
          .init_epochs = 2,
          .batch_size = 20,
          .on_event = [](const Event& e) {
            if (e.kind == Event::Kind::warning) warnings.push_back(e.text);
          }};
}

// Trains and says what went wrong; checks that nothing that is not finite comes out.
std::string tsne_error(const Tensor& x, double perplexity) {
  return error_of([&] {
    ParametricTSNE tsne(small(x.size(1), perplexity));
    tsne.train(x);
    CHECK(std::isfinite(sum(tsne.apply(x)).item()));
    for (const PhaseHistory& phase : tsne.history()) {
      for (const double loss : phase.loss) CHECK(std::isfinite(loss));
    }
  });
}

ParametricDR classifier() {
  ParametricDR dr({.model = Classifier({.in_dim = 4, .n_classes = 3}), .losses = ClassificationLoss{}});
  dr.add_training_phase({.epochs = 2, .batch_size = 20});
  return dr;
}

ParametricDR positions() {
  return ParametricDR(
      {.model = FullyConnectedEmbedder({.in_dim = 4}), .losses = PositionLoss{.position_key = "target"}});
}

Dataset with_target(std::int64_t n) {
  return {{"main", random_tensor({n, 4}, 1)}, {"target", random_tensor({n, 2}, 2)}};
}

}  // namespace

TEST_CASE("NaN or infinity in the data: first row, column and number, on every device") {
  Tensor x = random_tensor({30, 4}, 1);
  x.mutable_data<float>()[5 * 4 + 3] = std::nanf("");
  x.mutable_data<float>()[9 * 4] = std::numeric_limits<float>::infinity();
  for (const Device device : devices()) {
    const std::string message = tsne_error(x.to(device), 3);
    CHECK(contains(message, "2 values"));
    CHECK(contains(message, "row 5, column 3 (nan"));
    const std::string of_list = error_of([&] { check_finite("list", reshape(x, {120}).to(device)); });
    CHECK(contains(of_list, "row 23, column 0 (nan"));
  }
}

TEST_CASE("values too large for the model's type") {
  Tensor x = Tensor::zeros({30, 4}, Dtype::float64);
  x.mutable_data<double>()[6] = 1e200;
  CHECK(contains(tsne_error(x, 3), "row 1, column 2"));
}

TEST_CASE("labels of another length") {
  CHECK(contains(error_of([] {
                   classifier().train({{"main", random_tensor({30, 4}, 1)}, {"labels", Tensor::arange(29)}});
                 }),
                 "'labels' has 29 rows but 'main' has 30"));
}

TEST_CASE("labels out of range name the item") {
  for (const std::int64_t wrong : {-1, 3}) {
    Tensor labels = Tensor::zeros({30}, Dtype::int64);
    labels.mutable_data<std::int64_t>()[17] = wrong;
    const std::string message = error_of([&] {
      classifier().train({{"main", random_tensor({30, 4}, 1)}, {"labels", labels}});
    });
    CHECK(contains(message, "label " + std::to_string(wrong) + " of item 17"));
    CHECK(contains(message, "0 to 2"));
  }
  CHECK(contains(
      error_of([] {
        classifier().train({{"main", random_tensor({30, 4}, 1)}, {"labels", random_tensor({30}, 2)}});
      }),
      "class numbers"));
  // int32 labels are as good.
  CHECK(error_of([] {
          classifier().train(
              {{"main", random_tensor({30, 4}, 1)}, {"labels", Tensor::zeros({30}, Dtype::int32)}});
        }) == "");
}

TEST_CASE("empty data") {
  CHECK(contains(error_of([] { Dataset(Tensor::empty({0, 4})); }), "no rows"));
  CHECK(contains(error_of([] { positions().prepare(Dataset()); }), "empty"));
  CHECK(contains(error_of([] {
                   ParametricTSNE tsne(small(4, 2));
                   tsne.train(Dataset());
                 }),
                 "empty"));
}

TEST_CASE("three items or fewer") {
  CHECK(contains(tsne_error(random_tensor({1, 4}, 1), 30), "1 item has no neighbours"));
  CHECK(contains(tsne_error(random_tensor({2, 4}, 1), 30), "lower the perplexity, or give more data"));
  CHECK(contains(tsne_error(random_tensor({3, 4}, 1), 30), "lower the perplexity, or give more data"));
  CHECK(tsne_error(random_tensor({3, 4}, 1), 1.5) == "");
  CHECK(tsne_error(random_tensor({4, 4}, 1), 2) == "");
}

TEST_CASE(
    "a perplexity that wants more neighbours than there are: one warning; more than possible: an error") {
  CHECK(tsne_error(random_tensor({40, 4}, 1), 30) == "");
  REQUIRE(warnings.size() == 1);
  CHECK(contains(warnings[0], "perplexity 30 wants 90 neighbours but there are 39"));
  const std::string message = tsne_error(random_tensor({20, 4}, 1), 30);
  CHECK(contains(message, "perplexity 30"));
  CHECK(contains(message, "each of the 20 items has 19"));
  for (const double wrong : {0.0, -3.0, 1.0, std::nan(""), HUGE_VAL}) {
    CHECK(contains(tsne_error(random_tensor({40, 4}, 1), wrong), "perplexity"));
  }
}

TEST_CASE("more neighbours than items") {
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 4}),
                   .global_relations = NeighborBasedPDist{.n_neighbors = 500},
                   .losses = PositionLoss{.position_key = "target"}});
  dr.add_training_phase({.epochs = 1});
  dr.train(with_target(30));
  CHECK(dr.global_relation_data()[0].second.values().shape() == Shape({30, 29}));
}

TEST_CASE("constant columns, and all rows equal") {
  Tensor x = random_tensor({40, 4}, 1);
  for (std::int64_t i = 0; i < 40; ++i) x.mutable_data<float>()[i * 4 + 1] = 3;
  CHECK(tsne_error(x, 10) == "");
  CHECK(warnings.empty());
  CHECK(tsne_error(Tensor::full({40, 4}, 0.1), 10) == "");
  REQUIRE(warnings.size() == 1);
  CHECK(contains(warnings[0], "40 of 40 rows"));
  CHECK(tsne_error(Tensor::zeros({40, 4}), 10) == "");
}

TEST_CASE("values of any scale") {
  for (const double scale : {1e-15, 1e-5, 1e5, 1e9}) {
    CAPTURE(scale);
    const std::string message = tsne_error(random_tensor({40, 4}, 1) * scale, 10);
    // Sane, or a hint to scale the data.
    CHECK((message.empty() || contains(message, "scale the data")));
  }
}

TEST_CASE("unknown keys are found before anything is computed") {
  int stages = 0;
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 4}),
                   .losses = {{"position", PositionLoss{.position_key = "pca"}},
                              {"relation", RelationLoss{kullback_leibler_div}}},
                   .on_event = [&](const Event&) { ++stages; }});
  CHECK(contains(error_of([&] { dr.add_training_phase({.loss_keys = {"postion"}}); }),
                 "no loss 'postion'; the routine has 'position', 'relation'"));
  CHECK(contains(error_of([&] { dr.add_training_phase({}); }), "no loss 'loss'"));
  dr.add_training_phase({.loss_keys = {"position"}});
  CHECK(contains(error_of([&] { dr.train(with_target(30)); }), "'pca'"));
  ParametricDR other(
      {.model = FullyConnectedEmbedder({.in_dim = 4}), .losses = RelationLoss{kullback_leibler_div}});
  other.add_training_phase({});
  CHECK(contains(error_of([&] { other.train(with_target(30)); }), "global relations 'rel'"));
  CHECK(stages == 0);
  CHECK(contains(error_of([] { with_target(5)["labels"]; }), "'target'"));
}

TEST_CASE("a routine needs a model, losses and phases") {
  CHECK(contains(error_of([] { ParametricDR({.losses = PositionLoss{}}); }), "no model"));
  ParametricDR none({.model = FullyConnectedEmbedder({.in_dim = 4})});
  CHECK(contains(error_of([&] { none.add_training_phase({}); }), "the routine has none"));
  CHECK(contains(error_of([&] { none.train(with_target(5)); }), "no training phase"));
  CHECK(contains(error_of([&] { none.run_epochs(1); }), "not prepared"));
  CHECK(contains(error_of([] {
                   ParametricDR({.model = FullyConnectedEmbedder({.in_dim = 4}),
                                 .losses = {{"a", PositionLoss{}}, {"a", PositionLoss{}}}});
                 }),
                 "twice"));
}

TEST_CASE("numbers of a phase without a meaning") {
  ParametricDR dr = positions();
  CHECK(contains(error_of([&] { dr.add_training_phase({.epochs = -1}); }), "epochs is -1"));
  CHECK(contains(error_of([&] { dr.add_training_phase({.batch_size = 0}); }), "batch_size is 0"));
  CHECK(contains(error_of([&] { dr.add_training_phase({.batch_size = -5}); }), "batch_size is -5"));
  CHECK(
      contains(error_of([&] { dr.add_training_phase({.batches_per_epoch = 0}); }), "batches_per_epoch is 0"));
  CHECK(contains(error_of([&] { dr.add_training_phase({.loss_keys = {}}); }), "no loss_keys"));
  CHECK(contains(error_of([&] {
                   dr.add_training_phase({.loss_weights = {1, 2}});
                 }),
                 "1 losses but 2 weights"));
  CHECK(contains(error_of([&] { dr.add_training_phase({.loss_weights = {std::nan("")}}); }),
                 "'phase 1': the weight of loss 'loss' is nan; it must be finite"));
  CHECK(contains(error_of([&] { dr.add_training_phase({.learning_rate = -1}); }), "learning_rate is -1"));
  CHECK(contains(error_of([&] { dr.add_training_phase({.learning_rate = HUGE_VAL}); }), "learning_rate"));
  CHECK(contains(error_of([&] { dr.add_training_phase({.report_interval = 0}); }), "report_interval is 0"));
  for (const double wrong : {-0.5, 1.5, std::nan("")})
    CHECK(contains(error_of([&] { dr.add_training_phase({.schedule = {.final_fraction = wrong}}); }),
                   "the schedule's final_fraction is"));
  CHECK(dr.training_phases().empty());
  CHECK(contains(error_of([] { FullyConnectedEmbedder({.in_dim = -4}); }), "-4"));
  CHECK(contains(
      error_of([] { ParametricDR({.model = FullyConnectedEmbedder({.in_dim = 4}), .threads = -2}); }),
      "-2 threads"));
}

TEST_CASE("losses of sampled edges say what they need when the phase is added") {
  ParametricDR dr({.model = FullyConnectedEmbedder({.in_dim = 4}),
                   .global_relations = PDist{},
                   .batch_relations = DistsFromTo{},
                   .losses = {{"triplet", TripletLoss{}},
                              {"both", CompoundLoss{{{"near", PositionLoss{}}, {"kin", TripletLoss{}}}}},
                              {"nan", CompoundLoss{{{"near", PositionLoss{}}}, {std::nan("")}}},
                              {"uneven", CompoundLoss{{{"near", PositionLoss{}}}, {1, 2}}},
                              {"relation", RelationLoss{cross_entropy_loss}}}});
  const auto error = [&](std::vector<std::string> losses, Sampling sampling, int rate,
                         std::string edges = "rel") {
    return error_of([&] {
      dr.add_training_phase({.name = "p",
                             .sampling = sampling,
                             .edge_rel_key = std::move(edges),
                             .neg_sampling_rate = rate,
                             .loss_keys = std::move(losses)});
    });
  };
  constexpr Sampling k_edges = Sampling::negative_edge;
  CHECK(
      contains(error({"triplet"}, Sampling::standard, 1),
               "training phase 'p': loss 'triplet': a TripletLoss takes edges between items of one kind; set "
               "sampling = Sampling::negative_edge"));
  CHECK(contains(error({"both"}, k_edges, 5),
                 "'p': loss 'both': part 'kin': a TripletLoss sets one random item against each edge, but "
                 "neg_sampling_rate is 5; set it to 1"));
  CHECK(contains(error({"nan"}, k_edges, 5), "'p': loss 'nan': part 'near': its weight is nan"));
  CHECK(contains(error({"uneven"}, k_edges, 5), "'p': loss 'uneven': CompoundLoss: 1 losses but 2 weights"));
  CHECK(contains(error({"triplet"}, k_edges, 1, "same_label"),
                 "no global relations 'same_label' to sample edges from; the routine has 'rel'"));
  CHECK(contains(error({"relation"}, Sampling::whole, 1),
                 "'p': loss 'relation': its batch relations 'rel' are "
                 "DistsFromTo, which relates sampled pairs; set sampling = Sampling::negative_edge"));
  CHECK(dr.training_phases().empty());
  CHECK(error({"relation", "triplet", "both"}, k_edges, 1) == "");
}

TEST_CASE("a batch larger than the data takes all items") {
  ParametricDR large = positions(), exact = positions();
  large.add_training_phase({.epochs = 3, .batch_size = 1000000000000});
  exact.add_training_phase({.epochs = 3, .batch_size = 30});
  large.train(with_target(30));
  exact.train(with_target(30));
  CHECK(large.history()[0].loss == exact.history()[0].loss);
}

TEST_CASE("zero epochs leave the initial weights") {
  ParametricDR dr = positions();
  dr.add_training_phase({.epochs = 0});
  const Tensor before = dr.model().parameters()[0].tensor.clone();
  dr.train(with_target(30));
  CHECK(dr.trained());
  CHECK(same_bits(dr.model().parameters()[0].tensor, before));
  REQUIRE(dr.history().size() == 1);
  CHECK(dr.history()[0].loss.empty());
  CHECK(dr.apply(random_tensor({3, 4}, 1)).shape() == Shape({3, 2}));
}

TEST_CASE("apply says what is wrong") {
  ParametricDR dr = positions();
  dr.add_training_phase({.epochs = 1});
  CHECK(error_of([&] {
          dr.apply(random_tensor({3, 4}, 1));
        }) == "apply: the model has not been trained; call train first");
  dr.train(with_target(30));
  CHECK(contains(error_of([&] {
                   dr.apply(random_tensor({3, 5}, 1));
                 }),
                 "5 columns but the model was trained on 4"));
  CHECK(contains(error_of([&] { dr.apply(random_tensor({5}, 1)); }), "5 columns"));
  CHECK(contains(error_of([&] { dr.apply(random_tensor({3, 4}, 1), {.method = "project"}); }), "'project'"));
  CHECK(contains(error_of([&] { dr.apply(random_tensor({3, 4}, 1), {.method = "classify"}); }), "classify"));
  CHECK(contains(error_of([&] {
                   dr.apply(random_tensor({3, 4}, 1), {.batch_size = 0});
                 }),
                 "batch_size is 0"));
  CHECK(contains(error_of([&] {
                   dr.apply(Dataset(random_tensor({3, 4}, 1)), {.key = "features"});
                 }),
                 "'features'"));
  CHECK(contains(error_of([&] { dr.apply(Dataset()); }), "empty"));
  CHECK(contains(error_of([&] { dr.apply(Tensor()); }), "matrix"));
  Tensor x = random_tensor({9, 4}, 1);
  x.mutable_data<float>()[7 * 4 + 2] = std::nanf("");
  CHECK(contains(error_of([&] { dr.apply(x); }), "row 7, column 2"));
  CHECK(dr.apply(Tensor::empty({0, 4})).shape() == Shape({0, 2}));
}

TEST_CASE("data that does not fit the model or the first call") {
  ParametricDR dr = positions();
  dr.add_training_phase({.epochs = 1});
  CHECK(contains(error_of([&] {
                   dr.train({{"main", random_tensor({9, 5}, 1)}, {"target", random_tensor({9, 2}, 1)}});
                 }),
                 "takes 4 columns"));
  dr.train(with_target(30));
  CHECK(contains(error_of([&] { dr.train(with_target(31)); }), "differs"));
  CHECK(error_of([&] { dr.train(with_target(30)); }) == "");
  dr.add_training_phase({.epochs = 1});
  dr.prepare(with_target(31));
  dr.train(with_target(31));
  CHECK(dr.history().size() == 2);
  CHECK(contains(error_of([] {
                   ParametricDR p = positions();
                   p.add_training_phase({.epochs = 1});
                   p.train({{"main", random_tensor({9, 4}, 1)}, {"target", random_tensor({9, 3}, 1)}});
                 }),
                 "one shape"));
}

TEST_CASE("a loss that explodes or does not train anything stops with an error") {
  ParametricDR explode = positions();
  explode.add_training_phase({.epochs = 50, .optimizer = SGD{}, .learning_rate = 1e30});
  CHECK(contains(error_of([&] { explode.train(with_target(30)); }), "learning_rate"));
  ParametricDR constant({.model = FullyConnectedEmbedder({.in_dim = 4}),
                         .losses = [](const LossInput&) { return Tensor::scalar(1); }});
  constant.add_training_phase({});
  CHECK(contains(error_of([&] { constant.train(with_target(30)); }), "does not depend"));
  ParametricDR many({.model = FullyConnectedEmbedder({.in_dim = 4}),
                     .losses = [](const LossInput& input) { return input.embed(); }});
  many.add_training_phase({});
  CHECK(contains(error_of([&] { many.train(with_target(30)); }), "one value"));
}

TEST_CASE("what a model cannot take is found before the first step") {
  const Tensor x = clouds(90, 6, 3, 7);
  const auto table = [](double noise) {
    return ParametricDR({.model = CoordinateTable({.items = 90}),
                         .derived_data = {{"pca", pca_of()}},
                         .losses = PositionLoss{},
                         .training_phases = {{.epochs = 1, .input_noise = noise}}});
  };
  ParametricDR noisy = table(0.5), quiet = table(0);
  CHECK(contains(error_of([&] { noisy.prepare(x); }),
                 "'phase 1': input_noise is 0.5, but the CoordinateTable takes 'indices' of int64"));
  CHECK(contains(error_of([&] {
                   quiet.prepare({{"main", x}, {"indices", slice_rows(Tensor::arange(91), 1, 91)}});
                 }),
                 "'indices' has item 90, but the CoordinateTable holds items 0 to 89 only"));
  quiet.prepare(x);
  CHECK(contains(error_of([&] { quiet.add_training_phase({.name = "second", .input_noise = 1}); }),
                 "'second': input_noise is 1"));
  bool related = false;
  ParametricDR derived(
      {.model = FullyConnectedEmbedder({.in_dim = 3, .input_key = "few"}),
       .global_relations = PDist{},
       .derived_data = {{"few", pca_of("main", 2)}},
       .losses = [](const LossInput& in) { return sum(in.embed()); },
       .on_event = [&](const Event& e) { related = related || contains(e.text, "relations"); },
       .training_phases = {{.epochs = 1}}});
  CHECK(contains(error_of([&] { derived.prepare(x); }),
                 "the data 'few' is (90, 2) but the model takes 3 columns"));
  CHECK(!related);
}

TEST_CASE("a label without a logit is found before the first step") {
  std::vector<std::int64_t> labels(90, 1);
  labels[77] = 3;
  ParametricDR dr({.model = HybridEmbedder({.in_dim = 6, .n_classes = 3}),
                   .losses = ClassificationLoss{},
                   .training_phases = {{.epochs = 1, .batch_size = 10}}});
  CHECK(contains(error_of([&] {
                   dr.train({{"main", clouds(90, 6, 3, 7)}, {"labels", Tensor::from(labels)}});
                 }),
                 "label 3 of item 77 is out of range; the model knows classes 0 to 2"));
  CHECK(!dr.trained());
}
