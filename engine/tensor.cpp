#include <flatland/engine/dispatch.h>
#include <flatland/engine/tape.h>

#include <algorithm>
#include <array>
#include <numeric>

namespace flatland {

std::string_view name(Dtype dtype) {
  constexpr std::array<std::string_view, 4> names{"float32", "float64", "int32", "int64"};
  return names[static_cast<std::size_t>(dtype)];
}

std::size_t size_of(Dtype dtype) {
  return dtype == Dtype::float32 || dtype == Dtype::int32 ? 4 : 8;
}

namespace detail {

Tensor make_tensor(std::shared_ptr<Storage> storage, const Shape& shape, Dtype dtype) {
  auto impl = std::allocate_shared<TensorImpl>(PoolAllocator<TensorImpl>{});
  impl->shape = shape;
  impl->dtype = dtype;
  impl->storage = std::move(storage);
  return Tensor(std::move(impl));
}

namespace {

void need_defined(const Tensor& t) {
  FLATLAND_CHECK(t.defined(), "Tensor: this tensor is undefined; make one with Tensor::zeros, from or of");
}

template <class T>
void need_type(const Tensor& t) {
  FLATLAND_CHECK(t.dtype() == dtype_of<T>, "Tensor: asked for ", name(dtype_of<T>), " values of a tensor ",
                 t.shape(), " of ", name(t.dtype()), "; convert it with to(Dtype::", name(dtype_of<T>), ")");
}

void need_cpu(const Tensor& t, std::string_view who) {
  FLATLAND_CHECK(t.device() == Device::cpu, who, ": the tensor lives on ", name(t.device()),
                 "; bring it over with to(Device::cpu)");
}

void need_mutable(const Tensor& t) {
  FLATLAND_CHECK(!t.impl()->storage->ones(),
                 "Tensor: this gradient of 1 is shared and cannot be written; write a clone() of it");
}

// Of rank 2 as it is, rank 1 as one row, else the leading dimensions become rows.
std::array<std::int64_t, 2> matrix_size(const Shape& shape) {
  if (shape.rank() == 0) return {1, 1};
  const std::int64_t cols = shape[-1];
  std::int64_t rows = 1;
  for (int i = 0; i + 1 < shape.rank(); ++i) rows *= shape[i];
  return {rows, cols};
}

}  // namespace
}  // namespace detail

// --- creation -----------------------------------------------------------------------------------------

Tensor Tensor::empty(Shape shape, Dtype dtype, Device device) {
  const std::size_t bytes = checked_bytes(shape.numel(), size_of(dtype));
  return detail::make_tensor(
      std::allocate_shared<detail::Storage>(detail::PoolAllocator<detail::Storage>{}, device, bytes), shape,
      dtype);
}

Tensor Tensor::zeros(Shape shape, Dtype dtype, Device device) {
  return full(shape, 0, dtype, device);
}

Tensor Tensor::ones(Shape shape, Dtype dtype, Device device) {
  return full(shape, 1, dtype, device);
}

Tensor Tensor::full(Shape shape, double value, Dtype dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill(value);
  return t;
}

Tensor Tensor::scalar(double value, Dtype dtype, Device device) {
  return full(Shape{}, value, dtype, device);
}

Tensor Tensor::arange(std::int64_t n) {
  FLATLAND_CHECK(n >= 0, "Tensor::arange: ", n, " values; give 0 or more");
  Tensor t = empty({n}, Dtype::int64);
  const auto values = t.mutable_values<std::int64_t>();
  std::iota(values.begin(), values.end(), std::int64_t{0});
  return t;
}

template <class T>
Tensor Tensor::from(std::span<const T> values, Shape shape) {
  FLATLAND_CHECK(static_cast<std::int64_t>(values.size()) == shape.numel(), "Tensor::from: ", values.size(),
                 " values do not fill a tensor ", shape);
  Tensor t = empty(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), t.mutable_data<T>());
  return t;
}

Tensor Tensor::of(std::initializer_list<std::initializer_list<double>> rows, Dtype dtype) {
  const std::size_t cols = rows.size() > 0 ? rows.begin()->size() : 0;
  std::vector<double> values;
  for (const auto& row : rows) {
    FLATLAND_CHECK(row.size() == cols, "Tensor::of: a row has ", row.size(), " values but the first has ",
                   cols, "; rows must be equally long");
    values.insert(values.end(), row.begin(), row.end());
  }
  const NoGrad no_grad;
  return from(values, {static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(cols)}).to(dtype);
}

// --- access -------------------------------------------------------------------------------------------

const Shape& Tensor::shape() const {
  detail::need_defined(*this);
  return impl_->shape;
}

Dtype Tensor::dtype() const {
  detail::need_defined(*this);
  return impl_->dtype;
}

Device Tensor::device() const {
  detail::need_defined(*this);
  return impl_->storage->device();
}

template <class T>
const T* Tensor::data() const {
  detail::need_type<T>(*this);
  return static_cast<const T*>(impl_->storage->data());
}

template <class T>
T* Tensor::mutable_data() {
  detail::need_type<T>(*this);
  detail::need_mutable(*this);
  return static_cast<T*>(impl_->storage->data());
}

template <class T>
std::span<const T> Tensor::values() const {
  detail::need_defined(*this);
  detail::need_cpu(*this, "Tensor::values");
  return {data<T>(), static_cast<std::size_t>(numel())};
}

template <class T>
std::span<T> Tensor::mutable_values() {
  detail::need_defined(*this);
  detail::need_cpu(*this, "Tensor::mutable_values");
  return {mutable_data<T>(), static_cast<std::size_t>(numel())};
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  const NoGrad no_grad;
  const Tensor t = to(Device::cpu).to(dtype_of<T>);
  const auto v = t.values<T>();
  return {v.begin(), v.end()};
}

template <class T>
kernels::MatView<const T> Tensor::matrix() const {
  const T* values = data<T>();
  const auto [rows, cols] = detail::matrix_size(shape());
  return {values, rows, cols};
}

template <class T>
kernels::MatView<T> Tensor::mutable_matrix() {
  T* values = mutable_data<T>();
  const auto [rows, cols] = detail::matrix_size(shape());
  return {values, rows, cols};
}

double Tensor::item() const {
  FLATLAND_CHECK(numel() == 1, "Tensor::item: a tensor ", shape(), " is not a single value");
  return at(0);
}

double Tensor::at(std::int64_t i) const {
  FLATLAND_CHECK(i >= 0 && i < numel(), "Tensor::at: there is no value ", i, " in a tensor ", shape());
  return detail::dispatch_any(dtype(), [&]<class T>(std::type_identity<T>) {
    T value{};
    detail::copy_bytes(Device::cpu, &value, device(), data<T>() + i, sizeof(T));
    return static_cast<double>(value);
  });
}

double Tensor::at(std::int64_t row, std::int64_t col) const {
  FLATLAND_CHECK(rank() == 2, "Tensor::at: a tensor ", shape(), " has no rows and columns");
  FLATLAND_CHECK(row >= 0 && row < size(0) && col >= 0 && col < size(1), "Tensor::at: there is no value (",
                 row, ", ", col, ") in a tensor ", shape());
  return at(row * size(1) + col);
}

// --- copies -------------------------------------------------------------------------------------------

Tensor Tensor::clone() const {
  Tensor copy = empty(shape(), dtype(), device());
  copy.copy_from(*this);
  if (needs_record({this})) {
    record(copy, {*this}, [](BackwardContext& ctx) { ctx.accumulate(0, ctx.grad()); });
  }
  return copy;
}

Tensor Tensor::to(Device target) const {
  if (device() == target) return *this;
  Tensor copy = empty(shape(), dtype(), target);
  copy.copy_from(*this);
  if (needs_record({this})) {
    record(copy, {*this},
           [from = device()](BackwardContext& ctx) { ctx.accumulate(0, ctx.grad().to(from)); });
  }
  return copy;
}

Tensor Tensor::to(Dtype target) const {
  if (dtype() == target) return *this;
  Tensor copy = empty(shape(), target, device());
  detail::convert_values(device(), target, copy.impl_->storage->data(), dtype(), impl_->storage->data(),
                         numel());
  if (copy.is_floating() && needs_record({this})) {
    record(copy, {*this}, [from = dtype()](BackwardContext& ctx) { ctx.accumulate(0, ctx.grad().to(from)); });
  }
  return copy;
}

void Tensor::copy_from(const Tensor& other) {
  FLATLAND_CHECK(shape() == other.shape() && dtype() == other.dtype(), "Tensor::copy_from: got ",
                 other.shape(), " of ", name(other.dtype()), " for a tensor ", shape(), " of ", name(dtype()),
                 "; shape and type must be equal");
  if (impl_->storage == other.impl_->storage) return;
  detail::need_mutable(*this);
  detail::copy_bytes(device(), impl_->storage->data(), other.device(), other.impl_->storage->data(),
                     static_cast<std::size_t>(numel()) * size_of(dtype()));
}

void Tensor::fill(double value) {
  detail::need_defined(*this);
  detail::need_mutable(*this);
  detail::fill_values(device(), dtype(), impl_->storage->data(), numel(), value);
}

// --- autograd -----------------------------------------------------------------------------------------

bool Tensor::requires_grad() const {
  detail::need_defined(*this);
  return impl_->requires_grad || impl_->node;
}

Tensor& Tensor::requires_grad(bool value) {
  FLATLAND_CHECK(is_leaf(),
                 "Tensor::requires_grad: this tensor is a result; only leaves can be set, detach() it");
  FLATLAND_CHECK(!value || is_floating(), "Tensor::requires_grad: a tensor of ", name(dtype()),
                 " has no gradient; it needs float32 or float64");
  impl_->requires_grad = value;
  return *this;
}

Tensor Tensor::grad() const {
  detail::need_defined(*this);
  return impl_->grad;
}

void Tensor::zero_grad() {
  detail::need_defined(*this);
  impl_->grad = {};
}

void Tensor::set_grad(Tensor grad) {
  FLATLAND_CHECK(!grad.defined() || (grad.shape() == shape() && grad.dtype() == dtype()),
                 "Tensor::set_grad: got ", grad, " for a tensor ", shape(), " of ", name(dtype()),
                 "; shape and type must be equal");
  impl_->grad = grad.defined() ? grad.detach() : grad;
}

bool Tensor::is_leaf() const {
  detail::need_defined(*this);
  return !impl_->node;
}

Tensor Tensor::detach() const {
  detail::need_defined(*this);
  return detail::make_tensor(impl_->storage, impl_->shape, impl_->dtype);
}

std::ostream& operator<<(std::ostream& os, const Tensor& t) {
  if (!t.defined()) return os << "undefined";
  os << t.shape() << " of " << name(t.dtype());
  if (t.device() != Device::cpu) os << " on " << name(t.device());
  constexpr std::int64_t shown = 6;
  os << " [";
  for (std::int64_t i = 0; i < std::min(shown, t.numel()); ++i) os << (i ? ", " : "") << t.at(i);
  return os << (t.numel() > shown ? ", ...]" : "]");
}

#define FLATLAND_INSTANTIATE(T)                                 \
  template Tensor Tensor::from<T>(std::span<const T>, Shape);   \
  template const T* Tensor::data<T>() const;                    \
  template T* Tensor::mutable_data<T>();                        \
  template std::span<const T> Tensor::values<T>() const;        \
  template std::span<T> Tensor::mutable_values<T>();            \
  template std::vector<T> Tensor::to_vector<T>() const;         \
  template kernels::MatView<const T> Tensor::matrix<T>() const; \
  template kernels::MatView<T> Tensor::mutable_matrix<T>();
FLATLAND_INSTANTIATE(float)
FLATLAND_INSTANTIATE(double)
FLATLAND_INSTANTIATE(std::int32_t)
FLATLAND_INSTANTIATE(std::int64_t)
#undef FLATLAND_INSTANTIATE

}  // namespace flatland
