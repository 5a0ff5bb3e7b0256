#include <flatland/kernels/check.h>
#include <flatland/kernels/pairwise.h>
#include <flatland/kernels/pairwise_cuda.h>
#include <flatland/kernels/pairwise_formulas.h>
#include <flatland/kernels/pairwise_simd.h>
#include <flatland/kernels/parallel.h>
#include <flatland/kernels/unit_rows_simd.h>
#include <flatland/kernels/with_cuda.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace flatland::kernels {

namespace {

constexpr std::int64_t k_pairwise_backward_rows = 16;  // rows of a task

// The rows that stand on one side of the distances: as they are, or their unit rows.
template <class T>
struct Side {
  std::optional<UnitRows<T>> unit;
  In<T> rows;

  Side(const Exec& exec, const DistanceForm& form, In<T> x) : rows(x) {
    if (!form.unit_rows) return;
    unit.emplace(exec, form, x);
    rows = unit->coordinates();
  }
};

template <class T>
void finish_unit_row(T weighted_dist, T scale, const T* u, std::int64_t d, T* dx) {
  for (std::int64_t k = 0; k < d; ++k) dx[k] = unit_row_gradient(dx[k], weighted_dist, u[k], scale);
}

// The gradient for the rows of x against all rows of y. gather(i, count, g, dist) fills (count, y.rows) with
// the upstream gradients and the distances of the rows i, ..., i + count - 1.
template <class T, class Gather>
void backward_rows(const Exec& exec, const DistanceForm& form, const Side<T>& x, const Side<T>& y,
                   MatView<T> dx, Gather gather) {
  with_isa([&](auto isa) {
    constexpr std::int64_t width = panel_rows<T, isa>;
    const In<T> rows = x.rows;
    const In<T> others = y.rows;
    const std::int64_t m = others.rows;
    const bool use_panels = gradient_uses_panels<isa, T>(form.term, rows.cols);
    const std::int64_t panel_count = use_panels ? ceil_div(m, width) : 0;
    const ScratchArray<T> panels(exec, panel_count * width * rows.cols);
    parallel_for(exec, panel_count, [&](std::int64_t p, int) {
      pack_panel<isa, T>(others, p * width, panels.data() + p * width * rows.cols);
    });
    const std::int64_t tile = k_pairwise_backward_rows * m;
    const ScratchArray<T> buffers(exec, checked_mul(exec.threads(), 2 * tile));
    parallel_for(exec, ceil_div(rows.rows, k_pairwise_backward_rows), [&](std::int64_t task, int thread) {
      const std::int64_t begin = task * k_pairwise_backward_rows;
      const std::int64_t count = std::min(k_pairwise_backward_rows, rows.rows - begin);
      T* g = buffers.data() + thread * 2 * tile;
      T* dist = g + tile;
      gather(begin, count, g, dist);
      T weighted_dist[k_pairwise_backward_rows];
      for (std::int64_t r = 0; r < count; ++r)
        weighted_dist[r] = gradient_weights<isa, T>(form, m, dist + r * m, g + r * m);
      const MatView<T> out(dx.row(begin), count, rows.cols, dx.ld);
      accumulate_gradient<isa, T>(form, In<T>(rows.row(begin), count, rows.cols, rows.ld), others,
                                  panels.data(), MatView<const T>(g, count, m), dist, out);
      if (!form.unit_rows) return;
      for (std::int64_t r = 0; r < count; ++r)
        finish_unit_row<T>(weighted_dist[r], x.unit->scale(begin + r), rows.row(begin + r), rows.cols,
                           out.row(r));
    });
  });
}

// Rows begin, ..., begin + count - 1 of the square form, diagonal 0.
template <class T>
void gather_condensed(std::int64_t n, const T* condensed, std::int64_t begin, std::int64_t count, T* square) {
  for (std::int64_t j = 0; j < begin; ++j) {
    const T* column = condensed + condensed_index(n, j, begin);
    for (std::int64_t r = 0; r < count; ++r) square[r * n + j] = column[r];
  }
  for (std::int64_t r = 0; r < count; ++r) {
    const std::int64_t i = begin + r;
    for (std::int64_t j = begin; j < i; ++j) square[r * n + j] = condensed[condensed_index(n, j, i)];
    square[r * n + i] = 0;
    std::copy_n(condensed + condensed_index(n, i, i + 1), n - i - 1, square + r * n + i + 1);
  }
}

// Few columns: each pair once. Parts of about equally many pairs, as many whatever the threads, have sums of
// their own, which are added in order.
template <class T>
void backward_few_columns(const Exec& exec, const DistanceForm& form, In<T> x, const T* dist, const T* g,
                          MatView<T> dx) {
  constexpr std::int64_t most_parts = 8;
  const std::int64_t n = x.rows;
  const std::int64_t parts = std::clamp<std::int64_t>(n / 64, 1, most_parts);
  const std::int64_t size = n * x.cols;
  const ScratchArray<T> columns(exec, size);
  const ScratchArray<T> sums(exec, parts * size);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t k = 0; k < x.cols; ++k) columns[k * n + i] = x(i, k);
  // The rows before i have a share 1 - (1 - i / n)^2 of the pairs.
  const auto begin = [&](std::int64_t part) {
    const double share = static_cast<double>(part) / static_cast<double>(parts);
    return part == parts ? n : static_cast<std::int64_t>(static_cast<double>(n) * (1 - std::sqrt(1 - share)));
  };
  with_isa([&](auto isa) {
    parallel_for(exec, parts, [&](std::int64_t part, int) {
      T* own = sums.data() + part * size;
      std::fill_n(own, size, T(0));
      add_condensed_gradient<isa, T>(form, n, x.cols, columns.data(), dist, g, begin(part), begin(part + 1),
                                     own);
    });
  });
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t k = 0; k < x.cols; ++k) {
      T sum = 0;
      for (std::int64_t part = 0; part < parts; ++part) sum += sums[part * size + k * n + i];
      dx(i, k) = sum;
    }
}

template <class T>
void gather_columns(In<T> m, std::int64_t begin, std::int64_t count, T* transposed) {
  for (std::int64_t i = 0; i < m.rows; ++i)
    for (std::int64_t r = 0; r < count; ++r) transposed[r * m.rows + i] = m(i, begin + r);
}

// The gradient of one side of the pairs.
template <class T>
void backward_pairs(const Exec& exec, const DistanceForm& form, const Side<T>& a, const Side<T>& b,
                    InSpan<T> dist, InSpan<T> g, MatView<T> da) {
  constexpr std::int64_t block = 1024;
  with_isa([&](auto isa) {
    const std::int64_t d = a.rows.cols;
    const ScratchArray<T> buffers(exec, exec.threads() * block);
    parallel_for(exec, ceil_div(a.rows.rows, block), [&](std::int64_t task, int thread) {
      const std::int64_t begin = task * block;
      const std::int64_t count = std::min(block, a.rows.rows - begin);
      T* weights = buffers.data() + thread * block;
      std::copy_n(g.data() + begin, count, weights);
      gradient_weights<isa, T>(form, count, dist.data() + begin, weights);
      paired_gradient<isa, T>(form, In<T>(a.rows.row(begin), count, d, a.rows.ld),
                              In<T>(b.rows.row(begin), count, d, b.rows.ld), weights, dist.data() + begin,
                              MatView<T>(da.row(begin), count, d, da.ld));
      if (!form.unit_rows) return;
      for (std::int64_t r = begin; r < begin + count; ++r) {
        const auto at = static_cast<std::size_t>(r);
        finish_unit_row<T>(g[at] * dist[at], a.unit->scale(r), a.rows.row(r), d, da.row(r));
      }
    });
  });
}

template <class T>
void check_shape(const char* who, const char* what, In<T> got, std::int64_t rows, std::int64_t cols) {
  FLATLAND_CHECK(got.rows == rows && got.cols == cols, who, ": ", what, " is ", got, " but must be (", rows,
                 ", ", cols, ")");
}
template <class T>
void check_gradient(const char* who, const char* what, In<T> got, In<T> of) {
  if (got.data != nullptr) check_shape<T>(who, what, got, of.rows, of.cols);
}

void check_size(const char* who, const char* what, std::size_t got, std::int64_t want) {
  FLATLAND_CHECK(static_cast<std::int64_t>(got) == want, who, ": ", what, " has ", got,
                 " values but must have ", want);
}

}  // namespace

template <class T>
void cross_distances_backward(const Exec& exec, Metric metric, In<T> x, In<T> y, In<T> dist, In<T> g,
                              MatView<T> dx, Out<T> dy) {
  constexpr const char* who = "cross_distances_backward";
  const DistanceForm form = distance_form(metric, who);
  FLATLAND_CHECK(x.cols == y.cols, who, ": x is ", x, " but y is ", y, "; the column counts must match");
  check_shape<T>(who, "dist", dist, x.rows, y.rows);
  check_shape<T>(who, "g", g, x.rows, y.rows);
  check_gradient<T>(who, "dx", dx, x);
  check_gradient<T>(who, "dy", dy, y);
  FLATLAND_ON_CUDA(exec) return cuda::cross_distances_backward<T>(exec, form, x, y, dist, g, dx, dy);
  const Side<T> sx(exec, form, x);
  const Side<T> sy(exec, form, y);
  if (dx.data != nullptr) {
    backward_rows<T>(exec, form, sx, sy, dx, [&](std::int64_t begin, std::int64_t count, T* gs, T* dists) {
      for (std::int64_t r = 0; r < count; ++r) {
        std::copy_n(g.row(begin + r), y.rows, gs + r * y.rows);
        std::copy_n(dist.row(begin + r), y.rows, dists + r * y.rows);
      }
    });
  }
  if (dy.data != nullptr) {
    backward_rows<T>(exec, form, sy, sx, dy, [&](std::int64_t begin, std::int64_t count, T* gs, T* dists) {
      gather_columns<T>(g, begin, count, gs);
      gather_columns<T>(dist, begin, count, dists);
    });
  }
}

template <class T>
void condensed_distances_backward(const Exec& exec, Metric metric, In<T> x, InSpan<T> dist, InSpan<T> g,
                                  MatView<T> dx) {
  constexpr const char* who = "condensed_distances_backward";
  const DistanceForm form = distance_form(metric, who);
  check_size(who, "dist", dist.size(), condensed_size(x.rows));
  check_size(who, "g", g.size(), condensed_size(x.rows));
  check_shape<T>(who, "dx", dx, x.rows, x.cols);
  FLATLAND_ON_CUDA(exec) return cuda::condensed_distances_backward<T>(exec, form, x, dist, g, dx);
  if (form.term == Term::squares && !form.unit_rows && (x.cols == 2 || x.cols == 3))
    return backward_few_columns<T>(exec, form, x, dist.data(), g.data(), dx);
  const Side<T> side(exec, form, x);
  backward_rows<T>(exec, form, side, side, dx, [&](std::int64_t begin, std::int64_t count, T* gs, T* dists) {
    gather_condensed<T>(x.rows, g.data(), begin, count, gs);
    gather_condensed<T>(x.rows, dist.data(), begin, count, dists);
  });
}

template <class T>
void pair_distances_backward(const Exec& exec, Metric metric, In<T> a, In<T> b, InSpan<T> dist, InSpan<T> g,
                             MatView<T> da, Out<T> db) {
  constexpr const char* who = "pair_distances_backward";
  const DistanceForm form = distance_form(metric, who);
  FLATLAND_CHECK(a.rows == b.rows && a.cols == b.cols, who, ": a is ", a, " but b is ", b,
                 "; the shapes must match");
  check_size(who, "dist", dist.size(), a.rows);
  check_size(who, "g", g.size(), a.rows);
  check_gradient<T>(who, "da", da, a);
  check_gradient<T>(who, "db", db, b);
  FLATLAND_ON_CUDA(exec) return cuda::pair_distances_backward<T>(exec, form, a, b, dist, g, da, db);
  const Side<T> sa(exec, form, a);
  const Side<T> sb(exec, form, b);
  if (da.data != nullptr) backward_pairs<T>(exec, form, sa, sb, dist, g, da);
  if (db.data != nullptr) backward_pairs<T>(exec, form, sb, sa, dist, g, db);
}

#define FLATLAND_INSTANTIATE(T)                                                                          \
  template void cross_distances_backward<T>(const Exec&, Metric, In<T>, In<T>, In<T>, In<T>, MatView<T>, \
                                            Out<T>);                                                     \
  template void condensed_distances_backward<T>(const Exec&, Metric, In<T>, InSpan<T>, InSpan<T>,        \
                                                MatView<T>);                                             \
  template void pair_distances_backward<T>(const Exec&, Metric, In<T>, In<T>, InSpan<T>, InSpan<T>,      \
                                           MatView<T>, Out<T>);
FLATLAND_INSTANTIATE(float)
FLATLAND_INSTANTIATE(double)
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
