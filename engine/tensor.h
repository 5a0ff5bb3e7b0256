// Tensor: an owning, contiguous, row-major array with a place on the tape.
#pragma once

#include <flatland/engine/shape.h>
#include <flatland/kernels/exec.h>
#include <flatland/kernels/view.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <span>
#include <string_view>
#include <vector>

namespace flatland {

// int32 holds indices of items (neighbours, columns); int64 holds labels, offsets and batches.
enum class Dtype { float32, float64, int32, int64 };
std::string_view name(Dtype dtype);
std::size_t size_of(Dtype dtype);
template <class T>
inline constexpr Dtype dtype_of = [] { static_assert(sizeof(T) == 0, "not a tensor type"); }();
template <>
inline constexpr Dtype dtype_of<float> = Dtype::float32;
template <>
inline constexpr Dtype dtype_of<double> = Dtype::float64;
template <>
inline constexpr Dtype dtype_of<std::int32_t> = Dtype::int32;
template <>
inline constexpr Dtype dtype_of<std::int64_t> = Dtype::int64;

struct TensorImpl;

// A handle, as in PyTorch: copies share values, gradient and history; `clone` copies the values.
class Tensor {
 public:
  Tensor() = default;  // undefined

  static Tensor empty(Shape shape, Dtype dtype = Dtype::float32, Device device = Device::cpu);
  static Tensor zeros(Shape shape, Dtype dtype = Dtype::float32, Device device = Device::cpu);
  static Tensor ones(Shape shape, Dtype dtype = Dtype::float32, Device device = Device::cpu);
  static Tensor full(Shape shape, double value, Dtype dtype = Dtype::float32, Device device = Device::cpu);
  static Tensor scalar(double value, Dtype dtype = Dtype::float32, Device device = Device::cpu);
  static Tensor arange(std::int64_t n);  // int64 0 .. n-1
  // Copies values. Error when their number is not the shape's.
  template <class T>
  static Tensor from(std::span<const T> values, Shape shape);
  template <class T>
  static Tensor from(const std::vector<T>& values, Shape shape) {
    return from(std::span<const T>(values), shape);
  }
  template <class T>
  static Tensor from(const std::vector<T>& values) {
    return from(std::span<const T>(values), Shape{static_cast<std::int64_t>(values.size())});
  }
  template <class T>
  static Tensor from(std::initializer_list<T> values) {
    return from(std::span<const T>(values.begin(), values.size()),
                Shape{static_cast<std::int64_t>(values.size())});
  }
  // Rows of equal length: Tensor::of({{1, 2}, {3, 4}}).
  static Tensor of(std::initializer_list<std::initializer_list<double>> rows, Dtype dtype = Dtype::float32);

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const;
  std::int64_t size(int dim) const { return shape()[dim]; }
  int rank() const { return shape().rank(); }
  std::int64_t numel() const { return shape().numel(); }
  Dtype dtype() const;
  Device device() const;
  bool is_floating() const { return dtype() == Dtype::float32 || dtype() == Dtype::float64; }

  // The values, of the tensor's own type (Error otherwise) and device; `values` needs the CPU.
  template <class T>
  const T* data() const;
  template <class T>
  T* mutable_data();
  template <class T>
  std::span<const T> values() const;
  template <class T>
  std::span<T> mutable_values();
  template <class T>
  std::vector<T> to_vector() const;  // from any device, converted from any type
  // The tensor as a matrix: rank 2 as it is, rank 1 as one row, else the leading dimensions become rows.
  template <class T>
  kernels::MatView<const T> matrix() const;
  template <class T>
  kernels::MatView<T> mutable_matrix();
  double item() const;              // of a tensor of one value
  double at(std::int64_t i) const;  // by flat position; for tests and printing
  double at(std::int64_t row, std::int64_t col) const;

  // Named copies. `to` returns the same tensor when nothing changes.
  Tensor clone() const;  // differentiable
  Tensor to(Device device) const;
  Tensor to(Dtype dtype) const;  // differentiable between float32 and float64
  // Overwrites the values in place (same shape, type). Not recorded.
  void copy_from(const Tensor& other);
  void fill(double value);

  // Autograd.
  bool requires_grad() const;  // a leaf that asks for it, or a result of one
  Tensor& requires_grad(bool value);
  Tensor grad() const;  // undefined before backward
  void zero_grad();     // forgets the gradient
  void set_grad(Tensor grad);
  bool is_leaf() const;
  Tensor detach() const;  // the same values without history
  // Adds d(this)/d(leaf) to the gradient of each leaf. This must hold one value, or `upstream` has its shape.
  // Frees the history as it goes; a second call is an Error.
  void backward() const;
  void backward(const Tensor& upstream) const;

  const std::shared_ptr<TensorImpl>& impl() const { return impl_; }
  explicit Tensor(std::shared_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<TensorImpl> impl_;
};

// Shape, type and the first values.
std::ostream& operator<<(std::ostream& os, const Tensor& t);

// While one lives in this thread, nothing is recorded.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};
bool grad_enabled();

// The Exec that ops of this thread use on a device; one is made at first use.
kernels::Exec& current_exec(Device device = Device::cpu);
// While one lives in this thread, ops on exec's device use that one.
class ExecScope {
 public:
  explicit ExecScope(kernels::Exec& exec);
  ~ExecScope();
  ExecScope(const ExecScope&) = delete;
  ExecScope& operator=(const ExecScope&) = delete;

 private:
  Device device_;
  kernels::Exec* previous_;
};

}  // namespace flatland
