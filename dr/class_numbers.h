// Labels and predictions as numbers (private to this folder).
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace flatland::detail {

// Class numbers on the host. Error: not a vector of int64 or int32; `what` says of what, such as "labels".
std::vector<std::int64_t> class_numbers(std::string_view who, std::string_view what, const Tensor& t);

}  // namespace flatland::detail
