// Exact neighbours in three rounds, each for the rows that the one before could not decide: candidates by
// products on tensor cores, by products in float32, and by exact keys of all pairs. The first two keep what
// lies within the error bound of their products and order it by exact keys.
#include <flatland/kernels/knn_cuda.h>
#include <flatland/kernels/matmul_cuda.h>
#include <flatland/kernels/memory.h>
#include <flatland/kernels/cublas.cuh>
#include <flatland/kernels/knn_steps.cuh>

#include <vector>

namespace flatland::kernels::cuda {

namespace {

// Products of such blocks fit the L2 cache of a large GPU.
constexpr std::int64_t k_query_rows = 2048;
constexpr std::int64_t k_base_rows = 4096;
constexpr std::int64_t k_pool_bytes = std::int64_t{1} << 28;

// From so many columns on the products take longer than the tensor cores' larger error costs.
constexpr std::int64_t k_tensor_columns = 128;
// Values of 11 significant bits; sums at least as good as four times the rounding of float32, to which tensor
// cores cut off.
constexpr double k_tensor_rounding = 0x1p-11;
constexpr double k_tensor_sum_rounding = 0x1p-22;

std::int64_t block_rows(std::int64_t row_bytes) {
  return std::clamp<std::int64_t>(k_pool_bytes / row_bytes, 1, k_query_rows);
}

// c = a b^T. On tensor cores what is given is exact already, and the handle's own mode, which forbids them,
// is set aside.
void multiply(const Exec& exec, bool on_tensor_cores, MatView<const float> a, MatView<const float> b,
              MatView<float> c) {
  if (!on_tensor_cores) return cuda::matmul<float>(exec, Transpose::b, a, b, c, false);
  const float one = 1, zero = 0;
  const auto size = [](std::int64_t n) { return static_cast<int>(n); };
  cublasHandle_t const blas = exec.cuda().blas;
  check(cublasSetMathMode(blas, CUBLAS_DEFAULT_MATH), "setting the precision");
  const cublasStatus_t status =
      cublasGemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, size(b.rows), size(a.rows), size(a.cols), &one, b.data,
                   CUDA_R_32F, size(b.ld), a.data, CUDA_R_32F, size(a.ld), &zero, c.data, CUDA_R_32F,
                   size(c.ld), CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_GEMM_DEFAULT);
  check(cublasSetMathMode(blas, CUBLAS_PEDANTIC_MATH), "setting the precision");
  check(status, "a product on tensor cores");
}

// Searches the rows of `list` among candidates by products; gave_up[r] = 1 where that does not do.
template <class T>
void search_by_products(const Exec& exec, const KnnSearch<T>& search, const TileScale& scale,
                        bool on_tensor_cores, MatView<float> z, const RowList& list, std::int32_t* gave_up) {
  const std::int64_t items = search.base.x.rows;
  const ScratchArray<float> norm(exec, items);
  make_tile_rows<T>(exec, search.base, {nullptr, 0, items}, scale, on_tensor_cores, z, norm.data());

  const std::int64_t capacity = ceil_div(2 * search.k + 160, k_warp) * k_warp;
  const std::int64_t rows = std::min(
      list.count, block_rows(checked_mul(capacity, sizeof(Candidate<float>) + sizeof(Candidate<double>))));
  const ScratchArray<Candidate<float>> found(exec, checked_mul(rows, capacity));
  const ScratchArray<Candidate<double>> ranked(exec, checked_mul(rows, capacity));
  const ScratchArray<std::int32_t> count(exec, rows);
  const ScratchArray<float> threshold(exec, rows), own_norm(exec, rows),
      own_z(exec, checked_mul(rows, z.cols));
  const ScratchArray<float> products(exec, rows * k_base_rows);
  const Pools<float> pools{found.data(), count.data(), threshold.data(), capacity, search.k};
  const TileNorms norms{own_norm.data(), norm.data(), scale.slack(), scale.slack_absolute()};
  for (std::int64_t begin = 0; begin < list.count; begin += rows) {
    const RowList part = list.part(begin, std::min(rows, list.count - begin));
    const MatView<float> query(own_z.data(), part.count, z.cols);
    make_tile_rows<T>(exec, search.query, part, scale, on_tensor_cores, query, own_norm.data());
    clear(exec, pools, part.count);
    for (std::int64_t first = 0; first < items; first += k_base_rows) {
      const std::int64_t n = std::min(k_base_rows, items - first);
      const MatView<float> tile(products.data(), part.count, n, k_base_rows);
      multiply(exec, on_tensor_cores, query, {z.row(first), n, z.cols}, tile);
      scan(exec, pools, norms, part, search.self, first, tile);
    }
    finish_scan(exec, pools, norms, part.count, gave_up + begin);
    keys_of_candidates<T>(exec, search, part, pools, ranked.data());
    write_neighbors<T>(exec, search, part, ranked.data(), capacity, count.data());
  }
}

// Searches the rows of `list` by exact keys of all pairs.
template <class T>
void search_all(const Exec& exec, const KnnSearch<T>& search, const RowList& list) {
  const std::int64_t items = search.base.x.rows;
  const std::int64_t capacity = ceil_div(2 * search.k + 64, k_warp) * k_warp;
  const std::int64_t rows =
      std::min(list.count, block_rows(checked_mul(capacity, sizeof(Candidate<double>))));
  const ScratchArray<Candidate<double>> found(exec, checked_mul(rows, capacity));
  const ScratchArray<std::int32_t> count(exec, rows);
  const ScratchArray<double> threshold(exec, rows);
  const std::int64_t base_rows = std::min(items, k_base_rows);
  const ScratchArray<double> keys(exec, rows * base_rows);
  const Pools<double> pools{found.data(), count.data(), threshold.data(), capacity, search.k};
  for (std::int64_t begin = 0; begin < list.count; begin += rows) {
    const RowList part = list.part(begin, std::min(rows, list.count - begin));
    clear(exec, pools, part.count);
    for (std::int64_t first = 0; first < items; first += base_rows) {
      const MatView<double> tile(keys.data(), part.count, std::min(base_rows, items - first), base_rows);
      keys_of_block<T>(exec, search, part, first, tile);
      take(exec, pools, part, search.self, first, tile);
    }
    write_neighbors<T>(exec, search, part, found.data(), capacity, count.data());
  }
}

// Rows that are still to be searched, on host and device.
class RowsLeft {
 public:
  RowsLeft(const Exec& exec, std::int64_t n) : exec_(exec), n_(n), on_device_(exec, n), gave_up_(exec, n) {}

  RowList list() const { return {all_ ? nullptr : on_device_.data(), 0, all_ ? n_ : std::ssize(rows_)}; }
  std::int32_t* gave_up() const { return gave_up_.data(); }
  // Those that gave up are left.
  void update() {
    std::vector<std::int32_t> flag(static_cast<std::size_t>(list().count)), left;
    copy_to_host(exec_, flag.data(), gave_up_.data(), flag.size() * sizeof(std::int32_t));
    for (std::size_t r = 0; r < flag.size(); ++r)
      if (flag[r] != 0) left.push_back(all_ ? static_cast<std::int32_t>(r) : rows_[r]);
    rows_ = std::move(left);
    all_ = false;
    copy_to_device(exec_, on_device_.data(), rows_.data(), rows_.size() * sizeof(std::int32_t));
  }

 private:
  const Exec& exec_;
  std::int64_t n_;
  ScratchArray<std::int32_t> on_device_;
  ScratchArray<std::int32_t> gave_up_;
  bool all_ = true;
  std::vector<std::int32_t> rows_ = {};
};

template <class T>
void search_by_rounds(const Exec& exec, const KnnSearch<T>& search) {
  const std::int64_t cols = search.base.columns();
  const ScratchArray<double> shift(exec, cols);
  mean_of_rows<T>(exec, search.base, shift.data());
  double largest = largest_difference<T>(exec, search.base, shift.data());
  if (!search.self) largest = std::max(largest, largest_difference<T>(exec, search.query, shift.data()));
  const std::int64_t depth = ceil_div(cols, 8) * 8;  // as tensor cores like it
  RowsLeft left(exec, search.query.x.rows);
  for (const bool on_tensor_cores : {true, false}) {
    TileScale scale = on_tensor_cores ? tile_scale(largest, depth, k_tensor_rounding, k_tensor_sum_rounding)
                                      : tile_scale(largest, depth);
    scale.shift = shift.span();
    if (!scale.usable || left.list().count == 0 || (on_tensor_cores && cols < k_tensor_columns)) continue;
    const ScratchArray<float> z(exec, checked_mul(search.base.x.rows, depth));
    search_by_products<T>(exec, search, scale, on_tensor_cores, {z.data(), search.base.x.rows, depth},
                          left.list(), left.gave_up());
    left.update();
  }
  search_all<T>(exec, search, left.list());
}

}  // namespace

template <class T>
void knn(const Exec& exec, KnnSearch<T> search) {
  const std::int64_t n = search.query.x.rows, items = search.base.x.rows;
  const ScratchArray<UnitRow> units(exec, search.form.unit_rows ? items + (search.self ? 0 : n) : 0);
  if (search.form.unit_rows) {
    search.base.units = search.query.units = units.data();
    make_unit_rows<T>(exec, search.form, search.base.x, units.data());
    if (!search.self) {
      search.query.units = units.data() + items;
      make_unit_rows<T>(exec, search.form, search.query.x, units.data() + items);
    }
  }
  if (search.tiles_pay()) return search_by_rounds<T>(exec, search);
  search_all<T>(exec, search, {nullptr, 0, n});
}

template void knn<float>(const Exec&, KnnSearch<float>);
template void knn<double>(const Exec&, KnnSearch<double>);

}  // namespace flatland::kernels::cuda
