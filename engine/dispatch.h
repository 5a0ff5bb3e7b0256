// For the engine itself: from a tensor's type to a template argument.
#pragma once

#include <flatland/engine/tensor.h>

#include <string_view>
#include <type_traits>

namespace flatland::detail {

// f(std::type_identity<T>{}) with T the C++ type of dtype.
template <class F>
auto dispatch_any(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::float32:
      return f(std::type_identity<float>{});
    case Dtype::float64:
      return f(std::type_identity<double>{});
    case Dtype::int32:
      return f(std::type_identity<std::int32_t>{});
    case Dtype::int64:
      break;
  }
  return f(std::type_identity<std::int64_t>{});
}

template <class F>
auto dispatch_float(std::string_view who, Dtype dtype, F&& f) {
  FLATLAND_CHECK(dtype == Dtype::float32 || dtype == Dtype::float64, who, ": got a tensor of ", name(dtype),
                 "; it needs float32 or float64, convert with to(Dtype::float32)");
  return dtype == Dtype::float32 ? f(std::type_identity<float>{}) : f(std::type_identity<double>{});
}

}  // namespace flatland::detail
