#include <flatland/kernels/check.h>
#include <flatland/kernels/pairwise.h>
#include <flatland/kernels/pairwise_cuda.h>
#include <flatland/kernels/pairwise_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/unit_rows_simd.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_pairwise_rows = 32;  // rows of a task

// All of y as panels.
template <Isa I, class T>
class Panels {
 public:
  Panels(const Exec& exec, In<T> y)
      : size_(y.cols * panel_rows<T, I>),
        count_(ceil_div(y.rows, panel_rows<T, I>)),
        values_(exec, checked_mul(count_, size_)) {
    parallel_for(exec, count_, [&](std::int64_t i, int) {
      pack_panel<I, T>(y, i * panel_rows<T, I>, values_.data() + i * size_);
    });
  }
  std::int64_t count() const { return count_; }
  const T* operator[](std::int64_t i) const { return values_.data() + i * size_; }

 private:
  std::int64_t size_;
  std::int64_t count_;
  ScratchArray<T> values_;
};

template <class T>
In<T> rows_of(In<T> x, std::int64_t begin, std::int64_t count) {
  return {x.data + begin * x.ld, count, x.cols, x.ld};
}

// Calls emit(i, j, n, values): the n distances of row i to the rows j, j + 1, ... of y. With `upper`, only
// panels that reach past the diagonal.
template <Isa I, class T, class Emit>
void for_distance_runs(const Exec& exec, const DistanceForm& form, In<T> x, In<T> y, bool upper, Emit emit) {
  constexpr std::int64_t width = panel_rows<T, I>;
  const Panels<I, T> panels(exec, y);
  const ScratchArray<T> buffers(exec, exec.threads() * k_pairwise_rows * width);
  parallel_for(exec, ceil_div(x.rows, k_pairwise_rows), [&](std::int64_t task, int thread) {
    const std::int64_t begin = task * k_pairwise_rows;
    const In<T> rows = rows_of<T>(x, begin, std::min(k_pairwise_rows, x.rows - begin));
    T* tile = buffers.data() + thread * k_pairwise_rows * width;
    for (std::int64_t p = upper ? begin / width : 0; p < panels.count(); ++p) {
      panel_distances<I, T>(form, rows, panels[p], tile);
      const std::int64_t n = std::min(width, y.rows - p * width);
      for (std::int64_t r = 0; r < rows.rows; ++r) emit(begin + r, p * width, n, tile + r * width);
    }
  });
}

template <class T>
void fill_cross(const Exec& exec, const DistanceForm& form, In<T> x, In<T> y, MatView<T> dist) {
  with_isa([&](auto isa) {
    for_distance_runs<isa, T>(exec, form, x, y, false,
                              [&](std::int64_t i, std::int64_t j, std::int64_t n, const T* values) {
                                std::copy_n(values, n, dist.row(i) + j);
                              });
  });
}

template <class T>
void fill_condensed(const Exec& exec, const DistanceForm& form, In<T> x, std::span<T> dist) {
  with_isa([&](auto isa) {
    for_distance_runs<isa, T>(
        exec, form, x, x, true, [&](std::int64_t i, std::int64_t j, std::int64_t n, const T* values) {
          const std::int64_t first = std::max(j, i + 1);
          if (first < j + n)
            std::copy_n(values + (first - j), j + n - first, dist.data() + condensed_index(x.rows, i, first));
        });
  });
}

template <class T>
void fill_pairs(const Exec& exec, const DistanceForm& form, In<T> a, In<T> b, std::span<T> dist) {
  constexpr std::int64_t block = 1024;
  with_isa([&](auto isa) {
    parallel_for(exec, ceil_div(a.rows, block), [&](std::int64_t task, int) {
      const std::int64_t begin = task * block;
      const std::int64_t count = std::min(block, a.rows - begin);
      paired_distances<isa, T>(form, rows_of<T>(a, begin, count), rows_of<T>(b, begin, count),
                               dist.data() + begin);
    });
  });
}

}  // namespace

template <class T>
void cross_distances(const Exec& exec, Metric metric, In<T> x, In<T> y, MatView<T> dist) {
  const DistanceForm form = distance_form(metric, "cross_distances");
  FLATLAND_CHECK(x.cols == y.cols, "cross_distances: x is ", x, " but y is ", y,
                 "; the column counts must match");
  FLATLAND_CHECK(dist.rows == x.rows && dist.cols == y.rows, "cross_distances: dist is ", dist, " but x is ",
                 x, " and y is ", y, "; dist must be (", x.rows, ", ", y.rows, ")");
  FLATLAND_ON_CUDA(exec) return cuda::cross_distances<T>(exec, form, x, y, dist);
  if (!form.unit_rows) return fill_cross<T>(exec, form, x, y, dist);
  const UnitRows<T> ux(exec, form, x);
  const UnitRows<T> uy(exec, form, y);
  fill_cross<T>(exec, form, ux.rows(), uy.rows(), dist);
}

template <class T>
void condensed_distances(const Exec& exec, Metric metric, In<T> x, std::span<T> dist) {
  const DistanceForm form = distance_form(metric, "condensed_distances");
  FLATLAND_CHECK(std::ssize(dist) == condensed_size(x.rows), "condensed_distances: x is ", x,
                 " but dist has ", dist.size(),
                 " values; it must have N (N - 1) / 2 = ", condensed_size(x.rows));
  FLATLAND_ON_CUDA(exec) return cuda::condensed_distances<T>(exec, form, x, dist);
  if (!form.unit_rows) return fill_condensed<T>(exec, form, x, dist);
  const UnitRows<T> unit(exec, form, x);
  fill_condensed<T>(exec, form, unit.rows(), dist);
}

template <class T>
void pair_distances(const Exec& exec, Metric metric, In<T> a, In<T> b, std::span<T> dist) {
  const DistanceForm form = distance_form(metric, "pair_distances");
  FLATLAND_CHECK(a.rows == b.rows && a.cols == b.cols, "pair_distances: a is ", a, " but b is ", b,
                 "; the shapes must match");
  FLATLAND_CHECK(std::ssize(dist) == a.rows, "pair_distances: a is ", a, " but dist has ", dist.size(),
                 " values; it must have one a row");
  FLATLAND_ON_CUDA(exec) return cuda::pair_distances<T>(exec, form, a, b, dist);
  if (!form.unit_rows) return fill_pairs<T>(exec, form, a, b, dist);
  const UnitRows<T> ua(exec, form, a);
  const UnitRows<T> ub(exec, form, b);
  fill_pairs<T>(exec, form, ua.rows(), ub.rows(), dist);
}

namespace {

void check_triangle(const char* who, std::size_t condensed, std::int64_t rows, std::int64_t cols) {
  FLATLAND_CHECK(rows == cols && static_cast<std::int64_t>(condensed) == condensed_size(rows), who, ": ",
                 condensed, " values do not fill the triangle of (", rows, ", ", cols, ')');
}

// Calls work(begin, end) for blocks of n rows.
template <class Work>
void for_row_blocks(const Exec& exec, std::int64_t n, const Work& work) {
  for_tiles(exec, n, k_pairwise_rows,
            [&](std::int64_t first, std::int64_t count) { work(first, first + count); });
}

}  // namespace

template <class T>
void condensed_to_square(const Exec& exec, InSpan<T> condensed, MatView<T> square) {
  const std::int64_t n = square.rows;
  check_triangle("condensed_to_square", condensed.size(), n, square.cols);
  FLATLAND_ON_CUDA(exec) return cuda::condensed_to_square<T>(exec, condensed, square);
  for_row_blocks(exec, n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = 0; j < begin; ++j) {
      const T* column = condensed.data() + condensed_index(n, j, begin);
      for (std::int64_t i = begin; i < end; ++i) square(i, j) = column[i - begin];
    }
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t j = begin; j < i; ++j)
        square(i, j) = condensed[static_cast<std::size_t>(condensed_index(n, j, i))];
      square(i, i) = 0;
      std::copy_n(condensed.data() + condensed_index(n, i, i + 1), n - i - 1, square.row(i) + i + 1);
    }
  });
}

template <class T>
void condensed_to_square_backward(const Exec& exec, In<T> square, std::span<T> condensed) {
  const std::int64_t n = square.rows;
  check_triangle("condensed_to_square_backward", condensed.size(), n, square.cols);
  FLATLAND_ON_CUDA(exec) return cuda::condensed_to_square_backward<T>(exec, square, condensed);
  for_row_blocks(exec, n, [&](std::int64_t begin, std::int64_t end) {
    // Column by column of the lower triangle within blocks of its rows: a row of a block is contiguous there.
    for (std::int64_t first = begin; first < n; first += k_pairwise_rows)
      for (std::int64_t i = begin; i < end; ++i)
        for (std::int64_t j = std::max(first, i + 1); j < std::min(first + k_pairwise_rows, n); ++j)
          condensed[static_cast<std::size_t>(condensed_index(n, i, j))] = square(i, j) + square(j, i);
  });
}

template <class T>
void square_to_condensed(const Exec& exec, In<T> square, std::span<T> condensed) {
  const std::int64_t n = square.rows;
  check_triangle("square_to_condensed", condensed.size(), n, square.cols);
  FLATLAND_ON_CUDA(exec) return cuda::square_to_condensed<T>(exec, square, condensed);
  for_row_blocks(exec, n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      std::copy_n(square.row(i) + i + 1, n - i - 1, condensed.data() + condensed_index(n, i, i + 1));
  });
}

template <class T>
void square_to_condensed_backward(const Exec& exec, InSpan<T> condensed, MatView<T> square) {
  const std::int64_t n = square.rows;
  check_triangle("square_to_condensed_backward", condensed.size(), n, square.cols);
  FLATLAND_ON_CUDA(exec) return cuda::square_to_condensed_backward<T>(exec, condensed, square);
  for_row_blocks(exec, n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::fill_n(square.row(i), i + 1, T(0));
      std::copy_n(condensed.data() + condensed_index(n, i, i + 1), n - i - 1, square.row(i) + i + 1);
    }
  });
}

#define FLATLAND_INSTANTIATE(T)                                                     \
  template void cross_distances<T>(const Exec&, Metric, In<T>, In<T>, MatView<T>);  \
  template void condensed_distances<T>(const Exec&, Metric, In<T>, std::span<T>);   \
  template void pair_distances<T>(const Exec&, Metric, In<T>, In<T>, std::span<T>); \
  template void condensed_to_square<T>(const Exec&, InSpan<T>, MatView<T>);         \
  template void condensed_to_square_backward<T>(const Exec&, In<T>, std::span<T>);  \
  template void square_to_condensed<T>(const Exec&, In<T>, std::span<T>);           \
  template void square_to_condensed_backward<T>(const Exec&, InSpan<T>, MatView<T>);
FLATLAND_INSTANTIATE(float)
FLATLAND_INSTANTIATE(double)
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
