// How good a classification is, class by class.
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>
#include <vector>

namespace flatland {

// macro: the mean over the classes that occur, as a label or as a prediction; micro: over all items, where
// precision and recall both are the accuracy.
enum class Average { macro, micro };

// Counts of what was predicted for the items of each class. Shares of nothing are 0, as in scikit-learn.
//   const ConfusionMatrix matrix(argmax(logits), labels);
class ConfusionMatrix {
 public:
  // predicted and labels int64 or int32 (N), in [0, classes); classes -1: as many as the largest number asks
  // for. Errors: other shapes or types, no items, a number out of range (names the item).
  ConfusionMatrix(const Tensor& predicted, const Tensor& labels, std::int64_t classes = -1);

  std::int64_t classes() const { return classes_; }
  std::int64_t items() const { return items_; }
  std::int64_t count(std::int64_t label, std::int64_t predicted) const;
  Tensor counts() const;  // int64 (classes, classes): a row a label, a column a prediction

  double accuracy() const;
  // Of the items predicted as a class, the share that is of it; of the items of a class, the share predicted
  // so.
  double precision(Average average = Average::macro) const;
  double recall(Average average = Average::macro) const;
  std::vector<double> precisions() const;  // of each class
  std::vector<double> recalls() const;

 private:
  std::int64_t with_label(std::int64_t c) const;
  std::int64_t predicted_as(std::int64_t c) const;
  double macro(const std::vector<double>& shares) const;

  std::int64_t classes_ = 0, items_ = 0;
  std::vector<std::int64_t> counts_;
};

}  // namespace flatland
