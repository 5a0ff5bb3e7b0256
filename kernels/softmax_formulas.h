// The formulas of softmax.h for one value of a row, for scalars and vectors.
#pragma once

#include <flatland/kernels/vecmath.h>

namespace flatland::kernels {

enum class SoftmaxForm { plain, log };

// What the backward pass sums over a row, added to `sum`.
template <SoftmaxForm form, class V>
FLATLAND_HD V softmax_backward_term(V y, V dy, V sum) {
  return form == SoftmaxForm::plain ? fma(y, dy, sum) : sum + dy;
}
// The gradient, given that sum.
template <SoftmaxForm form, class V>
FLATLAND_HD V softmax_gradient(V y, V dy, scalar_of<V> sum) {
  return form == SoftmaxForm::plain ? y * (dy - sum) : dy - kernels::exp(y) * sum;
}

// -log softmax(x)[label], given x[label], the shift and the sum of exp(x - shift).
template <class T>
FLATLAND_HD double cross_entropy_of(T at_label, T shift, T sum) {
  return static_cast<double>(kernels::log(sum)) -
         (static_cast<double>(at_label) - static_cast<double>(shift));
}

}  // namespace flatland::kernels
