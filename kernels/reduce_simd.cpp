#include <flatland/kernels/reduce_simd.h>
#include <flatland/kernels/simd.h>

namespace flatland::kernels {

namespace {

// W values as doubles; W is 1 or the number of double lanes.
template <Isa I, int W>
struct DoublesOf {
  using type = Vec<double, I>;
};
template <Isa I>
struct DoublesOf<I, 1> {
  using type = double;
};
template <Isa I, int W>
using Doubles = typename DoublesOf<I, W>::type;

template <Isa I, int W, class T>
FLATLAND_HD Doubles<I, W> load_doubles(const T* p) {
  if constexpr (W == 1) {
    return static_cast<double>(*p);
  } else if constexpr (sizeof(T) == sizeof(double)) {
    return load<I>(p);
  } else {
    using Half = typename detail::VecType<float, vec_bytes<I> / 2>::unaligned;
    return __builtin_convertvector(*reinterpret_cast<const Half*>(p), Vec<double, I>);
  }
}
template <Isa I, int W>
FLATLAND_HD void store_doubles(double* p, Doubles<I, W> v) {
  if constexpr (W == 1) {
    *p = v;
  } else {
    store<I>(p, v);
  }
}

template <Isa I, int W, ColumnTerm term, class T>
FLATLAND_HD Doubles<I, W> load_term(const T* x, Doubles<I, W> center) {
  return column_term<term>(load_doubles<I, W>(x), center);
}

// Adds R rows (1 or 4) to `partial`, columns begin .. as far as blocks of W reach; returns where it stopped.
template <Isa I, int W, int R, ColumnTerm term, class T>
FLATLAND_HD std::int64_t add_rows(const T* x, std::int64_t ld, std::int64_t begin, std::int64_t cols,
                                  const double* center, double* partial) {
  std::int64_t j = begin;
  for (; j + W <= cols; j += W) {
    Doubles<I, W> c{};
    if constexpr (term != ColumnTerm::value) c = load_doubles<I, W>(center + j);
    Doubles<I, W> s = load_term<I, W, term>(x + j, c);
    if constexpr (R == 4) {
      s = (s + load_term<I, W, term>(x + ld + j, c)) +
          (load_term<I, W, term>(x + 2 * ld + j, c) + load_term<I, W, term>(x + 3 * ld + j, c));
    }
    store_doubles<I, W>(partial + j, load_doubles<I, W>(partial + j) + s);
  }
  return j;
}

template <Isa I, ColumnTerm term, class T>
FLATLAND_HD void column_sums_of(const T* x, std::int64_t ld, std::int64_t rows, std::int64_t cols,
                                const double* center, double* partial) {
  constexpr int W = lanes<double, I>;
  for (std::int64_t j = 0; j < cols; ++j) partial[j] = 0;
  std::int64_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    const std::int64_t j = add_rows<I, W, 4, term>(x + i * ld, ld, 0, cols, center, partial);
    add_rows<I, 1, 4, term>(x + i * ld, ld, j, cols, center, partial);
  }
  for (; i < rows; ++i) {
    const std::int64_t j = add_rows<I, W, 1, term>(x + i * ld, ld, 0, cols, center, partial);
    add_rows<I, 1, 1, term>(x + i * ld, ld, j, cols, center, partial);
  }
}

constexpr int k_sum_lanes = 32;

}  // namespace

// 32 running sums whatever the level, added by halves at the end.
template <Isa I, class T>
double sum_dense(const T* x, std::int64_t n) {
  constexpr int W = lanes<double, I>;
  constexpr int V = k_sum_lanes / W;
  Vec<double, I> sums[V] = {};
  std::int64_t i = 0;
  for (; i + k_sum_lanes <= n; i += k_sum_lanes) {
    for (int k = 0; k < V; ++k) sums[k] += load_doubles<I, W>(x + i + k * W);
  }
  if (i < n) {
    T rest[k_sum_lanes] = {};
    for (int k = 0; i + k < n; ++k) rest[k] = x[i + k];
    for (int k = 0; k < V; ++k) sums[k] += load_doubles<I, W>(rest + k * W);
  }
  double lane[k_sum_lanes];
  for (int k = 0; k < V; ++k) store<I>(lane + k * W, sums[k]);
  for (int width = k_sum_lanes / 2; width > 0; width /= 2) {
    for (int k = 0; k < width; ++k) lane[k] += lane[k + width];
  }
  return lane[0];
}

template <Isa I, class T>
void column_sums_tile(ColumnTerm term, const T* x, std::int64_t ld, std::int64_t rows, std::int64_t cols,
                      const double* center, double* partial) {
  switch (term) {
    case ColumnTerm::value:
      return column_sums_of<I, ColumnTerm::value>(x, ld, rows, cols, center, partial);
    case ColumnTerm::deviation:
      return column_sums_of<I, ColumnTerm::deviation>(x, ld, rows, cols, center, partial);
    case ColumnTerm::squared_deviation:
      return column_sums_of<I, ColumnTerm::squared_deviation>(x, ld, rows, cols, center, partial);
  }
}

template <Isa I, class T>
T max_dense(const T* x, std::int64_t n) {
  constexpr int W = lanes<T, I>, V = 4;
  T result = x[0];
  std::int64_t i = 0;
  if (n >= V * W) {
    Vec<T, I> best[V];
    for (int k = 0; k < V; ++k) best[k] = load<I>(x + k * W);
    for (i = V * W; i + V * W <= n; i += V * W) {
      for (int k = 0; k < V; ++k) best[k] = larger(load<I>(x + i + k * W), best[k]);
    }
    T lane[V * W];
    for (int k = 0; k < V; ++k) store<I>(lane + k * W, best[k]);
    for (int k = 0; k < V * W; ++k) result = larger(lane[k], result);
  }
  for (; i < n; ++i) result = larger(x[i], result);
  return result;
}

template <Isa I, class T>
std::int64_t count_non_finite(const T* x, std::int64_t n) {
  using Int = typename detail::IntOf<T>::type;
  constexpr int W = lanes<T, I>;
  constexpr Int exponent = sizeof(T) == 4 ? Int(0x7f800000) : static_cast<Int>(0x7ff0000000000000);
  IntVec<T, I> counts{};
  std::int64_t i = 0;
  for (; i + W <= n; i += W) {
    const IntVec<T, I> bits = (IntVec<T, I>)load<I>(x + i);
    counts -= ((bits & exponent) == exponent);
  }
  std::int64_t count = 0;
  for (int k = 0; k < W; ++k) count += counts[k];
  for (; i < n; ++i) count += !(x[i] - x[i] == 0);
  return count;
}

template double sum_dense<this_isa>(const float*, std::int64_t);
template double sum_dense<this_isa>(const double*, std::int64_t);
template void column_sums_tile<this_isa>(ColumnTerm, const float*, std::int64_t, std::int64_t, std::int64_t,
                                         const double*, double*);
template void column_sums_tile<this_isa>(ColumnTerm, const double*, std::int64_t, std::int64_t, std::int64_t,
                                         const double*, double*);
template float max_dense<this_isa>(const float*, std::int64_t);
template double max_dense<this_isa>(const double*, std::int64_t);
template std::int64_t count_non_finite<this_isa>(const float*, std::int64_t);
template std::int64_t count_non_finite<this_isa>(const double*, std::int64_t);

}  // namespace flatland::kernels
