#include <flatland/kernels/check.h>
#include <flatland/kernels/gather.h>
#include <flatland/kernels/isa.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/matmul_cuda.h>
#include <flatland/kernels/matmul_simd.h>
#include <flatland/kernels/reduce.h>
#include <flatland/kernels/with_cuda.h>

namespace flatland::kernels {

namespace {

// f(a matrix of their own for the rows).
template <class T, class F>
void with_gathered(const Exec& exec, const RowsView<T>& x, F f) {
  const ScratchArray<T> values(exec, checked_mul(x.rows, x.cols));
  const MatView<T> own(values.data(), x.rows, x.cols);
  gather_rows<T>(exec, x.all, x.indices(), own);
  f(own);
}

}  // namespace

template <class T>
void matmul(const Exec& exec, Transpose transpose, In<T> a, In<T> b, MatView<T> c, bool accumulate) {
  const bool ta = transpose == Transpose::a, tb = transpose == Transpose::b;
  const char* what = ta ? "a^T b" : tb ? "a b^T" : "a b";
  FLATLAND_CHECK((ta ? a.rows : a.cols) == (tb ? b.cols : b.rows), "matmul: ", what, " of a ", a, " and b ",
                 b, "; the inner sizes must match");
  FLATLAND_CHECK(c.rows == (ta ? a.cols : a.rows) && c.cols == (tb ? b.rows : b.cols), "matmul: ", what,
                 " of a ", a, " and b ", b, " is (", (ta ? a.cols : a.rows), ", ", (tb ? b.rows : b.cols),
                 ") but c is ", c);
  FLATLAND_ON_CUDA(exec) return cuda::matmul<T>(exec, transpose, a, b, c, accumulate);
  with_isa(
      [&](auto isa) { gemm<isa, T>(exec, transpose, RowsView<T>(a), RowsView<T>(b), c, accumulate, {}); });
}

template <class T>
void linear(const Exec& exec, InRows<T> x, In<T> w, InSpan<T> bias, const Activation& activation,
            MatView<T> y) {
  FLATLAND_CHECK(x.cols == w.cols, "linear: x is ", x, " but w is ", w,
                 "; w must have one column a column of x");
  FLATLAND_CHECK(y.rows == x.rows && y.cols == w.rows, "linear: y is ", y, " but x ", x, " and w ", w,
                 " give (", x.rows, ", ", w.rows, ")");
  FLATLAND_CHECK(bias.empty() || static_cast<std::int64_t>(bias.size()) == w.rows, "linear: bias has ",
                 bias.size(), " values but w is ", w, "; give one a row of w, or none");
  const T* bias_values = bias.empty() ? nullptr : bias.data();
  FLATLAND_ON_CUDA(exec) {
    if (x.index == nullptr) return cuda::linear<T>(exec, x.all, w, bias_values, activation, y);
    return with_gathered(exec, x, [&](In<T> own) { linear<T>(exec, own, w, bias, activation, y); });
  }
  check_rows("linear", x.indices(), x.all.rows);
  const GemmEpilogue<T> epilogue{bias_values, activation};
  with_isa([&](auto isa) { gemm<isa, T>(exec, Transpose::b, x, RowsView<T>(w), y, false, epilogue); });
}

template <class T>
void linear_backward(const Exec& exec, InRows<T> x, In<T> w, const Activation& activation, In<T> y, In<T> dy,
                     MatView<T> dx, Out<T> dw, OutSpan<T> db) {
  FLATLAND_CHECK(x.cols == w.cols && dy.rows == x.rows && dy.cols == w.rows, "linear_backward: dy is ", dy,
                 " but x ", x, " and w ", w, " give (", x.rows, ", ", w.rows, ")");
  FLATLAND_CHECK((dx.data == nullptr || (dx.rows == x.rows && dx.cols == x.cols)) &&
                     (dw.data == nullptr || (dw.rows == w.rows && dw.cols == w.cols)) &&
                     (db.empty() || std::ssize(db) == w.rows),
                 "linear_backward: dx is ", dx, ", dw ", dw, " and db has ", db.size(), " values, but x is ",
                 x, " and w ", w, "; the shapes must be equal, or the output empty");
  const bool plain = activation.kind == ActivationKind::identity;
  FLATLAND_CHECK(plain || (y.rows == dy.rows && y.cols == dy.cols), "linear_backward: y is ", y, " but dy ",
                 dy, "; the shapes must be equal");
  FLATLAND_ON_CUDA(exec) {
    if (x.index != nullptr)
      return with_gathered(
          exec, x, [&](In<T> own) { linear_backward<T>(exec, own, w, activation, y, dy, dx, dw, db); });
    if (cuda::small_linear_backward<T>(exec, x.all, w, activation, y, dy, dx, dw,
                                       db.empty() ? nullptr : db.data()))
      return;
  }
  check_rows("linear_backward", x.indices(), x.all.rows);
  const ScratchArray<T> scratch(exec, plain ? 0 : checked_mul(dy.rows, dy.cols));
  const MatView<T> own(scratch.data(), dy.rows, dy.cols);
  if (!plain) activate_backward<T>(exec, activation, y, dy, own);
  const In<T> dz = plain ? dy : In<T>(own);
  if (dw.data != nullptr) {
    if (x.index == nullptr)
      matmul<T>(exec, Transpose::a, dz, x.all, dw);
    else
      with_isa([&](auto isa) { gemm<isa, T>(exec, Transpose::a, RowsView<T>(dz), x, dw, false, {}); });
  }
  if (!db.empty()) column_sums<T>(exec, dz, db);
  if (dx.data != nullptr) matmul<T>(exec, Transpose::none, dz, w, dx);
}

#define FLATLAND_INSTANTIATE(T)                                                                             \
  template void matmul(const Exec&, Transpose, In<T>, In<T>, MatView<T>, bool);                             \
  template void linear(const Exec&, InRows<T>, In<T>, InSpan<T>, const Activation&, MatView<T>);            \
  template void linear_backward(const Exec&, InRows<T>, In<T>, const Activation&, In<T>, In<T>, MatView<T>, \
                                Out<T>, OutSpan<T>)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
