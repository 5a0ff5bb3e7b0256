#include <flatland/dr/class_numbers.h>
#include <flatland/kernels/check.h>

namespace flatland::detail {

std::vector<std::int64_t> class_numbers(std::string_view who, std::string_view what, const Tensor& t) {
  FLATLAND_CHECK(t.defined() && t.rank() == 1 && !t.is_floating(), who, ": the ", what,
                 " must be a vector of class numbers (int64 or int32); argmax makes them of scores");
  return t.to_vector<std::int64_t>();
}

}  // namespace flatland::detail
