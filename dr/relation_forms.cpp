// Conversions between the storage forms of relation data.
#include <flatland/dr/relation_data.h>
#include <flatland/dr/with_type.h>
#include <flatland/engine/ops.h>

#include <algorithm>
#include <numeric>

namespace flatland {

namespace {

[[noreturn]] void no_conversion(const RelationData& data, const char* target) {
  detail::fail("RelationData: ", data.form_name(), " relations cannot become ", target, " ones");
}

Tensor square_from_neighbors(const NeighborRelations& form, auto zero) {
  using T = decltype(zero);
  const std::int64_t n = form.index.size(0), k = form.index.size(1);
  Tensor square = Tensor::zeros({n, n}, form.values.dtype());
  const auto index = form.index.matrix<std::int32_t>();
  const auto value = form.values.matrix<T>();
  const auto out = square.mutable_matrix<T>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < k; ++j) out(i, index(i, j)) = value(i, j);
  }
  return square;
}

Tensor square_from_rows(const SparseRelations& form, auto zero) {
  using T = decltype(zero);
  const std::int64_t n = form.row_offset.numel() - 1;
  Tensor square = Tensor::zeros({n, n}, form.values.dtype());
  const auto offset = form.row_offset.values<std::int64_t>();
  const std::int32_t* col = form.col.data<std::int32_t>();
  const T* value = form.values.data<T>();
  const auto out = square.mutable_matrix<T>();
  for (std::int64_t i = 0; i < n; ++i) {
    const auto row = static_cast<std::size_t>(i);
    for (std::int64_t e = offset[row]; e < offset[row + 1]; ++e) out(i, col[e]) = value[e];
  }
  return square;
}

SparseRelations rows_from_square(const Tensor& square, auto zero) {
  using T = decltype(zero);
  const auto m = square.matrix<T>();
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> col;
  std::vector<T> value;
  for (std::int64_t i = 0; i < m.rows; ++i) {
    for (std::int64_t j = 0; j < m.cols; ++j) {
      if (m(i, j) == T{0}) continue;
      col.push_back(static_cast<std::int32_t>(j));
      value.push_back(m(i, j));
    }
    offset.push_back(static_cast<std::int64_t>(col.size()));
  }
  return {Tensor::from(offset), Tensor::from(col), Tensor::from(value)};
}

SparseRelations rows_from_neighbors(const NeighborRelations& form, auto zero) {
  using T = decltype(zero);
  const std::int64_t n = form.index.size(0), k = form.index.size(1);
  Tensor offset = Tensor::empty({n + 1}, Dtype::int64);
  Tensor col = Tensor::empty({n * k}, Dtype::int32);
  Tensor values = Tensor::empty({n * k}, form.values.dtype());
  const auto index = form.index.matrix<std::int32_t>();
  const auto value = form.values.matrix<T>();
  std::vector<std::int64_t> order(static_cast<std::size_t>(k));
  std::int64_t at = 0;
  offset.mutable_values<std::int64_t>()[0] = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, {}, [&](std::int64_t j) { return index(i, j); });
    for (const std::int64_t j : order) {
      col.mutable_data<std::int32_t>()[at] = index(i, j);
      values.mutable_data<T>()[at++] = value(i, j);
    }
    offset.mutable_data<std::int64_t>()[i + 1] = at;
  }
  return {offset, col, values};
}

NeighborRelations neighbors_from_rows(const SparseRelations& form) {
  const std::int64_t n = form.row_offset.numel() - 1;
  const auto offset = form.row_offset.values<std::int64_t>();
  const std::int64_t k = n == 0 ? 0 : offset[1];
  for (std::size_t i = 0; i + 1 < offset.size(); ++i) {
    FLATLAND_CHECK(offset[i + 1] - offset[i] == k,
                   "RelationData: sparse relations cannot become neighbor ones: row ", i, " has ",
                   offset[i + 1] - offset[i], " entries but row 0 has ", k);
  }
  return {reshape(form.col, {n, k}), reshape(form.values, {n, k})};
}

// All others of each item, in ascending index.
NeighborRelations neighbors_from_square(const Tensor& square, auto zero) {
  using T = decltype(zero);
  const std::int64_t n = square.size(0), k = std::max<std::int64_t>(n - 1, 0);
  Tensor index = Tensor::empty({n, k}, Dtype::int32);
  Tensor values = Tensor::empty({n, k}, square.dtype());
  const auto m = square.matrix<T>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      const std::int64_t other = j < i ? j : j + 1;
      index.mutable_data<std::int32_t>()[i * k + j] = static_cast<std::int32_t>(other);
      values.mutable_data<T>()[i * k + j] = m(i, other);
    }
  }
  return {index, values};
}

// Conversions that look at single entries are done on the CPU.
bool on_gpu(const RelationData& data) {
  return data.values().device() == Device::cuda;
}

}  // namespace

void detail::check_no_gradient(std::string_view who, const RelationData& data) {
  FLATLAND_CHECK(!grad_enabled() || !data.values().requires_grad(), who, ": the ", data.form_name(),
                 " relations carry a gradient, which would end here; detach their values if that is meant");
}

RelationData RelationData::to_square() const {
  if (get_if<SquareRelations>()) return *this;
  if (const auto* f = get_if<TriangularRelations>()) {
    return RelationData(SquareRelations{condensed_to_square(f->values, f->items)}).marked_symmetric();
  }
  if (get_if<FlatRelations>()) no_conversion(*this, "square");
  detail::check_no_gradient("ToSquare", *this);
  if (on_gpu(*this)) return to(Device::cpu).to_square().to(Device::cuda);
  Tensor square = with_type(values(), [&](auto zero) {
    const auto* f = get_if<NeighborRelations>();
    return f ? square_from_neighbors(*f, zero) : square_from_rows(*get_if<SparseRelations>(), zero);
  });
  return RelationData(SquareRelations{square}).marked_symmetric(symmetric_);
}

RelationData RelationData::to_triangular() const {
  if (get_if<TriangularRelations>()) return *this;
  if (get_if<FlatRelations>()) no_conversion(*this, "triangular");
  return RelationData(TriangularRelations{square_to_condensed(to_square().values()), items()});
}

RelationData RelationData::to_neighbor() const {
  if (get_if<NeighborRelations>()) return *this;
  if (get_if<FlatRelations>()) no_conversion(*this, "neighbor");
  if (get_if<SparseRelations>() == nullptr) detail::check_no_gradient("ToNeighbor", *this);
  if (on_gpu(*this)) return to(Device::cpu).to_neighbor().to(Device::cuda);
  if (const auto* f = get_if<SparseRelations>()) {
    return RelationData(neighbors_from_rows(*f)).marked_symmetric(symmetric_);
  }
  const Tensor square = to_square().values();
  return RelationData(with_type(square, [&](auto zero) { return neighbors_from_square(square, zero); }))
      .marked_symmetric(symmetric_);
}

RelationData RelationData::to_sparse() const {
  if (get_if<SparseRelations>()) return *this;
  if (get_if<FlatRelations>()) no_conversion(*this, "sparse");
  detail::check_no_gradient("ToSparse", *this);
  if (on_gpu(*this)) return to(Device::cpu).to_sparse().to(Device::cuda);
  return RelationData(with_type(values(),
                                [&](auto zero) {
                                  if (const auto* f = get_if<NeighborRelations>())
                                    return rows_from_neighbors(*f, zero);
                                  return rows_from_square(to_square().values(), zero);
                                }))
      .marked_symmetric(symmetric_);
}

RelationData RelationData::to_flat() const {
  if (get_if<FlatRelations>()) return *this;
  return RelationData(FlatRelations{reshape(values(), {values().numel()})});
}

}  // namespace flatland
