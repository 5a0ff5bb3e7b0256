#include <doctest/doctest.h>
#include <flatland/dr/classification_metrics.h>
#include <flatland/dr/metrics.h>
#include <flatland/engine/ops.h>

#include <vector>

#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace flatland;
using test::contains;
using test::error_of;

namespace {

Tensor numbers(std::initializer_list<std::int64_t> values) {
  return Tensor::from(std::vector<std::int64_t>(values));
}

}  // namespace

// Shares by hand; scikit-learn's precision_score and recall_score give the same.
TEST_CASE("a confusion matrix counts, and gives accuracy, precision and recall") {
  const ConfusionMatrix m(numbers({0, 0, 1, 1, 2, 2, 1, 0}), numbers({0, 1, 1, 1, 2, 0, 2, 0}));
  CHECK(m.classes() == 3);
  CHECK(m.items() == 8);
  CHECK(m.counts().to_vector<std::int64_t>() == std::vector<std::int64_t>{2, 0, 1, 1, 2, 0, 0, 1, 1});
  CHECK(m.count(1, 0) == 1);
  CHECK(m.accuracy() == doctest::Approx(5.0 / 8));
  CHECK(m.precision() == doctest::Approx((2.0 / 3 + 2.0 / 3 + 1.0 / 2) / 3));
  CHECK(m.recall(Average::macro) == doctest::Approx((2.0 / 3 + 2.0 / 3 + 1.0 / 2) / 3));
  CHECK(m.precision(Average::micro) == doctest::Approx(5.0 / 8));
  CHECK(m.recall(Average::micro) == doctest::Approx(5.0 / 8));
  CHECK(m.precisions()[2] == 0.5);
  CHECK(m.recalls()[1] == doctest::Approx(2.0 / 3));
}

TEST_CASE("classes that are never predicted count as 0, classes that do not occur not at all") {
  // 3 is predicted and never right, 1 occurs and is never predicted, 2 and 4 do neither.
  const ConfusionMatrix m(numbers({0, 0, 3, 3}), numbers({0, 1, 0, 1}).to(Dtype::int32), 5);
  CHECK(m.classes() == 5);
  CHECK(m.precision() == doctest::Approx((0.5 + 0 + 0) / 3));
  CHECK(m.recall() == doctest::Approx((0.5 + 0 + 0) / 3));
  CHECK(m.precisions()[1] == 0);
  CHECK(m.recalls()[3] == 0);
}

TEST_CASE("the accuracy is that of the scores' largest values") {
  const Tensor scores = test::random_tensor({50, 4}, 3);
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < 50; ++i) labels.push_back(i % 4);
  const Tensor truth = Tensor::from(labels);
  CHECK(ConfusionMatrix(argmax(scores), truth).accuracy() == accuracy(scores, truth));
}

TEST_CASE("a confusion matrix says what does not fit") {
  CHECK(contains(error_of([] {
                   ConfusionMatrix(numbers({0, 1}), numbers({0}));
                 }),
                 "2 predictions for 1 labels"));
  CHECK(contains(error_of([] { ConfusionMatrix(numbers({}), numbers({})); }), "at least one"));
  CHECK(contains(error_of([] { ConfusionMatrix(numbers({1}), numbers({std::int64_t{1} << 32})); }),
                 "there is a class 4294967296"));
  for (const std::int64_t wrong : {-7, 0, 16385})
    CHECK(contains(error_of([&] { ConfusionMatrix(numbers({0}), numbers({0}), wrong); }),
                   "classes is " + std::to_string(wrong) + "; it must be 1 to 16384, or -1"));
#ifndef FLATLAND_SANITIZED  // 2 GiB
  CHECK(ConfusionMatrix(numbers({0}), numbers({1}), 16384).classes() == 16384);
#endif
  CHECK(contains(error_of([] {
                   ConfusionMatrix(numbers({0, 3}), numbers({0, 1}), 3);
                 }),
                 "prediction 3 of item 1 is none of the 3 classes"));
  CHECK(contains(error_of([] { ConfusionMatrix(numbers({0, 1}), numbers({-1, 1})); }), "label -1 of item 0"));
  CHECK(contains(error_of([] {
                   ConfusionMatrix(Tensor::of({{1, 2}}), numbers({1}));
                 }),
                 "the predictions must be a vector of class numbers (int64 or int32); argmax"));
  CHECK(contains(error_of([] { ConfusionMatrix(numbers({0}), numbers({1})).count(2, 0); }), "label 2"));
}
