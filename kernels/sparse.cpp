#include <flatland/kernels/parallel.h>
#include <flatland/kernels/sparse_simd.h>

#include <algorithm>

namespace flatland::kernels {

template <class T>
void sparse_times_dense(const Exec& exec, const SparseRows<T>& m, In<T> x, Out<T> y) {
  constexpr std::int64_t k_row_tile = 16;
  FLATLAND_CHECK(m.cols == x.rows && m.rows == y.rows && x.cols == y.cols, "sparse_times_dense: m is (",
                 m.rows, ", ", m.cols, "), x is ", x, " and y is ", y, "; want (N, M), (M, D) and (N, D)");
  with_isa([&](auto isa) {
    parallel_for(exec, ceil_div(m.rows, k_row_tile), [&](std::int64_t tile, int) {
      sparse_times_dense_rows<isa, T>(m, x, y, tile * k_row_tile, std::min(m.rows, (tile + 1) * k_row_tile));
    });
  });
}

template void sparse_times_dense<float>(const Exec&, const SparseRows<float>&, In<float>, Out<float>);
template void sparse_times_dense<double>(const Exec&, const SparseRows<double>&, In<double>, Out<double>);

}  // namespace flatland::kernels
