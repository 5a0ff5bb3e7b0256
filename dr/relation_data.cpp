#include <flatland/dr/relation_data.h>
#include <flatland/dr/with_type.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/spans.h>
#include <flatland/kernels/pairwise.h>
#include <flatland/kernels/parallel.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace flatland {

using detail::mutable_span_of;
using detail::span_of;

namespace {

void check_values(const char* form, const Tensor& values) {
  FLATLAND_CHECK(values.defined() && values.is_floating(), form,
                 " relations: values must be a floating tensor");
}

void check_columns(const char* form, std::span<const std::int32_t> col, std::int64_t items) {
  for (std::size_t i = 0; i < col.size(); ++i) {
    FLATLAND_CHECK(col[i] >= 0 && col[i] < items, form, " relations: entry ", i, " points to item ", col[i],
                   ", but there are ", items, " items");
  }
}

// Says what is wrong with compressed rows.
void explain_rows(std::span<const std::int64_t> offset, std::span<const std::int32_t> col) {
  check_columns("sparse", col, std::ssize(offset) - 1);
  const std::int64_t entries = std::ssize(col);
  FLATLAND_CHECK(offset.front() == 0 && offset.back() == entries, "sparse relations: row offsets run from ",
                 offset.front(), " to ", offset.back(), "; they must run from 0 to the ", entries,
                 " entries");
  for (std::size_t i = 0; i + 1 < offset.size(); ++i) {
    FLATLAND_CHECK(offset[i] <= offset[i + 1] && offset[i + 1] <= entries, "sparse relations: row offset ",
                   i + 1, " is ", offset[i + 1], " after ", offset[i]);
    for (std::int64_t e = offset[i] + 1; e < offset[i + 1]; ++e) {
      FLATLAND_CHECK(col[static_cast<std::size_t>(e - 1)] < col[static_cast<std::size_t>(e)],
                     "sparse relations: the columns of row ", i, " do not ascend");
    }
  }
}

// Checks row offsets and ascending columns; returns the length of the longest row.
std::int64_t check_rows(const SparseRelations& form) {
  const std::int64_t longest =
      kernels::longest_row(current_exec(form.col.device()), form.row_offset.numel() - 1,
                           span_of<std::int64_t>(form.row_offset), span_of<std::int32_t>(form.col));
  if (longest < 0) {
    const Tensor offset = form.row_offset.to(Device::cpu), col = form.col.to(Device::cpu);
    explain_rows(offset.values<std::int64_t>(), col.values<std::int32_t>());
  }
  return longest;
}

template <class T>
kernels::SparseRows<T> rows_of(const SparseRelations& form) {
  const std::int64_t items = form.row_offset.numel() - 1;
  const std::int64_t* offset = form.row_offset.data<std::int64_t>();
  return {items, items, offset, offset + 1, form.col.data<std::int32_t>(), form.values.data<T>()};
}

// Scratch of the block kernels on the CPU: -1 everywhere between calls, one array a thread.
class PositionMap {
 public:
  explicit PositionMap(std::int64_t items) : map_(storage()) {
    if (map_.size() < static_cast<std::size_t>(items)) map_.resize(static_cast<std::size_t>(items), -1);
    span_ = std::span(map_).first(static_cast<std::size_t>(items));
  }
  ~PositionMap() {
    if (!done_) std::ranges::fill(map_, -1);  // a kernel threw
  }
  PositionMap(const PositionMap&) = delete;
  PositionMap& operator=(const PositionMap&) = delete;
  std::span<std::int32_t> span() const { return span_; }
  void done() { done_ = true; }

 private:
  static std::vector<std::int32_t>& storage() {
    thread_local std::vector<std::int32_t> map;
    return map;
  }
  std::vector<std::int32_t>& map_;
  std::span<std::int32_t> span_;
  bool done_ = false;
};

void check_index(const Tensor& index) {
  FLATLAND_CHECK(index.defined() && index.rank() == 1 && index.dtype() == Dtype::int64,
                 "RelationData: sub takes an int64 vector of item numbers");
}

void check_items(const Tensor& index, std::int64_t items) {
  for (const std::int64_t item : index.values<std::int64_t>()) {
    FLATLAND_CHECK(item >= 0 && item < items, "RelationData: sub asks for item ", item, ", but there are ",
                   items, " items");
  }
}

// The same of a square on any device.
Tensor dense_sub_by_rows(const Tensor& square, const Tensor& index) {
  return transpose(gather_rows(transpose(gather_rows(square, index)), index));
}

// f(row) for each row of a block.
template <class F>
void for_rows(std::int64_t rows, F f) {
  constexpr std::int64_t tile = 16;
  kernels::parallel_for(current_exec(), ceil_div(rows, tile), [&](std::int64_t t, int) {
    for (std::int64_t i = t * tile; i < std::min(rows, (t + 1) * tile); ++i) f(i);
  });
}

template <class T>
Tensor square_block(const T* v, std::int64_t n, const Tensor& index, Dtype dtype) {
  const auto items = index.values<std::int64_t>();
  const std::int64_t size = std::ssize(items);
  Tensor block = Tensor::empty({size, size}, dtype);
  T* const out = block.mutable_data<T>();
  for_rows(size, [&](std::int64_t a) {
    const T* row = v + items[static_cast<std::size_t>(a)] * n;
    for (std::int64_t b = 0; b < size; ++b) out[a * size + b] = row[items[static_cast<std::size_t>(b)]];
  });
  return block;
}

// Reads each pair once, in the order of memory. Rows are written by one thread each.
template <class T>
Tensor triangular_block(const T* v, std::int64_t n, const Tensor& index, Dtype dtype) {
  const std::int64_t size = index.numel();
  std::vector<std::pair<std::int64_t, std::int64_t>> items;  // ascending, with their places
  for (const std::int64_t item : index.values<std::int64_t>()) items.emplace_back(item, std::ssize(items));
  std::ranges::sort(items);
  Tensor block = Tensor::empty({size, size}, dtype);
  T* const out = block.mutable_data<T>();
  for_rows(size, [&](std::int64_t a) {
    const auto& [i, row] = items[static_cast<std::size_t>(a)];
    out[row * size + row] = 0;
    for (std::int64_t b = a + 1; b < size; ++b) {
      const auto& [j, col] = items[static_cast<std::size_t>(b)];
      out[row * size + col] = i == j ? T{0} : v[kernels::condensed_index(n, i, j)];
    }
  });
  for_rows(size, [&](std::int64_t a) {
    const std::int64_t row = items[static_cast<std::size_t>(a)].second;
    for (std::int64_t b = 0; b < a; ++b) {
      const std::int64_t col = items[static_cast<std::size_t>(b)].second;
      out[row * size + col] = out[col * size + row];
    }
  });
  return block;
}

}  // namespace

// --- construction ---

RelationData::RelationData(SquareRelations form) : form_(std::move(form)) {
  const Tensor& v = values();
  check_values("square", v);
  FLATLAND_CHECK(v.rank() == 2 && v.size(0) == v.size(1), "square relations: values are ", v.shape(),
                 "; they must be (N, N)");
}

RelationData::RelationData(TriangularRelations form) : form_(std::move(form)), symmetric_(true) {
  const Tensor& v = values();
  check_values("triangular", v);
  FLATLAND_CHECK(v.rank() == 1, "triangular relations: values are ", v.shape(), "; they must be a vector");
  std::int64_t& items = std::get<TriangularRelations>(form_).items;
  if (items == 0 && v.numel() > 0) {
    items =
        static_cast<std::int64_t>(std::llround((1 + std::sqrt(1 + 8 * static_cast<double>(v.numel()))) / 2));
  }
  FLATLAND_CHECK(items >= 0 && v.numel() == kernels::condensed_size(items),
                 "triangular relations: ", v.numel(), " values do not fit ", items,
                 " items; N items have N (N - 1) / 2");
}

RelationData::RelationData(NeighborRelations form) : form_(std::move(form)) {
  const NeighborRelations& f = std::get<NeighborRelations>(form_);
  check_values("neighbor", f.values);
  FLATLAND_CHECK(f.index.defined() && f.index.dtype() == Dtype::int32,
                 "neighbor relations: indices must be int32");
  FLATLAND_CHECK(f.index.rank() == 2 && f.index.shape() == f.values.shape(),
                 "neighbor relations: indices are ", f.index.shape(), " but values are ", f.values.shape(),
                 "; both must be (N, k)");
  if (f.index.device() == Device::cpu)
    check_columns("neighbor", f.index.values<std::int32_t>(), f.index.size(0));
}

RelationData::RelationData(SparseRelations form) : form_(std::move(form)) {
  const SparseRelations& f = std::get<SparseRelations>(form_);
  check_values("sparse", f.values);
  FLATLAND_CHECK(f.row_offset.defined() && f.row_offset.dtype() == Dtype::int64 && f.row_offset.rank() == 1 &&
                     f.row_offset.numel() >= 1,
                 "sparse relations: row offsets must be an int64 vector of N + 1 values");
  FLATLAND_CHECK(f.col.defined() && f.col.dtype() == Dtype::int32 && f.col.rank() == 1,
                 "sparse relations: columns must be an int32 vector");
  FLATLAND_CHECK(f.col.shape() == f.values.shape(), "sparse relations: ", f.col.numel(), " columns but ",
                 f.values.numel(), " values");
  longest_row_ = check_rows(f);
  make_position();
}

RelationData::RelationData(FlatRelations form) : form_(std::move(form)) {
  check_values("flat", values());
  FLATLAND_CHECK(values().rank() == 1, "flat relations: values are ", values().shape(),
                 "; they must be a vector");
}

// --- access ---

std::string_view RelationData::form_name() const {
  constexpr std::string_view names[] = {"square", "triangular", "neighbor", "sparse", "flat"};
  return names[form_.index()];
}

std::int64_t RelationData::items() const {
  if (const auto* f = get_if<SquareRelations>()) return f->values.size(0);
  if (const auto* f = get_if<TriangularRelations>()) return f->items;
  if (const auto* f = get_if<NeighborRelations>()) return f->index.size(0);
  if (const auto* f = get_if<SparseRelations>()) return f->row_offset.numel() - 1;
  detail::fail("RelationData: flat relations are a list of pairs and know no number of items");
}

const Tensor& RelationData::values() const {
  return std::visit([](const auto& form) -> const Tensor& { return form.values; }, form_);
}

RelationData RelationData::with_values(Tensor values) const {
  FLATLAND_CHECK(values.defined() && values.shape() == this->values().shape(),
                 "RelationData: new values must have the shape ", this->values().shape());
  check_values("RelationData:", values);
  Form form = form_;
  std::visit([&](auto& f) { f.values = std::move(values); }, form);
  RelationData changed(std::move(form), symmetric_, longest_row_);
  changed.position_ = position_;
  return changed;
}

RelationData RelationData::marked_symmetric(bool value) const {
  RelationData marked = *this;
  marked.symmetric_ = value || get_if<TriangularRelations>() != nullptr;
  return marked;
}

RelationData RelationData::to(Device device) const {
  Form form = form_;
  std::visit(
      [&](auto& f) {
        f.values = f.values.to(device);
        if constexpr (requires { f.index; }) f.index = f.index.to(device);
        if constexpr (requires { f.col; }) {
          f.col = f.col.to(device);
          f.row_offset = f.row_offset.to(device);
        }
      },
      form);
  RelationData moved(std::move(form), symmetric_, longest_row_);
  moved.make_position();
  return moved;
}

// --- blocks ---

void RelationData::make_position() {
  if (get_if<SparseRelations>() == nullptr || values().device() == Device::cpu) return;
  position_ = Tensor::full({items()}, -1, Dtype::int32, values().device());
}

template <class F>
void RelationData::with_position(F&& f) const {
  if (position_.defined()) {
    Tensor position = position_;
    return f(std::span(position.mutable_data<std::int32_t>(), static_cast<std::size_t>(items())));
  }
  PositionMap position(items());
  f(position.span());
  position.done();
}

Tensor detail::or_one(const Tensor& total) {
  const Tensor known = total.detach();
  return total + equal(known, known * 0.0);
}

Tensor divided_by_sum(const Tensor& values) {
  const NoGrad no_grad;
  return values / detail::or_one(sum(values));
}

Tensor RelationData::sub(const Tensor& index, bool normalize) const {
  const NoGrad no_grad;
  check_index(index);
  if (get_if<NeighborRelations>()) return to_sparse().sub(index, normalize);
  const auto* sparse = get_if<SparseRelations>();
  const Device device = values().device();
  if (sparse == nullptr) {
    const Tensor block = dense_block(index);
    return normalize ? divided_by_sum(block) : block;
  }
  Tensor block = Tensor::empty({index.numel(), index.numel()}, values().dtype(), device);
  with_type(block, [&](auto zero) {
    using T = decltype(zero);
    with_position([&](std::span<std::int32_t> position) {
      kernels::dense_block<T>(current_exec(device), rows_of<T>(*sparse), span_of<std::int64_t>(index),
                              position, normalize, block.mutable_matrix<T>(), nullptr);
    });
  });
  return block;
}

// Of square and triangular relations.
Tensor RelationData::dense_block(const Tensor& index) const {
  const NoGrad no_grad;
  if (values().device() != Device::cpu) return dense_sub_by_rows(to_square().values(), index);
  check_items(index, items());
  return with_type(values(), [&](auto zero) {
    using T = decltype(zero);
    const auto block_of = get_if<SquareRelations>() ? square_block<T> : triangular_block<T>;
    return block_of(values().template data<T>(), items(), index, values().dtype());
  });
}

SparseBlock RelationData::sub_sparse(const Tensor& index, bool normalize) const {
  check_index(index);
  const auto* f = get_if<SparseRelations>();
  FLATLAND_CHECK(f != nullptr, "RelationData: sub_sparse needs sparse relations, these are ", form_name(),
                 "; convert them with to_sparse first");
  const std::int64_t batch = index.numel();
  const std::int64_t capacity = std::min(batch, longest_row_);
  const std::int64_t entries = checked_mul(batch, capacity);
  const Device device = f->values.device();
  SparseBlock block;
  block.rows = batch;
  block.begin = Tensor::empty({batch}, Dtype::int64, device);
  block.end = Tensor::empty({batch}, Dtype::int64, device);
  block.col = Tensor::empty({entries}, Dtype::int32, device);
  block.value = Tensor::empty({entries}, f->values.dtype(), device);
  with_type(f->values, [&](auto zero) {
    using T = decltype(zero);
    with_position([&](std::span<std::int32_t> position) {
      kernels::sparse_block<T>(
          current_exec(device), rows_of<T>(*f), span_of<std::int64_t>(index), position, normalize, capacity,
          mutable_span_of<std::int64_t>(block.begin), mutable_span_of<std::int64_t>(block.end),
          mutable_span_of<std::int32_t>(block.col), mutable_span_of<T>(block.value), nullptr);
    });
  });
  return block;
}

}  // namespace flatland
