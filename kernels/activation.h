// Activations. Their derivative is a function of the output, so that no pre-activation needs to be kept.
#pragma once

#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <string_view>

namespace flatland {

// identity: x              relu: max(x, 0), derivative 0 at 0      leaky_relu: x > 0 ? x : slope x
// elu: x > 0 ? x : slope (e^x - 1)      softplus: log(1 + e^x), identity above 20 (as PyTorch)
// sigmoid: 1 / (1 + e^-x)      tanh
enum class ActivationKind { identity, relu, leaky_relu, elu, softplus, sigmoid, tanh };
std::string_view name(ActivationKind kind);

struct Activation {
  ActivationKind kind = ActivationKind::identity;
  double slope = 0;  // leaky_relu: the slope for x < 0 (PyTorch's default is 0.01); elu: alpha (default 1)
};

namespace activation {
inline constexpr Activation identity{ActivationKind::identity};
inline constexpr Activation relu{ActivationKind::relu};
inline constexpr Activation softplus{ActivationKind::softplus};
inline constexpr Activation sigmoid{ActivationKind::sigmoid};
inline constexpr Activation tanh{ActivationKind::tanh};
constexpr Activation leaky_relu(double slope = 0.01) {
  return {ActivationKind::leaky_relu, slope};
}
constexpr Activation elu(double alpha = 1) {
  return {ActivationKind::elu, alpha};
}
}  // namespace activation

namespace kernels {

// y = activation(x), elementwise.   x (N, M)   y (N, M)   y may be x.
// Cost: 2NM sizeof(T) bytes. Accuracy: float within 3 ulp of the exact value, double within 4.
template <class T>
void activate(const Exec& exec, const Activation& activation, In<T> x, MatView<T> y);

// dx = dy * activation'(x), given y = activation(x).   y, dy, dx (N, M)   dx may be dy.
template <class T>
void activate_backward(const Exec& exec, const Activation& activation, In<T> y, In<T> dy, MatView<T> dx);

}  // namespace kernels
}  // namespace flatland
