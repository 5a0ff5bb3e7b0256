#include <flatland/engine/gradient_outputs.h>
#include <flatland/engine/relation_ops.h>
#include <flatland/kernels/pairwise.h>

namespace flatland {

using detail::dispatch_float;
using detail::exec_of;
using detail::maybe_matrix;
using detail::mutable_span_of;
using detail::span_of;

namespace {

void check_square(std::string_view who, const Tensor& t) {
  detail::check_rank(who, t, 2);
  FLATLAND_CHECK(t.size(0) == t.size(1), who, ": got ", t.shape(), "; it needs a square matrix");
}

}  // namespace

// --- distances ----------------------------------------------------------------------------------------

Tensor pdist(const Tensor& x, Metric metric) {
  detail::check_rank("pdist", x, 2);
  Tensor dist = Tensor::empty({kernels::condensed_size(x.size(0))}, x.dtype(), x.device());
  dispatch_float("pdist", x.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::condensed_distances<T>(exec_of(x), metric, x.matrix<T>(), mutable_span_of<T>(dist));
  });
  record(dist, {x}, [x = x.detach(), dist = dist.detach(), metric](BackwardContext& ctx) {
    Tensor dx = detail::empty_like(x);
    dispatch_float("pdist", x.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::condensed_distances_backward<T>(exec_of(x), metric, x.matrix<T>(), span_of<T>(dist),
                                               span_of<T>(ctx.grad()), dx.mutable_matrix<T>());
    });
    ctx.accumulate(0, dx);
  });
  return dist;
}

Tensor cdist(const Tensor& x, const Tensor& y, Metric metric) {
  detail::check_alike("cdist", x, y);
  detail::check_rank("cdist", x, 2);
  detail::check_rank("cdist", y, 2);
  FLATLAND_CHECK(x.size(1) == y.size(1), "cdist: x is ", x.shape(), " but y is ", y.shape(),
                 "; the column counts must match");
  Tensor dist = Tensor::empty({x.size(0), y.size(0)}, x.dtype(), x.device());
  dispatch_float("cdist", x.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::cross_distances<T>(exec_of(x), metric, x.matrix<T>(), y.matrix<T>(), dist.mutable_matrix<T>());
  });
  record(dist, {x, y}, [x = x.detach(), y = y.detach(), dist = dist.detach(), metric](BackwardContext& ctx) {
    Tensor dx = detail::empty_if(ctx.wants(0), x);
    Tensor dy = detail::empty_if(ctx.wants(1), y);
    dispatch_float("cdist", x.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::cross_distances_backward<T>(exec_of(x), metric, x.matrix<T>(), y.matrix<T>(), dist.matrix<T>(),
                                           ctx.grad().matrix<T>(), maybe_matrix<T>(dx), maybe_matrix<T>(dy));
    });
    if (dx.defined()) ctx.accumulate(0, dx);
    if (dy.defined()) ctx.accumulate(1, dy);
  });
  return dist;
}

Tensor pair_distances(const Tensor& a, const Tensor& b, Metric metric) {
  detail::check_same_shape("pair_distances", a, b);
  detail::check_rank("pair_distances", a, 2);
  Tensor dist = Tensor::empty({a.size(0)}, a.dtype(), a.device());
  dispatch_float("pair_distances", a.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::pair_distances<T>(exec_of(a), metric, a.matrix<T>(), b.matrix<T>(), mutable_span_of<T>(dist));
  });
  record(dist, {a, b}, [a = a.detach(), b = b.detach(), dist = dist.detach(), metric](BackwardContext& ctx) {
    Tensor da = detail::empty_if(ctx.wants(0), a);
    Tensor db = detail::empty_if(ctx.wants(1), b);
    dispatch_float("pair_distances", a.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::pair_distances_backward<T>(exec_of(a), metric, a.matrix<T>(), b.matrix<T>(), span_of<T>(dist),
                                          span_of<T>(ctx.grad()), maybe_matrix<T>(da), maybe_matrix<T>(db));
    });
    if (da.defined()) ctx.accumulate(0, da);
    if (db.defined()) ctx.accumulate(1, db);
  });
  return dist;
}

// --- forms of a symmetric relation --------------------------------------------------------------------

namespace {

void check_condensed(std::string_view who, const Tensor& condensed, std::int64_t n) {
  detail::check_rank(who, condensed, 1);
  FLATLAND_CHECK(n >= 0 && condensed.size(0) == kernels::condensed_size(n), who, ": got ", condensed.size(0),
                 " values for ", n, " items; it needs ", kernels::condensed_size(n));
}

Tensor square_of(const Tensor& condensed, std::int64_t n) {
  Tensor square = Tensor::empty({n, n}, condensed.dtype(), condensed.device());
  dispatch_float("condensed_to_square", condensed.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::condensed_to_square<T>(exec_of(condensed), span_of<T>(condensed), square.mutable_matrix<T>());
  });
  return square;
}

}  // namespace

Tensor condensed_to_square(const Tensor& condensed, std::int64_t n) {
  check_condensed("condensed_to_square", condensed, n);
  Tensor square = square_of(condensed, n);
  record(square, {condensed}, [shape = condensed.shape()](BackwardContext& ctx) {
    Tensor d = Tensor::empty(shape, ctx.grad().dtype(), ctx.grad().device());
    dispatch_float("condensed_to_square", d.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::condensed_to_square_backward<T>(exec_of(d), ctx.grad().matrix<T>(), mutable_span_of<T>(d));
    });
    ctx.accumulate(0, d);
  });
  return square;
}

Tensor square_to_condensed(const Tensor& square) {
  check_square("square_to_condensed", square);
  const std::int64_t n = square.size(0);
  Tensor condensed = Tensor::empty({kernels::condensed_size(n)}, square.dtype(), square.device());
  dispatch_float("square_to_condensed", square.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::square_to_condensed<T>(exec_of(square), square.matrix<T>(), mutable_span_of<T>(condensed));
  });
  record(condensed, {square}, [n](BackwardContext& ctx) {
    Tensor d = Tensor::empty({n, n}, ctx.grad().dtype(), ctx.grad().device());
    dispatch_float("square_to_condensed", d.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::square_to_condensed_backward<T>(exec_of(d), span_of<T>(ctx.grad()), d.mutable_matrix<T>());
    });
    ctx.accumulate(0, d);
  });
  return condensed;
}

}  // namespace flatland
