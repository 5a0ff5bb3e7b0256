#include <flatland/dr/class_numbers.h>
#include <flatland/dr/classification_metrics.h>
#include <flatland/kernels/check.h>

#include <algorithm>

namespace flatland {

namespace {

constexpr std::int64_t k_most_classes = std::int64_t{1} << 14;  // 2 GiB of counts

void check_range(const char* what, const std::vector<std::int64_t>& numbers, std::int64_t classes) {
  for (std::size_t i = 0; i < numbers.size(); ++i)
    FLATLAND_CHECK(numbers[i] >= 0 && numbers[i] < classes, "ConfusionMatrix: ", what, ' ', numbers[i],
                   " of item ", i, " is none of the ", classes, " classes; they are counted from 0");
}

double share(std::int64_t part, std::int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

}  // namespace

ConfusionMatrix::ConfusionMatrix(const Tensor& predicted, const Tensor& labels, std::int64_t classes) {
  const std::vector<std::int64_t> guess = detail::class_numbers("ConfusionMatrix", "predictions", predicted),
                                  truth = detail::class_numbers("ConfusionMatrix", "labels", labels);
  FLATLAND_CHECK(guess.size() == truth.size() && !truth.empty(), "ConfusionMatrix: there are ", guess.size(),
                 " predictions for ", truth.size(), " labels; give one a label, and at least one");
  const auto largest = std::max(*std::ranges::max_element(guess), *std::ranges::max_element(truth));
  FLATLAND_CHECK(classes == -1 || (classes >= 1 && classes <= k_most_classes), "ConfusionMatrix: classes is ",
                 classes, "; it must be 1 to ", k_most_classes,
                 ", or -1 for as many as the largest asks for");
  FLATLAND_CHECK(largest < k_most_classes, "ConfusionMatrix: there is a class ", largest,
                 "; it counts pairs of classes 0 to ", k_most_classes - 1, " only");
  classes_ = classes == -1 ? std::max<std::int64_t>(0, largest + 1) : classes;
  check_range("prediction", guess, classes_);
  check_range("label", truth, classes_);
  items_ = static_cast<std::int64_t>(truth.size());
  counts_.resize(static_cast<std::size_t>(classes_ * classes_));
  for (std::size_t i = 0; i < truth.size(); ++i)
    ++counts_[static_cast<std::size_t>(truth[i] * classes_ + guess[i])];
}

std::int64_t ConfusionMatrix::count(std::int64_t label, std::int64_t predicted) const {
  FLATLAND_CHECK(label >= 0 && label < classes_ && predicted >= 0 && predicted < classes_,
                 "ConfusionMatrix: label ", label, " and prediction ", predicted,
                 " are asked for; there are ", classes_, " classes");
  return counts_[static_cast<std::size_t>(label * classes_ + predicted)];
}

Tensor ConfusionMatrix::counts() const {
  return Tensor::from(counts_, {classes_, classes_});
}

std::int64_t ConfusionMatrix::with_label(std::int64_t c) const {
  std::int64_t sum = 0;
  for (std::int64_t other = 0; other < classes_; ++other) sum += count(c, other);
  return sum;
}
std::int64_t ConfusionMatrix::predicted_as(std::int64_t c) const {
  std::int64_t sum = 0;
  for (std::int64_t other = 0; other < classes_; ++other) sum += count(other, c);
  return sum;
}

double ConfusionMatrix::accuracy() const {
  std::int64_t right = 0;
  for (std::int64_t c = 0; c < classes_; ++c) right += count(c, c);
  return share(right, items_);
}

std::vector<double> ConfusionMatrix::precisions() const {
  std::vector<double> all;
  for (std::int64_t c = 0; c < classes_; ++c) all.push_back(share(count(c, c), predicted_as(c)));
  return all;
}
std::vector<double> ConfusionMatrix::recalls() const {
  std::vector<double> all;
  for (std::int64_t c = 0; c < classes_; ++c) all.push_back(share(count(c, c), with_label(c)));
  return all;
}

double ConfusionMatrix::macro(const std::vector<double>& shares) const {
  double sum = 0;
  std::int64_t occurring = 0;
  for (std::int64_t c = 0; c < classes_; ++c) {
    if (with_label(c) + predicted_as(c) == 0) continue;
    sum += shares[static_cast<std::size_t>(c)];
    ++occurring;
  }
  return sum / static_cast<double>(occurring);
}

double ConfusionMatrix::precision(Average average) const {
  return average == Average::micro ? accuracy() : macro(precisions());
}
double ConfusionMatrix::recall(Average average) const {
  return average == Average::micro ? accuracy() : macro(recalls());
}

}  // namespace flatland
