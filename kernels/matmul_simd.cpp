#include <flatland/kernels/activation_formulas.h>
#include <flatland/kernels/matmul_simd.h>
#include <flatland/kernels/parallel.h>

namespace flatland::kernels {

namespace {

using std::int64_t;

FLATLAND_HD constexpr int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
// Pieces of at most `most`, all about equal.
FLATLAND_HD constexpr int64_t even_piece(int64_t n, int64_t most) {
  return n <= most ? n : ceil_div(n, ceil_div(n, most));
}

// Rows that a micro-kernel with panels of `vectors` vectors takes at once.
template <Isa I>
constexpr int rows_for(int vectors) {
  if (I == Isa::v4) return vectors == 4 ? 6 : vectors == 3 ? 8 : 12;
  if (I == Isa::v3) return vectors == 2 ? 6 : 10;
  return vectors == 2 ? 4 : 6;
}
// A panel of this many k stays in the first-level cache.
template <Isa I, class T>
constexpr int64_t k_block = smaller(512, 32768 / (gemm_panel<I, T> * static_cast<int64_t>(sizeof(T))));

// op(a): value (i, k) stands in row i at k, or in row k at i where transposed.
template <class T>
struct Left {
  RowsView<T> values;
  bool transposed;
  int64_t i = 0, k = 0;  // its first value

  FLATLAND_HD Left at(int64_t di, int64_t dk) const { return {values, transposed, i + di, k + dk}; }
  // Where the column begins in row i of op(a), and row k of the columns if transposed.
  FLATLAND_HD const T* row(int64_t di) const {
    return transposed ? values.row(k) + i + di : values.row(i + di) + k;
  }
};

// How a micro-kernel finds the values of op(a): in rows at equal distances, in columns, in rows of an index.
enum class Walk { rows, columns, indexed };

// c (rows, n) = or += a (rows, k) panel (k, vectors), n in (vectors - 1, vectors] vectors.
template <Isa I, class T, int rows, int vectors, Walk walk>
[[gnu::noinline]] void micro_kernel(const Left<T>& a, const T* panel, int64_t k, T* c, int64_t ldc, int64_t n,
                                    bool accumulate) {
  using V = Vec<T, I>;
  constexpr int width = lanes<T, I>;
  const int64_t last = n - (vectors - 1) * width;
  const int64_t lda = a.values.all.ld;
  const T* first = a.row(0);
  const T* from[rows];
  if constexpr (walk == Walk::indexed) {
    FLATLAND_UNROLL for (int i = 0; i < rows; ++i) from[i] = a.row(i);
  }
  V sum[rows][vectors] = {};
  if (accumulate) {
    FLATLAND_UNROLL for (int i = 0; i < rows; ++i) {
      FLATLAND_UNROLL for (int v = 0; v < vectors - 1; ++v) sum[i][v] = load<I>(c + i * ldc + v * width);
      sum[i][vectors - 1] = load_part<I>(c + i * ldc + (vectors - 1) * width, last);
    }
  }
  for (int64_t l = 0; l < k; ++l) {
    V b[vectors];
    FLATLAND_UNROLL for (int v = 0; v < vectors; ++v) b[v] = load<I>(panel + v * width);
    FLATLAND_UNROLL for (int i = 0; i < rows; ++i) {
      const V x = splat<V>(walk == Walk::indexed   ? from[i][l]
                           : walk == Walk::columns ? first[i]
                                                   : first[i * lda]);
      FLATLAND_UNROLL for (int v = 0; v < vectors; ++v) sum[i][v] = fma(x, b[v], sum[i][v]);
    }
    first += walk == Walk::columns ? lda : 1;
    panel += vectors * width;
  }
  FLATLAND_UNROLL for (int i = 0; i < rows; ++i) {
    FLATLAND_UNROLL for (int v = 0; v < vectors - 1; ++v) store<I>(c + i * ldc + v * width, sum[i][v]);
    store_part<I>(c + i * ldc + (vectors - 1) * width, sum[i][vectors - 1], last);
  }
}

template <Isa I, class T>
void add_bias(const T* bias, T* c, int64_t ldc, int64_t m, int64_t n) {
  for (int64_t i = 0; i < m; ++i, c += ldc)
    for (int64_t j = 0; j < n; j += lanes<T, I>)
      store_part<I>(c + j, load_part<I>(c + j, n - j) + load_part<I>(bias + j, n - j), n - j);
}
template <Isa I, class T>
[[gnu::noinline]] void apply_epilogue(const GemmEpilogue<T>& epilogue, T* c, int64_t ldc, int64_t m,
                                      int64_t n) {
  if (epilogue.bias != nullptr) add_bias<I>(epilogue.bias, c, ldc, m, n);
  if (epilogue.activation.kind == ActivationKind::identity) return;
  const T slope = static_cast<T>(epilogue.activation.slope);
  with_activation(epilogue.activation.kind, [&](auto kind) {
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; j += lanes<T, I>) {
        T* p = c + i * ldc + j;
        store_part<I>(p, activation_value<kind>(load_part<I>(p, n - j), slope), n - j);
      }
  });
}

// All rows of a times one panel: blocks of `rows`, then smaller ones. The sum of each value is the same chain
// in every micro-kernel.
template <Isa I, class T, int rows, int vectors>
void panel_rows(Left<T> a, int64_t& i, int64_t m, const T* panel, int64_t k, T* c, int64_t ldc, int64_t n,
                bool accumulate, const GemmEpilogue<T>* epilogue) {
  for (; m - i >= rows; i += rows) {
    T* ci = c + i * ldc;
    const Left<T> left = a.at(i, 0);
    if (a.transposed)
      micro_kernel<I, T, rows, vectors, Walk::columns>(left, panel, k, ci, ldc, n, accumulate);
    else if (a.values.index == nullptr)
      micro_kernel<I, T, rows, vectors, Walk::rows>(left, panel, k, ci, ldc, n, accumulate);
    else
      micro_kernel<I, T, rows, vectors, Walk::indexed>(left, panel, k, ci, ldc, n, accumulate);
    if (epilogue != nullptr) apply_epilogue<I>(*epilogue, ci, ldc, rows, n);
  }
}
template <Isa I, class T, int vectors>
[[gnu::noinline]] void panel_product(Left<T> a, int64_t m, const T* panel, int64_t k, T* c, int64_t ldc,
                                     int64_t n, bool accumulate, const GemmEpilogue<T>* epilogue) {
  int64_t i = 0;
  panel_rows<I, T, rows_for<I>(vectors), vectors>(a, i, m, panel, k, c, ldc, n, accumulate, epilogue);
  if constexpr (rows_for<I>(vectors) > 4)
    panel_rows<I, T, 4, vectors>(a, i, m, panel, k, c, ldc, n, accumulate, epilogue);
  panel_rows<I, T, 1, vectors>(a, i, m, panel, k, c, ldc, n, accumulate, epilogue);
}

// c (m, n) = or += op(a) (m, k) times n packed columns; `packed_k` is the height that panels were packed
// with. The epilogue's bias stands for column 0 of this tile.
template <Isa I, class T>
void tile(Left<T> a, int64_t m, const T* packed, int64_t packed_k, int64_t n, int64_t k, T* c, int64_t ldc,
          bool accumulate, const GemmEpilogue<T>* epilogue) {
  constexpr int64_t panel = gemm_panel<I, T>;
  const int64_t block = even_piece(k, k_block<I, T>);
  int64_t k0 = 0;
  do {
    const int64_t height = smaller(block, k - k0);
    const bool first = k0 == 0;
    const bool last = k0 + height >= k;
    for (int64_t j = 0; j < n; j += panel) {
      const int64_t cols = smaller(panel, n - j);
      const int64_t vectors = ceil_div(cols, lanes<T, I>);
      const T* values = packed + j * packed_k + k0 * vectors * lanes<T, I>;
      const bool add = accumulate || !first;
      GemmEpilogue<T> part;
      if (last && epilogue != nullptr) {
        part = *epilogue;
        if (part.bias != nullptr) part.bias += j;
      }
      const GemmEpilogue<T>* end = last && epilogue != nullptr ? &part : nullptr;
      const Left<T> left = a.at(0, k0);
      if (vectors == 1) panel_product<I, T, 1>(left, m, values, height, c + j, ldc, cols, add, end);
      if (vectors == 2) panel_product<I, T, 2>(left, m, values, height, c + j, ldc, cols, add, end);
      if constexpr (gemm_panel_vectors<I> == 4) {
        if (vectors == 3) panel_product<I, T, 3>(left, m, values, height, c + j, ldc, cols, add, end);
        if (vectors == 4) panel_product<I, T, 4>(left, m, values, height, c + j, ldc, cols, add, end);
      }
    }
    k0 += height;
  } while (k0 < k);
}

// One panel from columns j0 ... j0 + n - 1 of b's rows k0 ... k0 + k - 1: copied row by row, zeros past the
// last column.
template <Isa I, class T>
void pack_columns(const RowsView<T>& b, int64_t k0, int64_t j0, int64_t n, int64_t k, T* panel) {
  for (int64_t l = 0; l < k; ++l) {
    const T* const row = b.row(k0 + l) + j0;
    for (int64_t j = 0; j < n; j += lanes<T, I>, panel += lanes<T, I>)
      store<I>(panel, load_part<I>(row + j, n - j));
  }
}

// Transposes a square of vectors by log2(width) perfect shuffles.
template <class V, int... i>
FLATLAND_HD void zip(V a, V b, V& low, V& high, std::integer_sequence<int, i...>) {
  constexpr int width = sizeof...(i);
  low = __builtin_shufflevector(a, b, (i / 2 + i % 2 * width)...);
  high = __builtin_shufflevector(a, b, (width / 2 + i / 2 + i % 2 * width)...);
}
template <class V, int width>
FLATLAND_HD void transpose_square(V (&rows)[width]) {
  FLATLAND_UNROLL for (int stage = 1; stage < width; stage *= 2) {
    V next[width];
    FLATLAND_UNROLL for (int i = 0; i < width / 2; ++i) zip(
        rows[i], rows[i + width / 2], next[2 * i], next[2 * i + 1], std::make_integer_sequence<int, width>{});
    FLATLAND_UNROLL for (int i = 0; i < width; ++i) rows[i] = next[i];
  }
}
// One panel from rows j0 ... j0 + n - 1 of b, their values k0 ... k0 + k - 1.
template <Isa I, class T>
void pack_rows(const RowsView<T>& b, int64_t j0, int64_t k0, int64_t n, int64_t k, T* panel) {
  constexpr int width = lanes<T, I>;
  const int64_t stride = ceil_div(n, width) * width;
  for (int64_t l = 0; l < k; l += width)
    for (int64_t j = 0; j < n; j += width) {
      Vec<T, I> square[width];
      for (int i = 0; i < width; ++i)
        square[i] = j + i < n ? load_part<I>(b.row(j0 + j + i) + k0 + l, k - l) : Vec<T, I>{};
      transpose_square(square);
      T* p = panel + l * stride + j;
      for (int i = 0; i < width; ++i)
        if (l + i < k) store<I>(p + i * stride, square[i]);
    }
}

}  // namespace

template <Isa I, class T>
void gemm_pack_rows(const T* b, int64_t ldb, int64_t n, int64_t k, T* packed) {
  for (int64_t j = 0; j < n; j += gemm_panel<I, T>)
    pack_rows<I, T>(MatView<const T>(b, n, k, ldb), j, 0, smaller(gemm_panel<I, T>, n - j), k,
                    packed + j * k);
}

template <Isa I, class T>
void gemm_rows(const T* a, int64_t lda, int64_t m, const T* packed, int64_t n, int64_t k, T* c, int64_t ldc) {
  tile<I, T>({MatView<const T>(a, m, k, lda), false}, m, packed, k, n, k, c, ldc, false, nullptr);
}

namespace {

// A block of a product: columns j0 ... j0 + cols - 1 of c, height k of op(a) and op(b) from k0 on.
template <Isa I, class T>
struct Block {
  Transpose transpose;
  RowsView<T> a, b;
  MatView<T> c;
  int64_t j0, cols, k0, height;
  T* packed;
  bool add;                         // to what c holds
  const GemmEpilogue<T>* epilogue;  // null but in the last block of k

  // The panel that begins at column j of the block.
  void pack(int64_t j) const {
    const int64_t width = smaller(gemm_panel<I, T>, cols - j);
    if (transpose == Transpose::b)
      pack_rows<I, T>(b, j0 + j, k0, width, height, packed + j * height);
    else
      pack_columns<I, T>(b, k0, j0 + j, width, height, packed + j * height);
  }
  // The tile of c from row i and the block's column j on, of at most these sizes.
  void multiply(int64_t i, int64_t rows, int64_t j, int64_t width) const {
    GemmEpilogue<T> part;
    if (epilogue != nullptr) {
      part = *epilogue;
      if (part.bias != nullptr) part.bias += j0 + j;
    }
    tile<I, T>(Left<T>{a, transpose == Transpose::a}.at(i, k0), smaller(rows, c.rows - i),
               packed + j * height, height, smaller(width, cols - j), height, c.row(i) + j0 + j, c.ld, add,
               epilogue != nullptr ? &part : nullptr);
  }
};

// Many rows: all tasks share what was packed before. Tiles have rows that the micro-kernels divide.
template <Isa I, class T>
void run(const Exec& exec, const Block<I, T>& block) {
  constexpr int64_t panel = gemm_panel<I, T>;
  const int64_t m = block.c.rows;
  const int64_t pack_width = block.cols * block.height < 32768 ? block.cols : panel;
  parallel_for(exec, ceil_div(block.cols, pack_width), [&](int64_t task, int) {
    const int64_t j0 = task * pack_width;
    for (int64_t j = j0; j < smaller(j0 + pack_width, block.cols); j += panel) block.pack(j);
  });
  const int64_t rows = m < 768 ? 48 : 96, width = 256 / panel * panel;
  const int64_t across = ceil_div(block.cols, width);
  parallel_for(exec, across * ceil_div(m, rows), [&](int64_t task, int) {
    block.multiply(task / across * rows, rows, task % across * width, width);
  });
}

// As many k as leave op(a), of m rows, and a panel in the first-level cache; at least half of what a panel
// may have.
template <Isa I, class T>
constexpr int64_t column_k_block(int64_t m) {
  constexpr int64_t most = k_block<I, T>, cache = 40960 / static_cast<int64_t>(sizeof(T));
  const int64_t fits = cache / (m + gemm_panel<I, T>);
  return fits < most / 2 ? most / 2 : smaller(fits, most);
}

// Few rows: a task has columns of its own. It goes through op(b) once, some rows at a time, and packs a panel
// of them right before all rows of op(a) use it. Little work stays in one task.
template <Isa I, class T>
void run_columns(const Exec& exec, Block<I, T> whole, const GemmEpilogue<T>* epilogue, int64_t k) {
  constexpr int64_t panel = gemm_panel<I, T>;
  const int64_t m = whole.c.rows, n = whole.c.cols;
  const int64_t panels = ceil_div(n, panel);
  const bool little = m * n * (k + 16) < (1 << 18);
  const int64_t share = panels / (2 * exec.threads());
  const int64_t width = panel * (little ? panels : share < 1 ? 1 : smaller(share, 4));
  const int64_t height = even_piece(k, column_k_block<I, T>(m));
  const ScratchArray<T> packed(exec, exec.threads() * panel * (height > 0 ? height : 1));
  parallel_for(exec, ceil_div(n, width), [&](int64_t task, int thread) {
    Block<I, T> block = whole;
    block.packed = packed.data() + thread * panel * height;
    int64_t k0 = 0;
    do {
      block.k0 = k0;
      block.height = smaller(height, k - k0);
      block.add = whole.add || k0 > 0;
      k0 += block.height;
      block.epilogue = k0 < k ? nullptr : epilogue;
      for (block.j0 = task * width; block.j0 < smaller((task + 1) * width, n); block.j0 += panel) {
        block.cols = smaller(panel, n - block.j0);
        block.pack(0);
        block.multiply(0, m, 0, panel);
      }
    } while (k0 < k);
  });
}

}  // namespace

template <Isa I, class T>
void gemm(const Exec& exec, Transpose transpose, const RowsView<T>& a, const RowsView<T>& b, MatView<T> c,
          bool accumulate, const GemmEpilogue<T>& epilogue) {
  constexpr int64_t panel = gemm_panel<I, T>;
  const int64_t k = transpose == Transpose::a ? a.rows : a.cols;
  if (c.rows == 0 || c.cols == 0) return;
  const bool plain = epilogue.bias == nullptr && epilogue.activation.kind == ActivationKind::identity;
  const GemmEpilogue<T>* const end = plain ? nullptr : &epilogue;
  if (c.rows <= 128 || c.rows * c.cols * (k + 16) < (1 << 18))
    return run_columns<I, T>(exec, {transpose, a, b, c, 0, 0, 0, 0, nullptr, accumulate, nullptr}, end, k);
  // op(b) is packed in blocks of about 4 MB.
  const int64_t n_step = ceil_div(even_piece(c.cols, 64 * panel), panel) * panel;
  const int64_t k_most = (int64_t{1} << 20) / n_step;
  const int64_t k_step = even_piece(k, k_most < 256 ? 256 : k_most);
  const ScratchArray<T> packed(exec, n_step * (k_step > 0 ? k_step : 1));
  for (int64_t j0 = 0; j0 < c.cols; j0 += n_step) {
    int64_t k0 = 0;
    do {
      const int64_t height = smaller(k_step, k - k0);
      const bool last = k0 + height >= k;
      run<I, T>(exec, {transpose, a, b, c, j0, smaller(n_step, c.cols - j0), k0, height, packed.data(),
                       accumulate || k0 > 0, last ? end : nullptr});
      k0 += height;
    } while (k0 < k);
  }
}

#define FLATLAND_INSTANTIATE(T)                                                                              \
  template void gemm_pack_rows<this_isa, T>(const T*, int64_t, int64_t, int64_t, T*);                        \
  template void gemm_rows<this_isa, T>(const T*, int64_t, int64_t, const T*, int64_t, int64_t, T*, int64_t); \
  template void gemm<this_isa, T>(const Exec&, Transpose, const RowsView<T>&, const RowsView<T>&,            \
                                  MatView<T>, bool, const GemmEpilogue<T>&)
FLATLAND_INSTANTIATE(float);
FLATLAND_INSTANTIATE(double);
#undef FLATLAND_INSTANTIATE

}  // namespace flatland::kernels
