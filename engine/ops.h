// Differentiable operations. Shapes and types are checked; all inputs of an op live on one device and have
// one floating type. Elementwise binary ops broadcast as in PyTorch (up to four dimensions).
#pragma once

#include <flatland/engine/losses.h>
#include <flatland/engine/tensor.h>
#include <flatland/kernels/activation.h>

#include <cstdint>
#include <span>
#include <vector>

namespace flatland {

// --- elementwise ---
Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, const Tensor& b);
Tensor operator/(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a);
Tensor operator+(const Tensor& a, double b);
Tensor operator-(const Tensor& a, double b);
Tensor operator*(const Tensor& a, double b);
Tensor operator/(const Tensor& a, double b);
Tensor operator+(double a, const Tensor& b);
Tensor operator-(double a, const Tensor& b);
Tensor operator*(double a, const Tensor& b);
Tensor operator/(double a, const Tensor& b);
Tensor maximum(const Tensor& a, const Tensor& b);  // the gradient goes to a where equal
Tensor minimum(const Tensor& a, const Tensor& b);
Tensor pow(const Tensor& a, double exponent);
Tensor exp(const Tensor& a);
Tensor log(const Tensor& a);
Tensor sqrt(const Tensor& a);  // gradient 0 at 0
Tensor abs(const Tensor& a);   // gradient 0 at 0
Tensor square(const Tensor& a);
Tensor clamp(const Tensor& a, double low, double high);  // no gradient outside
Tensor activate(const Tensor& a, const Activation& activation);
Tensor relu(const Tensor& a);
Tensor leaky_relu(const Tensor& a, double slope = 0.01);
Tensor elu(const Tensor& a, double alpha = 1);
Tensor softplus(const Tensor& a);
Tensor sigmoid(const Tensor& a);
Tensor tanh(const Tensor& a);
// Masks of 0 and 1 in the inputs' type; not differentiable.
Tensor less(const Tensor& a, const Tensor& b);
Tensor less_equal(const Tensor& a, const Tensor& b);
Tensor equal(const Tensor& a, const Tensor& b);

// --- products ---
Tensor matmul(const Tensor& a, const Tensor& b);  // (M, K) (K, N)
// activation(x weight^T + bias): x (N, D), weight (M, D), bias (M) or undefined.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Activation& activation = {});

// --- reductions ---
Tensor sum(const Tensor& a);
Tensor mean(const Tensor& a);
Tensor sum(const Tensor& a, int dim);  // the dimension disappears
Tensor mean(const Tensor& a, int dim);
Tensor variance(const Tensor& a, int ddof = 1);                     // of all values
Tensor covariance(const Tensor& a, const Tensor& b, int ddof = 1);  // of two vectors
Tensor std_dev(const Tensor& a, int ddof = 1);
double max_value(const Tensor& a);
Tensor argmax(const Tensor& a);  // (N, M) -> int64 (N), the first of equal ones

// --- shape and selection ---
Tensor reshape(const Tensor& a, std::initializer_list<std::int64_t> sizes);  // one size may be -1;
Tensor reshape(const Tensor& a, std::span<const std::int64_t> sizes);        // shares the values
Tensor reshape(const Tensor& a, const Shape& shape);
Tensor transpose(const Tensor& a);  // (N, M) -> (M, N), copied
Tensor concat(std::span<const Tensor> parts, int dim = 0);
Tensor concat(std::initializer_list<Tensor> parts, int dim = 0);
Tensor stack(std::span<const Tensor> parts);  // equal shapes, a new first dimension
Tensor slice_rows(const Tensor& a, std::int64_t begin, std::int64_t end);
Tensor column(const Tensor& a, std::int64_t j);  // (N, M) -> (N)
// index int64 (B) of rows of a, of any dtype. Error where out of range; on CUDA indices are not looked at,
// here and below, and others give rows of zeros and take no gradient.
Tensor gather_rows(const Tensor& a, const Tensor& index);
// The same rows, but on the CPU they are copied when somebody first reads them; `linear` multiplies them
// where they stand and never does. Neither a nor index may change meanwhile. Recorded ones are gathered at
// once.
Tensor gather_rows_when_read(const Tensor& a, const Tensor& index);
// Rows of a trained table: weight (N, D), index int64 (B) -> (B, D). Row padding_idx gets no gradient; -1:
// none such. Where max_norm is above 0, the rows that are looked up and longer are shortened to it first, in
// weight itself, which is not recorded.
Tensor embedding(const Tensor& index, const Tensor& weight, std::int64_t padding_idx = -1,
                 double max_norm = 0);

// --- random ---
// 0 with probability p, else a / (1 - p). The draws are those that come next in `state`, see
// Module::add_random_state; it is moved on, where it lies.
Tensor dropout(const Tensor& a, double p, const Tensor& state);

// --- softmax ---
Tensor softmax(const Tensor& a);  // over the rows of (N, M)
Tensor log_softmax(const Tensor& a);

// --- losses: see losses.h ---

}  // namespace flatland
