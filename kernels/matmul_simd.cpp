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
// Panels of this many k stay in the second-level cache.
constexpr int64_t k_panel_height = 512;

// op(a): value (i, k) stands in row i at k, or in row k at i where transposed.
template <class T>
struct Left {
  RowsView<T> values;
  bool transposed;
  int64_t i = 0, k = 0;  // its first value

  FLATLAND_HD Left at(int64_t di, int64_t dk) const { return {values, transposed, i + di, k + dk}; }
};

// Row addresses are made one after the other: all at once, they would not fit into the registers.
template <class P>
FLATLAND_HD void next_row(P*& row, int64_t ld) {
  row += ld;
  asm("" : "+r"(row));
}

// c (rows, n) = or += op(a) (rows, k) panel (k, vectors), n in (vectors - 1, vectors] vectors. Meanwhile it
// fetches what is read next: with `ahead` the rows of a that follow these, of columns the line beside theirs.
template <Isa I, class T, int rows, int vectors, bool transposed>
[[gnu::noinline]] void micro_kernel(const Left<T>& a, const T* panel, int64_t k, T* c, int64_t ldc, int64_t n,
                                    bool accumulate, bool ahead) {
  using V = Vec<T, I>;
  constexpr int width = lanes<T, I>;
  constexpr int64_t line = 64 / sizeof(T);
  const int64_t last = n - (vectors - 1) * width;
  const T *from[rows], *next[rows];
  FLATLAND_UNROLL for (int i = 0; i < rows && !transposed; ++i) {
    from[i] = a.values.row(a.i + i) + a.k;
    next[i] = ahead ? a.values.row(a.i + rows + i) + a.k : from[i];
  }
  V sum[rows][vectors] = {};
  if (accumulate) {
    const T* ci = c;
    FLATLAND_UNROLL for (int i = 0; i < rows; ++i) {
      FLATLAND_UNROLL for (int v = 0; v < vectors - 1; ++v) sum[i][v] = load<I>(ci + v * width);
      sum[i][vectors - 1] = load_part<I>(ci + (vectors - 1) * width, last);
      next_row(ci, ldc);
    }
  }
  for (int64_t l = 0; l < k; ++l) {
    const T* column = nullptr;
    if (transposed) {
      column = a.values.row(a.k + l) + a.i;
      __builtin_prefetch(column + line);
    } else if (l % line == 0) {
      for (int i = 0; i < rows; ++i) __builtin_prefetch(next[i] + l);
    }
    V b[vectors];
    FLATLAND_UNROLL for (int v = 0; v < vectors; ++v) b[v] = load<I>(panel + v * width);
    FLATLAND_UNROLL for (int i = 0; i < rows; ++i) {
      const V x = splat<V>(transposed ? column[i] : from[i][l]);
      FLATLAND_UNROLL for (int v = 0; v < vectors; ++v) sum[i][v] = fma(x, b[v], sum[i][v]);
    }
    panel += vectors * width;
  }
  FLATLAND_UNROLL for (int i = 0; i < rows; ++i) {
    FLATLAND_UNROLL for (int v = 0; v < vectors - 1; ++v) store<I>(c + v * width, sum[i][v]);
    store_part<I>(c + (vectors - 1) * width, sum[i][vectors - 1], last);
    next_row(c, ldc);
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
// in every micro-kernel. `cold` says that these rows of a have not been read before.
template <Isa I, class T, int rows, int vectors>
void panel_rows(Left<T> a, int64_t& i, int64_t m, const T* panel, int64_t k, T* c, int64_t ldc, int64_t n,
                bool accumulate, const GemmEpilogue<T>* epilogue, bool cold) {
  for (; m - i >= rows; i += rows) {
    T* ci = c + i * ldc;
    const Left<T> left = a.at(i, 0);
    const bool ahead = cold && m - i >= 2 * rows;
    if (a.transposed)
      micro_kernel<I, T, rows, vectors, true>(left, panel, k, ci, ldc, n, accumulate, false);
    else
      micro_kernel<I, T, rows, vectors, false>(left, panel, k, ci, ldc, n, accumulate, ahead);
    if (epilogue != nullptr) apply_epilogue<I>(*epilogue, ci, ldc, rows, n);
  }
}
template <Isa I, class T, int vectors>
[[gnu::noinline]] void panel_product(Left<T> a, int64_t m, const T* panel, int64_t k, T* c, int64_t ldc,
                                     int64_t n, bool accumulate, const GemmEpilogue<T>* epilogue, bool cold) {
  int64_t i = 0;
  panel_rows<I, T, rows_for<I>(vectors), vectors>(a, i, m, panel, k, c, ldc, n, accumulate, epilogue, cold);
  if constexpr (rows_for<I>(vectors) > 4)
    panel_rows<I, T, 4, vectors>(a, i, m, panel, k, c, ldc, n, accumulate, epilogue, cold);
  panel_rows<I, T, 1, vectors>(a, i, m, panel, k, c, ldc, n, accumulate, epilogue, cold);
}

// c (m, n) = or += op(a) (m, k) times n packed columns; `packed_k` is the height that panels were packed
// with. The epilogue's bias stands for column 0 of this tile.
template <Isa I, class T>
void tile(Left<T> a, int64_t m, const T* packed, int64_t packed_k, int64_t n, int64_t k, T* c, int64_t ldc,
          bool accumulate, const GemmEpilogue<T>* epilogue) {
  constexpr int64_t panel = gemm_panel<I, T>;
  const int64_t block = even_piece(k, k_panel_height);
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
      if (vectors == 1) panel_product<I, T, 1>(left, m, values, height, c + j, ldc, cols, add, end, j == 0);
      if (vectors == 2) panel_product<I, T, 2>(left, m, values, height, c + j, ldc, cols, add, end, j == 0);
      if constexpr (gemm_panel_vectors<I> == 4) {
        if (vectors == 3) panel_product<I, T, 3>(left, m, values, height, c + j, ldc, cols, add, end, j == 0);
        if (vectors == 4) panel_product<I, T, 4>(left, m, values, height, c + j, ldc, cols, add, end, j == 0);
      }
    }
    k0 += height;
  } while (k0 < k);
}

// Panels from columns j0 ... j0 + n - 1 of b's rows k0 ... k0 + k - 1: copied row by row, zeros past the last
// column.
template <Isa I, class T>
void pack_columns(const RowsView<T>& b, int64_t k0, int64_t j0, int64_t n, int64_t k, T* packed) {
  constexpr int64_t panel = gemm_panel<I, T>, width = lanes<T, I>;
  for (int64_t l = 0; l < k; ++l) {
    const T* const row = b.row(k0 + l) + j0;
    for (int64_t first = 0; first < n; first += panel) {
      const int64_t cols = smaller(panel, n - first), stride = ceil_div(cols, width) * width;
      T* const to = packed + first * k + l * stride;
      for (int64_t j = 0; j < cols; j += width) store<I>(to + j, load_part<I>(row + first + j, cols - j));
    }
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

  // The panels of `width` columns from column j of the block on.
  void pack(int64_t j, int64_t width) const {
    constexpr int64_t panel = gemm_panel<I, T>;
    const int64_t end = smaller(j + width, cols);
    if (transpose != Transpose::b)
      return pack_columns<I, T>(b, k0, j0 + j, end - j, height, packed + j * height);
    for (; j < end; j += panel)
      pack_rows<I, T>(b, j0 + j, k0, smaller(panel, end - j), height, packed + j * height);
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
  parallel_for(exec, ceil_div(block.cols, pack_width),
               [&](int64_t task, int) { block.pack(task * pack_width, pack_width); });
  const int64_t rows = m < 768 ? 48 : 96, width = 256 / panel * panel;
  const int64_t across = ceil_div(block.cols, width);
  parallel_for(exec, across * ceil_div(m, rows), [&](int64_t task, int) {
    block.multiply(task / across * rows, rows, task % across * width, width);
  });
}

// Few rows: a task has columns of its own. It goes through op(b) once, a block at a time, which it packs
// right before all rows of op(a) use it. Little work stays in one task.
template <Isa I, class T>
void run_columns(const Exec& exec, Block<I, T> whole, const GemmEpilogue<T>* epilogue, int64_t k) {
  constexpr int64_t panel = gemm_panel<I, T>, most = 4 * panel;
  const int64_t m = whole.c.rows, n = whole.c.cols;
  const int64_t panels = ceil_div(n, panel);
  const bool little = m * n * (k + 16) < (1 << 18);
  const int64_t share = panels / (2 * exec.threads());
  const int64_t width = little ? panels * panel : share < 1 ? panel : smaller(share * panel, most);
  const int64_t height = even_piece(k, k_panel_height / 2);
  // Rows of op(b) are copied in long pieces; its columns are transposed.
  const int64_t cols = whole.transpose == Transpose::b ? panel : smaller(width, most);
  const int64_t room = cols * (height > 0 ? height : 1);
  const ScratchArray<T> packed(exec, exec.threads() * room);
  parallel_for(exec, ceil_div(n, width), [&](int64_t task, int thread) {
    Block<I, T> block = whole;
    block.packed = packed.data() + thread * room;
    const int64_t end = smaller((task + 1) * width, n);
    int64_t k0 = 0;
    do {
      block.k0 = k0;
      block.height = smaller(height, k - k0);
      block.add = whole.add || k0 > 0;
      k0 += block.height;
      block.epilogue = k0 < k ? nullptr : epilogue;
      for (block.j0 = task * width; block.j0 < end; block.j0 += cols) {
        block.cols = smaller(cols, end - block.j0);
        block.pack(0, cols);
        block.multiply(0, m, 0, cols);
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
