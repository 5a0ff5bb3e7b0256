#include <flatland/engine/op_inputs.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/gather.h>

#include <algorithm>
#include <vector>

namespace flatland {

using detail::exec_of;

namespace {

std::byte* bytes_of(const Tensor& t) {
  return static_cast<std::byte*>(t.impl()->storage->data());
}

// A block of rows inside a tensor's values, `offset` values after its beginning.
struct Block {
  const Tensor& t;
  std::int64_t offset;
  std::int64_t ld;
};

void copy_block(const Block& to, const Block& from, std::int64_t rows, std::int64_t cols) {
  const std::size_t size = size_of(to.t.dtype());
  const auto raw = [size](const Block& b) {
    return detail::RawMatrix{bytes_of(b.t) + static_cast<std::size_t>(b.offset) * size, b.ld};
  };
  detail::copy_rows(to.t.device(), raw(to), raw(from), rows, cols, size);
}

struct RowsAndCols {
  std::int64_t rows, cols;
};
// The first dimension as rows, all others together as columns.
RowsAndCols as_rows(const Shape& shape) {
  const std::int64_t rows = shape[0];
  std::int64_t cols = 1;
  for (int i = 1; i < shape.rank(); ++i) cols *= shape[i];
  return {rows, cols};
}

Shape with_size(const Shape& shape, int dim, std::int64_t size) {
  std::array<std::int64_t, 4> sizes{};
  for (int i = 0; i < shape.rank(); ++i) sizes[static_cast<std::size_t>(i)] = i == dim ? size : shape[i];
  return Shape(std::span<const std::int64_t>(sizes).first(static_cast<std::size_t>(shape.rank())));
}

Shape completed(const Tensor& a, std::span<const std::int64_t> sizes) {
  std::array<std::int64_t, 4> out{};
  std::int64_t known = 1;
  int open = -1;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    out[i] = sizes[i];
    if (sizes[i] != -1) {
      known = checked_mul(known, sizes[i]);
      continue;
    }
    FLATLAND_CHECK(open < 0, "reshape: two sizes are -1; only one can be left open");
    open = static_cast<int>(i);
  }
  if (open >= 0) {
    FLATLAND_CHECK(known > 0 && a.numel() % known == 0, "reshape: ", a.numel(), " values of ", a.shape(),
                   " do not divide by ", known);
    out[static_cast<std::size_t>(open)] = a.numel() / known;
  }
  const Shape shape(std::span<const std::int64_t>(out).first(sizes.size()));
  FLATLAND_CHECK(shape.numel() == a.numel(), "reshape: ", a.shape(), " has ", a.numel(), " values but ",
                 shape, " has ", shape.numel(), "; the numbers must be equal");
  return shape;
}

Tensor transposed(const Tensor& a) {
  const std::int64_t n = a.size(0), m = a.size(1);
  Tensor y = Tensor::empty({m, n}, a.dtype(), a.device());
  if (!a.is_floating()) {
    for (std::int64_t j = 0; j < m; ++j) copy_block({y, j * n, 1}, {a, j, m}, n, 1);
    return y;
  }
  detail::dispatch_float("transpose", a.dtype(), [&]<class T>(std::type_identity<T>) {
    const kernels::Strided<const T> source{a.data<T>(), {0, 0, 1, m}};
    kernels::binary<T>(exec_of(a), kernels::BinaryOp::maximum, {1, 1, m, n}, source, source,
                       y.mutable_data<T>());
  });
  return y;
}

}  // namespace

Tensor reshape(const Tensor& a, std::initializer_list<std::int64_t> sizes) {
  return reshape(a, std::span<const std::int64_t>(sizes.begin(), sizes.size()));
}

Tensor reshape(const Tensor& a, const Shape& shape) {
  std::array<std::int64_t, 4> sizes{};
  for (int i = 0; i < shape.rank(); ++i) sizes[static_cast<std::size_t>(i)] = shape[i];
  return reshape(a, std::span<const std::int64_t>(sizes).first(static_cast<std::size_t>(shape.rank())));
}

Tensor reshape(const Tensor& a, std::span<const std::int64_t> sizes) {
  detail::check_defined("reshape", a);
  FLATLAND_CHECK(sizes.size() <= 4, "reshape: ", sizes.size(), " dimensions; at most 4 are supported");
  Tensor y = detail::view_as(a, completed(a, sizes));
  record(y, {a}, [shape = a.shape()](BackwardContext& ctx) {
    ctx.accumulate(0, detail::view_as(ctx.grad(), shape));
  });
  return y;
}

Tensor transpose(const Tensor& a) {
  detail::check_rank("transpose", a, 2);
  Tensor y = transposed(a);
  record(y, {a}, [](BackwardContext& ctx) { ctx.accumulate(0, transposed(ctx.grad())); });
  return y;
}

namespace {

// Where the parts of a concatenation lie: (outer, size * inner) each, side by side.
struct Layout {
  Shape shape;
  int dim;
  std::int64_t outer = 1, inner = 1;
};

Layout layout_of(std::span<const Tensor> parts, int dim) {
  FLATLAND_CHECK(!parts.empty(), "concat: no tensors were given");
  const Tensor& first = parts[0];
  detail::check_defined("concat", first);
  const int d = first.shape().checked_dim(dim);
  std::int64_t total = 0;
  for (const Tensor& part : parts) {
    detail::check_alike("concat", first, part);
    FLATLAND_CHECK(
        part.rank() == first.rank() && with_size(part.shape(), d, 0) == with_size(first.shape(), d, 0),
        "concat: got ", first.shape(), " and ", part.shape(), "; all sizes but that of dimension ", d,
        " must be equal");
    total += part.size(d);
  }
  Layout layout{with_size(first.shape(), d, total), d};
  for (int i = 0; i < first.rank(); ++i) {
    if (i < d) layout.outer *= first.size(i);
    if (i > d) layout.inner *= first.size(i);
  }
  return layout;
}

}  // namespace

Tensor concat(std::span<const Tensor> parts, int dim) {
  const Layout layout = layout_of(parts, dim);
  const std::int64_t width = layout.shape[layout.dim] * layout.inner;
  Tensor y = Tensor::empty(layout.shape, parts[0].dtype(), parts[0].device());
  std::int64_t at = 0;
  for (const Tensor& part : parts) {
    const std::int64_t cols = part.size(layout.dim) * layout.inner;
    copy_block({y, at, width}, {part, 0, cols}, layout.outer, cols);
    at += cols;
  }
  if (!needs_record(parts)) return y;
  detail::PoolVector<Shape> shapes;
  shapes.reserve(parts.size());
  for (const Tensor& part : parts) shapes.push_back(part.shape());
  record(y, parts, [layout, width, shapes = std::move(shapes)](BackwardContext& ctx) {
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      const std::int64_t cols = shapes[i][layout.dim] * layout.inner;
      if (ctx.wants(i)) {
        const Tensor part = Tensor::empty(shapes[i], ctx.grad().dtype(), ctx.grad().device());
        copy_block({part, 0, cols}, {ctx.grad(), begin, width}, layout.outer, cols);
        ctx.accumulate(i, part);
      }
      begin += cols;
    }
  });
  return y;
}

Tensor concat(std::initializer_list<Tensor> parts, int dim) {
  return concat(std::span<const Tensor>(parts.begin(), parts.size()), dim);
}

Tensor stack(std::span<const Tensor> parts) {
  detail::PoolVector<Tensor> rows;
  rows.reserve(parts.size());
  for (const Tensor& part : parts) {
    detail::check_same_shape("stack", parts[0], part);
    FLATLAND_CHECK(part.rank() < 4, "stack: the parts are ", part.shape(),
                   "; at most 3 dimensions can be stacked");
    std::array<std::int64_t, 4> sizes{1};
    for (int i = 0; i < part.rank(); ++i) sizes[static_cast<std::size_t>(i + 1)] = part.size(i);
    rows.push_back(
        reshape(part, std::span<const std::int64_t>(sizes).first(static_cast<std::size_t>(part.rank() + 1))));
  }
  return concat(rows, 0);
}

Tensor slice_rows(const Tensor& a, std::int64_t begin, std::int64_t end) {
  detail::check_defined("slice_rows", a);
  FLATLAND_CHECK(a.rank() >= 1 && begin >= 0 && begin <= end && end <= a.size(0), "slice_rows: rows ", begin,
                 " to ", end, " of a tensor ", a.shape(), " do not exist");
  const std::int64_t cols = as_rows(a.shape()).cols;
  Tensor y = Tensor::empty(with_size(a.shape(), 0, end - begin), a.dtype(), a.device());
  copy_block({y, 0, cols}, {a, begin * cols, cols}, end - begin, cols);
  record(y, {a}, [shape = a.shape(), begin, end, cols](BackwardContext& ctx) {
    const Tensor da = Tensor::zeros(shape, ctx.grad().dtype(), ctx.grad().device());
    copy_block({da, begin * cols, cols}, {ctx.grad(), 0, cols}, end - begin, cols);
    ctx.accumulate(0, da);
  });
  return y;
}

Tensor column(const Tensor& a, std::int64_t j) {
  detail::check_rank("column", a, 2);
  const std::int64_t n = a.size(0), m = a.size(1);
  FLATLAND_CHECK(j >= 0 && j < m, "column: there is no column ", j, " in a tensor ", a.shape());
  Tensor y = Tensor::empty({n}, a.dtype(), a.device());
  copy_block({y, 0, 1}, {a, j, m}, n, 1);
  record(y, {a}, [n, m, j](BackwardContext& ctx) {
    const Tensor da = Tensor::zeros({n, m}, ctx.grad().dtype(), ctx.grad().device());
    copy_block({da, j, m}, {ctx.grad(), 0, 1}, n, 1);
    ctx.accumulate(0, da);
  });
  return y;
}

namespace {

// The gradient of gather_rows: y's rows added where index says, the rest 0.
Tensor scattered(const Tensor& y, const Tensor& index, const Shape& shape) {
  Tensor sum = Tensor::zeros(shape, y.dtype(), y.device());
  const RowsAndCols size = as_rows(shape);
  detail::dispatch_float("gather_rows", y.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::scatter_add_rows<T>(exec_of(sum), {y.data<T>(), index.size(0), size.cols},
                                 detail::span_of<std::int64_t>(index),
                                 {sum.mutable_data<T>(), size.rows, size.cols});
  });
  return sum;
}

}  // namespace

namespace {

void check_gathered(const char* who, const Tensor& a, const Tensor& index) {
  detail::check_defined(who, a);
  detail::check_index(who, index, -1);
  FLATLAND_CHECK(a.rank() >= 1, who, ": a single value has no rows");
  FLATLAND_CHECK(a.device() == index.device(), who, ": the rows are on ", name(a.device()),
                 " but the indices on ", name(index.device()), "; bring both to one device with to(Device)");
}

}  // namespace

Tensor gather_rows(const Tensor& a, const Tensor& index) {
  check_gathered("gather_rows", a, index);
  Tensor y = Tensor::empty(with_size(a.shape(), 0, index.size(0)), a.dtype(), a.device());
  detail::gather_values({a, index}, y.impl()->storage->data());
  if (needs_record({&a})) {
    record(y, {a}, [shape = a.shape(), index](BackwardContext& ctx) {
      ctx.accumulate(0, scattered(ctx.grad(), index, shape));
    });
  }
  return y;
}

Tensor gather_rows_when_read(const Tensor& a, const Tensor& index) {
  check_gathered("gather_rows_when_read", a, index);
  if (a.device() != Device::cpu || needs_record({&a})) return gather_rows(a, index);
  const Shape shape = with_size(a.shape(), 0, index.size(0));
  const std::size_t bytes = checked_bytes(shape.numel(), size_of(a.dtype()));
  return detail::make_tensor(
      std::allocate_shared<detail::Storage>(detail::PoolAllocator<detail::Storage>{},
                                            detail::RowsOf{a.detach(), index.detach()}, bytes),
      shape, a.dtype());
}

Tensor embedding(const Tensor& index, const Tensor& weight, std::int64_t padding_idx, double max_norm) {
  detail::check_rank("embedding", weight, 2);
  const std::int64_t rows = weight.size(0), cols = weight.size(1);
  FLATLAND_CHECK(padding_idx >= -1 && padding_idx < rows, "embedding: padding_idx is ", padding_idx,
                 " but there are ", rows, " rows; give one of them, or -1");
  if (max_norm > 0) {
    detail::check_index("embedding", index, -1);
    FLATLAND_CHECK(weight.device() == index.device(), "embedding: the table is on ", name(weight.device()),
                   " but the indices on ", name(index.device()),
                   "; bring both to one device with to(Device)");
    Tensor table = weight;
    detail::dispatch_float("embedding", weight.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::renormalize_rows<T>(exec_of(weight), max_norm, detail::span_of<std::int64_t>(index),
                                   table.mutable_matrix<T>());
    });
  }
  Tensor y = gather_rows(weight.detach(), index);
  if (needs_record({&weight})) {
    record(y, {weight}, [shape = weight.shape(), index, padding_idx, cols](BackwardContext& ctx) {
      Tensor dw = scattered(ctx.grad(), index, shape);
      if (padding_idx >= 0) {
        detail::dispatch_float("embedding", dw.dtype(), [&]<class T>(std::type_identity<T>) {
          kernels::fill<T>(exec_of(dw), 0,
                           {dw.mutable_data<T>() + padding_idx * cols, static_cast<std::size_t>(cols)});
        });
      }
      ctx.accumulate(0, dw);
    });
  }
  return y;
}

}  // namespace flatland
