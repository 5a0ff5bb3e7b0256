// Losses: PyTorch's values and gradients, gradient checks, reductions.
#include <doctest/doctest.h>
#include <flatland/engine/ops.h>

#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/gradients.h"
#include "tests/support/random_tensor.h"

using namespace flatland;
using test::check_gradients;
using test::contains;
using test::distance;
using test::error_of;
using test::Function;
using test::golden;
using test::Inputs;
using test::random_tensor;

namespace {

// f's value and its gradients by the inputs for which a fixture is named, on every device and in both types,
// or in double alone with a tolerance of 0 for float.
void equals_torch(const Function& f, const Inputs& inputs, double value,
                  const std::vector<std::string>& names, double tolerance32 = 1e-5) {
  for (const Device device : test::devices())
    for (const Dtype dtype : {Dtype::float64, Dtype::float32}) {
      if (dtype == Dtype::float32 && tolerance32 == 0) continue;
      INFO(names[0], " on ", std::string(name(device)), " in ", std::string(name(dtype)));
      const double tolerance = dtype == Dtype::float64 ? 1e-12 : tolerance32;
      Inputs leaves;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const bool floating = inputs[i].is_floating();
        leaves.push_back(
            (floating ? inputs[i].to(dtype) : inputs[i].to(Dtype::int64)).to(device).detach().clone());
        if (i < names.size()) leaves.back().requires_grad(true);
      }
      const Tensor loss = f(leaves);
      loss.backward();
      CHECK(std::abs(loss.item() - value) <= tolerance * std::max(1.0, std::abs(value)));
      for (std::size_t i = 0; i < names.size(); ++i)
        CHECK(distance(leaves[i].grad(), golden(names[i])) <= tolerance);
    }
}

// Fixture "losses", torch 1.13 in float64: values from its meta.json.
template <class L>
void pointwise_equals_torch(const L& loss, const Inputs& inputs, double value, const std::string& gradient,
                            double tolerance32 = 1e-5) {
  const auto f = [&](const Inputs& in) { return loss(in[0], in[1]); };
  equals_torch(f, inputs, value, {"losses/" + gradient}, tolerance32);
}

}  // namespace

TEST_CASE("losses equal PyTorch's on every device") {
  const Inputs plain{golden("losses/pred"), golden("losses/target")};
  const Inputs shares{golden("losses/bce_pred"), golden("losses/bce_target")};
  const Inputs logits{golden("losses/bce_logits_in"), golden("losses/bce_target")};
  pointwise_equals_torch(mse_loss, plain, 2.0213496019622164, "mse_grad");
  pointwise_equals_torch(l1_loss, plain, 1.1629408683437572, "l1_grad");
  pointwise_equals_torch(smooth_l1_loss, plain, 0.7451499665720503, "smooth_l1_grad");
  // Float rounds some of these probabilities to 1.
  pointwise_equals_torch(bce_loss, shares, 3.0469047591839047, "bce_grad", 0);
  pointwise_equals_torch(bce_with_logits_loss, logits, 3.7623616846418306, "bce_logits_grad");
  const auto sum_of = [&](auto loss) {
    loss.reduction = Reduction::sum;
    return loss(plain[0], plain[1]).item();
  };
  CHECK(sum_of(MSELoss{}) == doctest::Approx(242.56195223546598).epsilon(1e-13));
  CHECK(sum_of(L1Loss{}) == doctest::Approx(139.55290420125087).epsilon(1e-13));
  CHECK(sum_of(SmoothL1Loss{}) == doctest::Approx(89.41799598864604).epsilon(1e-13));
}

TEST_CASE("cross-entropy equals PyTorch's, of softmax output too, on every device") {
  const Inputs inputs{golden("losses/logits"), golden("losses/classes")};
  equals_torch([](const Inputs& in) { return cross_entropy(in[0], in[1]); }, inputs, 11.613326719747487,
               {"losses/ce_grad"});
  equals_torch([](const Inputs& in) { return cross_entropy(softmax(in[0]), in[1]); }, inputs,
               2.3111894127514834, {"losses/ce_of_softmax_grad"});
}

TEST_CASE("the Gaussian loss equals PyTorch's on every device") {
  const Inputs inputs{golden("losses/gnll_mu"), golden("losses/gnll_var"), golden("losses/gnll_target")};
  for (const bool full : {false, true}) {
    const std::string end = full ? "_full1" : "_full0";
    equals_torch([full](const Inputs& in) { return GaussianNLLLoss{.full = full}(in[0], in[2], in[1]); },
                 inputs, full ? 46872.38848836266 : 46871.46954982945,
                 {"losses/gnll_grad_mu" + end, "losses/gnll_grad_var" + end});
  }
}

TEST_CASE("the triplet loss equals PyTorch's on every device") {
  const Inputs inputs{golden("triplet/anchor"), golden("triplet/positive"), golden("triplet/negative")};
  for (const auto& [margin, value] : {std::pair{"1.0", 1.0859072653819126}, {"0.2", 0.4956481937362416}}) {
    const std::string end = margin;
    const TripletMarginLoss loss{.margin = std::stod(end)};
    // Differences of about 1e-6, as of the triplet whose anchor is its positive, keep no digits in float.
    equals_torch(
        [&](const Inputs& in) { return loss(in[0], in[1], in[2]); }, inputs, value,
        {"triplet/grad_anchor_" + end, "triplet/grad_positive_" + end, "triplet/grad_negative_" + end}, 1e-2);
  }
}

namespace {

// Each reduction; the first `n` inputs have gradients.
template <class L, class Call>
void check_reductions(const std::string& name, L loss, const Call& call, const Inputs& inputs) {
  for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
    loss.reduction = reduction;
    check_gradients(
        name, [&](const Inputs& in) { return call(loss, in); }, inputs);
    check_gradients(
        "3 " + name, [&](const Inputs& in) { return 3.0 * call(loss, in); }, inputs);
  }
  const NoGrad no_grad;
  loss.reduction = Reduction::none;
  const Tensor each = call(loss, inputs);
  loss.reduction = Reduction::sum;
  CHECK(call(loss, inputs).item() == doctest::Approx(sum(each).item()).epsilon(1e-13));
  loss.reduction = Reduction::mean;
  CHECK(call(loss, inputs).item() == doctest::Approx(mean(each).item()).epsilon(1e-13));
}

}  // namespace

TEST_CASE("gradients of all losses, by all inputs and with all reductions") {
  const Tensor x = random_tensor({5, 4}, -2, 2, 1), t = random_tensor({5, 4}, -2, 2, 2);
  const Tensor share = random_tensor({5, 4}, 0.05, 0.95, 3), target = random_tensor({5, 4}, 0, 1, 4);
  const Tensor variance = random_tensor({5, 4}, 0.3, 2, 5);
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{0, 3, 1, 1, 2});
  const auto of_both = [](const auto& loss, const Inputs& in) { return loss(in[0], in[1]); };
  check_reductions("mse", MSELoss{}, of_both, {x, t});
  check_reductions("l1", L1Loss{}, of_both, {x, t});
  check_reductions("smooth l1", SmoothL1Loss{}, of_both, {x, t});
  check_reductions("smooth l1, beta 0.3", SmoothL1Loss{.beta = 0.3}, of_both, {x, t});
  const auto of_first = [&](const auto& loss, const Inputs& in) { return loss(in[0], target); };
  check_reductions("bce", BCELoss{}, of_first, {share});
  check_reductions("bce logits", BCEWithLogitsLoss{}, of_first, {x});
  check_reductions("cross-entropy", CrossEntropy{},
                   [&](const auto& loss, const Inputs& in) { return loss(in[0], labels); }, {x});
  for (const bool full : {false, true})
    check_reductions("Gaussian", GaussianNLLLoss{.full = full},
                     [](const auto& loss, const Inputs& in) { return loss(in[0], in[1], in[2]); },
                     {x, t, variance});
  check_reductions("triplet", TripletMarginLoss{.margin = 0.8},
                   [](const auto& loss, const Inputs& in) { return loss(in[0], in[1], in[2]); },
                   {x, t, random_tensor({5, 4}, -2, 2, 6)});
}

TEST_CASE("losses without reduction have the shape of their terms, on every device") {
  for (const Device device : test::devices()) {
    const Tensor x = random_tensor({3, 4}, -1, 1, 1).to(device),
                 t = random_tensor({3, 4}, -1, 1, 2).to(device);
    const Tensor labels = Tensor::from(std::vector<std::int64_t>{0, 3, 1}).to(device);
    CHECK(MSELoss{.reduction = Reduction::none}(x, t).shape() == Shape{3, 4});
    CHECK(CrossEntropy{.reduction = Reduction::none}(x, labels).shape() == Shape{3});
    CHECK(TripletMarginLoss{.reduction = Reduction::none}(x, t, t).shape() == Shape{3});
    Tensor leaf = x.clone().requires_grad(true);
    CrossEntropy{.reduction = Reduction::none}(leaf, labels)
        .backward(Tensor::from({2.0, 0.0, -1.0}).to(device));
    const Tensor p = softmax(x);
    const std::array weights{2.0, 0.0, -1.0};
    for (std::int64_t i = 0; i < 3; ++i)
      for (std::int64_t j = 0; j < 4; ++j) {
        const double slope = p.at(i, j) - (j == labels.at(i));
        CHECK(leaf.grad().at(i, j) == doctest::Approx(weights[static_cast<std::size_t>(i)] * slope));
      }
  }
}

TEST_CASE("a sum of cross-entropies is no mean times a number, on every device") {
  for (const Device device : test::devices()) {
    const Tensor labels = Tensor::from(std::vector<std::int64_t>{0, 3, 1, 2, 2, 1, 0}).to(device);
    Tensor x = random_tensor({7, 4}, -2, 2, 1).to(Dtype::float32).to(device).requires_grad(true);
    Tensor y = x.detach().clone().requires_grad(true);
    CrossEntropy{.reduction = Reduction::sum}(x, labels).backward();
    CrossEntropy{.reduction = Reduction::none}(y, labels).backward(Tensor::full({7}, 1).to(device));
    CHECK(x.grad().to_vector<float>() == y.grad().to_vector<float>());
  }
}

TEST_CASE("shares out of [0, 1] and negative variances are errors, or NaN, on every device") {
  const auto where = [](std::int64_t i, double value) {
    std::vector<double> values(9, 0.5);
    values[static_cast<std::size_t>(i)] = value;
    return Tensor::from(values);
  };
  const Tensor half = where(0, 0.5);
  for (const Device device : test::devices())
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
      const auto problem = [&](const auto& loss, const std::vector<Tensor>& in) {
        return error_of([&] {
          const Tensor value = sum(loss(in));
          CHECK(std::isnan(value.item()));
          detail::fail("NaN");
        });
      };
      const auto bce = [&](const std::vector<Tensor>& in) {
        return BCELoss{.reduction = reduction}(in[0].to(device), in[1].to(device));
      };
      const auto gaussian = [&](const std::vector<Tensor>& in) {
        return GaussianNLLLoss{.reduction = reduction}(in[0].to(device), in[0].to(device), in[1].to(device));
      };
      const auto want = [&](const char* text) { return device == Device::cpu ? text : "NaN"; };
      CHECK(contains(problem(bce, {where(4, 1.5), half}), want("prediction 4 is 1.5; it must be in [0, 1]")));
      CHECK(contains(problem(bce, {half, where(8, -0.5)}), want("target 8 is -0.5; it must be in [0, 1]")));
      CHECK(contains(problem(gaussian, {half, where(2, -1e-9)}),
                     want("variance 2 is -1e-09; it must be in [0, inf]")));
      CHECK(problem(bce, {where(4, std::nan("")), half}) == "NaN");
      CHECK(std::isfinite(sum(bce({where(1, 0), where(1, 1)})).item()));
      CHECK(std::isfinite(sum(gaussian({half, where(3, 0)})).item()));
    }
}

TEST_CASE("losses say what does not fit") {
  const Tensor a = Tensor::zeros({2, 3}), b = Tensor::zeros({3, 2});
  Tensor leaf = Tensor::zeros({2, 3}).requires_grad(true);
  CHECK(contains(error_of([&] { l1_loss(a, b); }), "l1_loss: got (2, 3) and (3, 2)"));
  CHECK(contains(error_of([&] { SmoothL1Loss{.beta = 0}(a, a); }), "beta is 0"));
  CHECK(contains(error_of([&] { bce_loss(a, leaf); }), "give target.detach()"));
  CHECK(contains(error_of([&] { bce_with_logits_loss(a, leaf); }), "give target.detach()"));
  CHECK(contains(error_of([&] { gaussian_nll_loss(a, a, b); }), "gaussian_nll_loss: got (2, 3) and (3, 2)"));
  CHECK(contains(error_of([&] { triplet_margin_loss(a, b, a); }), "triplet_margin_loss: got"));
  CHECK(contains(error_of([&] { mse_loss(Tensor::zeros({0}), Tensor::zeros({0})); }),
                 "a mean needs at least 1"));
  CHECK(MSELoss{.reduction = Reduction::sum}(Tensor::zeros({0}), Tensor::zeros({0})).item() == 0);
}
