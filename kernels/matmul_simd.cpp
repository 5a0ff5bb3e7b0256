#include <flatland/kernels/activation_formulas.h>
#include <flatland/kernels/matmul_pack_simd.h>
#include <flatland/kernels/matmul_simd.h>
#include <flatland/kernels/matmul_sparse_simd.h>
#include <flatland/kernels/parallel.h>

namespace flatland::kernels {

namespace {

using std::int64_t;

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
static_assert(k_panel_height <= NonzeroBits::words * NonzeroBits::steps);

// Row addresses are made one after the other: all at once, they would not fit into the registers.
template <class P>
FLATLAND_HD void next_row(P*& row, int64_t ld) {
  row += ld;
  asm("" : "+r"(row));
}

// c (rows, n) = or += op(a) (rows, k) panel (k, vectors), n in (vectors - 1, vectors] vectors. Meanwhile it
// fetches what is read next: the panel six steps on, with `ahead` the rows of a that follow these, of columns
// the line beside theirs.
template <Isa I, class T, int rows, int vectors, bool transposed>
[[gnu::noinline]] void micro_kernel(const Left<T>& a, int64_t k, const T* panel, T* c, int64_t ldc, int64_t n,
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
    const T* const values = panel + l * (vectors * width);
    FLATLAND_UNROLL for (int v = 0; v < vectors; ++v) __builtin_prefetch(values + (6 * vectors + v) * width);
    V b[vectors];
    FLATLAND_UNROLL for (int v = 0; v < vectors; ++v) b[v] = load<I>(values + v * width);
    FLATLAND_UNROLL for (int i = 0; i < rows; ++i) {
      const V x = splat<V>(transposed ? column[i] : from[i][l]);
      FLATLAND_UNROLL for (int v = 0; v < vectors; ++v) sum[i][v] = fma(x, b[v], sum[i][v]);
    }
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

// A height of op(b), packed: c (m, n) = or += op(a) (m, height) times it.
template <Isa I, class T>
struct Slab {
  const T* packed;
  int64_t packed_k;  // the height that panels were packed with
  int64_t n, k0, height;
  T* c;
  int64_t ldc;
  bool add;
  const GemmEpilogue<T>* epilogue;  // null but at the last height; its bias stands for column 0

  // Rows i ... i + m - 1 of columns j ... j + cols - 1 are summed up.
  void end_at(int64_t i, int64_t j, int64_t m, int64_t cols) const {
    if (epilogue == nullptr) return;
    GemmEpilogue<T> part = *epilogue;
    if (part.bias != nullptr) part.bias += j;
    apply_epilogue<I>(part, c + i * ldc + j, ldc, m, cols);
  }
};

// `rows` rows of op(a), row i of c on, times the panel of column j on.
template <Isa I, class T, int rows, int vectors>
void panel_product(const Left<T>& a, const Slab<I, T>& slab, int64_t i, int64_t j, bool ahead) {
  if constexpr (rows <= rows_for<I>(gemm_panel_vectors<I>) || rows == rows_for<I>(vectors)) {
    const int64_t cols = smaller(gemm_panel<I, T>, slab.n - j);
    const T* values = slab.packed + j * slab.packed_k + slab.k0 * vectors * lanes<T, I>;
    T* const c = slab.c + i * slab.ldc + j;
    if (a.transposed)
      micro_kernel<I, T, rows, vectors, true>(a, slab.height, values, c, slab.ldc, cols, slab.add, false);
    else
      micro_kernel<I, T, rows, vectors, false>(a, slab.height, values, c, slab.ldc, cols, slab.add, ahead);
    slab.end_at(i, j, rows, cols);
  }
}

// Blocks of `rows` rows as long as there are such.
template <Isa I, class T, int rows>
void row_blocks(const Left<T>& a, const Slab<I, T>& slab, int64_t& i, int64_t m) {
  constexpr int64_t panel = gemm_panel<I, T>;
  for (; m - i >= rows; i += rows) {
    const Left<T> left = a.at(i, slab.k0);
    for (int64_t j = 0; j < slab.n; j += panel) {
      const int64_t vectors = ceil_div(smaller(panel, slab.n - j), lanes<T, I>);
      const bool ahead = j == 0 && m - i >= 2 * rows;
      if (vectors == 1) panel_product<I, T, rows, 1>(left, slab, i, j, ahead);
      if (vectors == 2) panel_product<I, T, rows, 2>(left, slab, i, j, ahead);
      if constexpr (gemm_panel_vectors<I> == 4) {
        if (vectors == 3) panel_product<I, T, rows, 3>(left, slab, i, j, ahead);
        if (vectors == 4) panel_product<I, T, rows, 4>(left, slab, i, j, ahead);
      }
    }
  }
}
template <Isa I, class T>
void dense_slab(const Left<T>& a, const Slab<I, T>& slab, int64_t m) {
  const int64_t vectors = ceil_div(slab.n, lanes<T, I>);
  int64_t i = 0;
  // One narrow panel leaves registers for more rows.
  if (vectors == 1) row_blocks<I, T, rows_for<I>(1)>(a, slab, i, m);
  if (vectors == 2) row_blocks<I, T, rows_for<I>(2)>(a, slab, i, m);
  if constexpr (gemm_panel_vectors<I> == 4) {
    if (vectors == 3) row_blocks<I, T, rows_for<I>(3)>(a, slab, i, m);
  }
  row_blocks<I, T, rows_for<I>(gemm_panel_vectors<I>)>(a, slab, i, m);
  row_blocks<I, T, 4>(a, slab, i, m);
  row_blocks<I, T, 1>(a, slab, i, m);
}

// So many vectors of a row of c are summed at once.
constexpr int k_sparse_vectors = 8;

template <Isa I, class T, int vectors = k_sparse_vectors>
void sparse_columns(const Left<T>& a, const std::uint64_t* nonzero, int64_t m, const PackedColumns<T>& b,
                    T* c, int64_t ldc, int64_t n, bool add) {
  if constexpr (vectors > 1) {
    if (n <= (vectors - 1) * lanes<T, I>)
      return sparse_columns<I, T, vectors - 1>(a, nonzero, m, b, c, ldc, n, add);
  }
  constexpr int panel = gemm_panel_vectors<I>;
  if (a.transposed)
    sparse_rows<I, T, vectors, panel, true>(a, nonzero, m, b, c, ldc, n, add);
  else
    sparse_rows<I, T, vectors, panel, false>(a, nonzero, m, b, c, ldc, n, add);
}
template <Isa I, class T>
void sparse_slab(const Left<T>& a, const Slab<I, T>& slab, int64_t m) {
  constexpr int64_t panel = gemm_panel<I, T>, width = k_sparse_vectors * lanes<T, I>;
  NonzeroBits found;
  for (int64_t i = 0; i < m; i += NonzeroBits::rows) {
    const int64_t rows = smaller(NonzeroBits::rows, m - i);
    const Left<T> left = a.at(i, slab.k0);
    if (a.transposed)
      find_in_columns<I>(left, rows, slab.height, found);
    else
      find_in_rows<I>(left, rows, slab.height, found);
    // So few steps of op(b) stay in the first-level cache for all rows.
    for (int64_t k = 0; k < slab.height; k += NonzeroBits::steps)
      for (int64_t j = 0; j < slab.n; j += width)
        sparse_columns<I, T>(left.at(0, k), found.bits[k / NonzeroBits::steps], rows,
                             {slab.packed + j * slab.packed_k, panel * slab.packed_k, slab.k0 + k},
                             slab.c + i * slab.ldc + j, slab.ldc, smaller(width, slab.n - j),
                             slab.add || k > 0);
    slab.end_at(i, 0, rows, slab.n);
  }
}

// c (m, n) = or += op(a) (m, k) times n packed columns; `packed_k` is the height that panels were packed
// with. The epilogue's bias stands for column 0 of this tile. `sparse`: whether op(a) has few nonzeros.
template <Isa I, class T>
void tile(const Left<T>& a, int64_t m, const T* packed, int64_t packed_k, int64_t n, int64_t k, T* c,
          int64_t ldc, bool accumulate, const GemmEpilogue<T>* epilogue, bool sparse) {
  const int64_t block = even_piece(k, k_panel_height);
  int64_t k0 = 0;
  do {
    const int64_t height = smaller(block, k - k0);
    const Slab<I, T> slab{
        packed, packed_k, n, k0, height, c, ldc, accumulate || k0 > 0, k0 + height >= k ? epilogue : nullptr};
    if (sparse)
      sparse_slab<I>(a, slab, m);
    else
      dense_slab<I>(a, slab, m);
    k0 += height;
  } while (k0 < k);
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
  const RowsView<T> rows(MatView<const T>(a, m, k, lda));
  tile<I, T>({rows, false}, m, packed, k, n, k, c, ldc, false, nullptr,
             nonzero_share<I>(rows) < k_few_nonzeros);
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
  bool sparse;                      // whether op(a) has few nonzeros
  bool add;                         // to what c holds
  const GemmEpilogue<T>* epilogue;  // null but in the last block of k

  // Of the panels of `width` columns from column j of the block on, `steps` steps from step l on.
  void pack(int64_t j, int64_t width, int64_t l, int64_t steps) const {
    constexpr int64_t panel = gemm_panel<I, T>;
    const int64_t end = smaller(j + width, cols), k = smaller(steps, height - l);
    if (transpose != Transpose::b)
      return pack_columns<I, T>(b, k0 + l, j0 + j, end - j, k, packed + j * height, height, l);
    for (; j < end; j += panel)
      pack_rows<I, T>(b, j0 + j, k0 + l, smaller(panel, end - j), k, packed + j * height, l);
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
               epilogue != nullptr ? &part : nullptr, sparse);
  }
};

// Many rows: all tasks share what was packed before. Tiles have rows that the micro-kernels divide.
template <Isa I, class T>
void run(const Exec& exec, const Block<I, T>& block) {
  constexpr int64_t panel = gemm_panel<I, T>, width = 256 / panel * panel, steps = 128;
  const int64_t m = block.c.rows;
  const int64_t across = ceil_div(block.cols, width);
  parallel_for(exec, across * ceil_div(block.height, steps), [&](int64_t task, int) {
    block.pack(task % across * width, width, task / across * steps, steps);
  });
  const int64_t rows = m < 768 ? 48 : 96;
  parallel_for(exec, across * ceil_div(m, rows), [&](int64_t task, int) {
    block.multiply(task / across * rows, rows, task % across * width, width);
  });
}

// Not worth a second task.
template <class T>
bool is_little(const MatView<T>& c, int64_t k) {
  return c.rows * c.cols * (k + 16) < (1 << 18);
}

// Few rows: a task has columns of its own. It goes through op(b) once, a block at a time, which it packs
// right before all rows of op(a) use it. Little work stays in one task.
template <Isa I, class T>
void run_columns(const Exec& exec, Block<I, T> whole, const GemmEpilogue<T>* epilogue, int64_t k) {
  constexpr int64_t panel = gemm_panel<I, T>, most = 4 * panel;
  const int64_t m = whole.c.rows, n = whole.c.cols;
  const int64_t panels = ceil_div(n, panel);
  const bool little = is_little(whole.c, k);
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
        block.pack(0, cols, 0, block.height);
        block.multiply(0, m, 0, cols);
      }
    } while (k0 < k);
  });
}

template <Isa I, class T>
void product(const Exec& exec, Transpose transpose, const RowsView<T>& a, const RowsView<T>& b, MatView<T> c,
             bool sparse, bool accumulate, const GemmEpilogue<T>* end) {
  constexpr int64_t panel = gemm_panel<I, T>;
  const int64_t k = transpose == Transpose::a ? a.rows : a.cols;
  if (c.rows <= 128 || is_little(c, k))
    return run_columns<I, T>(exec, {transpose, a, b, c, 0, 0, 0, 0, nullptr, sparse, accumulate, nullptr},
                             end, k);
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
                       sparse, accumulate || k0 > 0, last ? end : nullptr});
      k0 += height;
    } while (k0 < k);
  }
}

// to = from^T.
template <Isa I, class T>
void turn(const Exec& exec, MatView<const T> from, MatView<T> to) {
  constexpr int width = lanes<T, I>;
  for_tiles(exec, to.rows, width, [&](int64_t i, int64_t rows) {
    for (int64_t j = 0; j < to.cols; j += width) {
      Vec<T, I> square[width];
      for (int l = 0; l < width; ++l)
        square[l] = j + l < to.cols ? load_part<I>(from.row(j + l) + i, rows) : Vec<T, I>{};
      transpose_square(square);
      for (int l = 0; l < rows; ++l) store_part<I>(to.row(i + l) + j, square[l], to.cols - j);
    }
  });
}

}  // namespace

template <Isa I, class T>
void gemm(const Exec& exec, Transpose transpose, const RowsView<T>& a, const RowsView<T>& b, MatView<T> c,
          bool accumulate, const GemmEpilogue<T>& epilogue) {
  if (c.rows == 0 || c.cols == 0) return;
  const bool plain = epilogue.bias == nullptr && epilogue.activation.kind == ActivationKind::identity;
  // The nonzeros of a left side pay to be looked for where the other has several vectors of columns.
  const bool little = is_little(c, transpose == Transpose::a ? a.rows : a.cols);
  const auto share = [&](const RowsView<T>& left, int64_t n) {
    return little || n <= 2 * lanes<T, I> ? 1 : nonzero_share<I>(left);
  };
  const double in_a = share(a, c.cols);
  // Zeros of op(a) alone are left out: of a^T b, where b has more, the transpose is multiplied.
  const double in_b = transpose == Transpose::a && plain && !accumulate ? share(b, c.rows) : 1;
  if (in_b < k_few_nonzeros && in_b < in_a) {
    const ScratchArray<T> values(exec, c.rows * c.cols);
    const MatView<T> turned(values.data(), c.cols, c.rows);
    product<I, T>(exec, transpose, b, a, turned, true, false, nullptr);
    return turn<I, T>(exec, turned, c);
  }
  product<I, T>(exec, transpose, a, b, c, in_a < k_few_nonzeros, accumulate, plain ? nullptr : &epilogue);
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
