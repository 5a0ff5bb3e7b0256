// Draws of items by their labels.
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>

namespace flatland {

// Item numbers, int64 (classes * per_class), of per_class different items of each class, in random order.
// Classes are the values that occur. Rows of a data set: data.rows(balanced_items(data["labels"], 1000, 42)).
//   labels int64 or int32 (N)
// Error: a class with fewer items (names it).
Tensor balanced_items(const Tensor& labels, std::int64_t per_class, std::uint64_t seed);

// Item numbers, int64 (n), drawn with replacement with probability proportional to the weights; the rare
// classes as often as the others with class_weights(labels).
//   weights (N), floating   Errors: negative or infinite weights, all 0
Tensor weighted_items(const Tensor& weights, std::int64_t n, std::uint64_t seed);

// A weight an item, 1 / (its class's number of items), with which weighted sampling draws all classes alike.
//   labels int64 or int32 (N)   float32 (N)
Tensor class_weights(const Tensor& labels);

}  // namespace flatland
