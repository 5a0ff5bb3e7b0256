// Numbers that kernels take.
#pragma once

#include <flatland/kernels/hd.h>

#include <type_traits>

namespace flatland::kernels {

// A number that the caller gives, or one that stands in memory of exec's device (a trained parameter), where
// no host needs to look at it.
template <class T>
class Parameter {
 public:
  template <class N>
  requires(std::is_arithmetic_v<N>) Parameter(N value) : value_(static_cast<double>(value)) {}
  Parameter(const T* place) : place_(place) {}

  // On exec's device.
  FLATLAND_HD double get() const { return place_ ? static_cast<double>(*place_) : value_; }
  // Whether the host knows it, whatever the device.
  bool given() const { return place_ == nullptr; }

 private:
  double value_ = 0;
  const T* place_ = nullptr;
};

template <class T>
using ParameterOf = Parameter<std::type_identity_t<T>>;

}  // namespace flatland::kernels
