// For the engine itself: what every op does with its inputs before it calls a kernel.
#pragma once

#include <flatland/engine/autograd.h>
#include <flatland/engine/dispatch.h>
#include <flatland/engine/spans.h>
#include <flatland/engine/tape.h>
#include <flatland/kernels/elementwise.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace flatland::detail {

inline kernels::Exec& exec_of(const Tensor& t) {
  return current_exec(t.device());
}

inline Tensor empty_like(const Tensor& t) {
  return Tensor::empty(t.shape(), t.dtype(), t.device());
}
// A single value of t's type and device, for a kernel to write: Tensor loss = empty_value(x);
// dispatch_float(...{ kernels::sum<T>(exec_of(x), x.matrix<T>(), loss.mutable_data<T>()); });
// Ops never bring a number from the device to the host: that would wait for it.
inline Tensor empty_value(const Tensor& t) {
  return Tensor::empty(Shape{}, t.dtype(), t.device());
}
// The same values under another shape of as many values, without history.
inline Tensor view_as(const Tensor& t, const Shape& shape) {
  return make_tensor(t.impl()->storage, shape, t.dtype());
}

inline void check_defined(std::string_view who, const Tensor& t) {
  FLATLAND_CHECK(t.defined(), who, ": a tensor is undefined; make one with Tensor::zeros, from or of");
}
// Both defined, of one type, on one device.
inline void check_alike(std::string_view who, const Tensor& a, const Tensor& b) {
  check_defined(who, a);
  check_defined(who, b);
  FLATLAND_CHECK(a.dtype() == b.dtype(), who, ": got ", name(a.dtype()), " and ", name(b.dtype()),
                 "; both must have one type, convert one with to(Dtype::", name(a.dtype()), ")");
  FLATLAND_CHECK(a.device() == b.device(), who, ": got tensors on ", name(a.device()), " and ",
                 name(b.device()), "; bring both to one device with to(Device)");
}
inline void check_rank(std::string_view who, const Tensor& t, int rank) {
  check_defined(who, t);
  FLATLAND_CHECK(t.rank() == rank, who, ": got a tensor ", t.shape(), " of ", t.rank(),
                 " dimensions; it needs ", rank, ", see reshape");
}
inline void check_same_shape(std::string_view who, const Tensor& a, const Tensor& b) {
  check_alike(who, a, b);
  FLATLAND_CHECK(a.shape() == b.shape(), who, ": got ", a.shape(), " and ", b.shape(),
                 "; the shapes must be equal");
}
inline void check_values(std::string_view who, const Tensor& a, std::int64_t at_least) {
  detail::check_defined(who, a);
  FLATLAND_CHECK(a.numel() >= at_least, who, ": a tensor ", a.shape(), " has ", a.numel(),
                 " values; it needs at least ", at_least);
}
inline void check_index(std::string_view who, const Tensor& index, std::int64_t n) {
  check_defined(who, index);
  FLATLAND_CHECK(index.dtype() == Dtype::int64 && index.rank() == 1, who, ": the indices are ", index.shape(),
                 " of ", name(index.dtype()), "; they must be one dimension of int64, see to(Dtype::int64)");
  FLATLAND_CHECK(n < 0 || index.size(0) == n, who, ": got ", index.size(0), " indices for ", n, " rows");
}

// --- building blocks that record nothing --------------------------------------------------------------

// op(a, b) with broadcasting.
Tensor apply_binary(std::string_view who, kernels::BinaryOp op, const Tensor& a, const Tensor& b);
Tensor apply_binary(std::string_view who, kernels::BinaryOp op, const Tensor& a, double b);
Tensor apply_binary(std::string_view who, kernels::BinaryOp op, double a, const Tensor& b);
Tensor apply_unary(std::string_view who, kernels::UnaryOp op, const Tensor& a);
// factor a
Tensor scaled(const Tensor& a, double factor);
// factor upstream a, for the gradient of a single value. Where that is known to be 1, as where backward
// begins, there is no product.
Tensor scaled_by(const Tensor& upstream, const Tensor& a, double factor = 1);
// `t` repeated to a shape it broadcasts to.
Tensor expand_to(const Tensor& t, const Shape& shape);
// The gradient of expand_to: sums over the repeated dimensions.
Tensor sum_to(const Tensor& t, const Shape& shape);
// The sum over dimension `dim`, which disappears.
Tensor sum_dim(const Tensor& t, int dim);
Tensor sum_all(std::string_view who, const Tensor& t);

// A single 1, the gradient of a value for itself. Made at a thread's first use: where that may be while a
// graph is recorded, call it before.
const Tensor& unit_gradient(Dtype dtype, Device device);

// Records a single value whose gradient for an upstream gradient of 1 is known.
void record_known_gradient(Tensor& loss, const Tensor& x, Tensor gradient);

}  // namespace flatland::detail
