#include <flatland/kernels/sparse.h>
#include <tests/support/golden.h>
#include <tests/support/message.h>
#include <tests/support/relation_reference.h>

#include <numeric>

using namespace flatland;
using namespace flatland::test;
using kernels::Exec;
using kernels::In;
using kernels::MatView;
using kernels::SymmetrizeKind;

namespace {

// A neighbour graph with distinct indices in random order; row i may name itself.
struct Graph {
  std::int64_t n, k;
  std::vector<std::int32_t> index;
  std::vector<double> value;
  MatView<const std::int32_t> indices() const { return {index.data(), n, k}; }
};
Graph random_graph(std::int64_t n, std::int64_t k, unsigned seed) {
  std::mt19937 draw(seed);
  Graph g{n, k, {}, random_values<double>(n * k, seed + 1, 0.01)};
  for (double& v : g.value) v = static_cast<double>(static_cast<float>(v));
  std::vector<std::int32_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  for (std::int64_t i = 0; i < n; ++i) {
    std::shuffle(all.begin(), all.end(), draw);
    g.index.insert(g.index.end(), all.begin(), all.begin() + k);
  }
  return g;
}
std::vector<double> dense_of(const Graph& g) {
  std::vector<double> m(static_cast<std::size_t>(g.n * g.n), 0.0);
  for (std::int64_t i = 0; i < g.n; ++i)
    for (std::int64_t j = 0; j < g.k; ++j) {
      const auto at = static_cast<std::size_t>(i * g.k + j);
      m[static_cast<std::size_t>(i * g.n + g.index[at])] = g.value[at];
    }
  return m;
}
std::vector<double> symmetrized(const std::vector<double>& m, std::int64_t n, SymmetrizeKind kind) {
  std::vector<double> s(m.size());
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      const double a = m[static_cast<std::size_t>(i * n + j)];
      const double t = m[static_cast<std::size_t>(j * n + i)];
      s[static_cast<std::size_t>(i * n + j)] = kind == SymmetrizeKind::mean ? (a + t) / 2 : a + t - a * t;
    }
  return s;
}

template <class T>
OwnedSparse<T> symmetrize_graph(const Exec& exec, SymmetrizeKind kind, const Graph& g) {
  const std::vector<T> value(g.value.begin(), g.value.end());
  OwnedSparse<T> s;
  s.n = g.n;
  s.offset.assign(static_cast<std::size_t>(g.n) + 1, -7);
  const auto entries = static_cast<std::size_t>(kernels::symmetrize_count(exec, g.indices(), s.offset));
  s.col.assign(entries, -7);
  s.value.assign(entries, T(-7));
  kernels::symmetrize<T>(exec, kind, g.indices(), In<T>(value.data(), g.n, g.k), s.offset, s.col, s.value);
  return s;
}

template <class T>
std::vector<double> as_doubles(const std::vector<T>& v) {
  return {v.begin(), v.end()};
}

}  // namespace

TEST_CASE_TEMPLATE("symmetrize joins a neighbour graph with its transpose", T, float, double) {
  const Exec exec;
  for (const std::int64_t n : {1, 2, 7, 63, 64, 65, 130})
    for (const std::int64_t k : {std::int64_t{0}, std::int64_t{1}, n / 3, n})
      for (const SymmetrizeKind kind : {SymmetrizeKind::mean, SymmetrizeKind::fuzzy_union}) {
        INFO("n ", n, " k ", k);
        const Graph g = random_graph(n, k, static_cast<unsigned>(n + k));
        const OwnedSparse<T> s = symmetrize_graph<T>(exec, kind, g);
        CHECK(s.offset.front() == 0);
        CHECK(s.offset.back() == std::ssize(s.col));
        for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
          CHECK(std::is_sorted(s.col.begin() + s.offset[i], s.col.begin() + s.offset[i + 1]));
        const std::vector<double> dense = to_dense(s.view());
        CHECK(dense == symmetrized(dense, n, SymmetrizeKind::mean));  // its own transpose, bit for bit
        check_close(dense, symmetrized(dense_of(g), n, kind), sizeof(T) == 4 ? 2e-7 : 1e-15);
        // The same matrix in sparse rows, with gaps between them, gives the same result.
        OwnedSparse<T> m = to_sparse<T>(dense_of(g), n);
        kernels::SparseRows<T> rows = m.view();
        std::vector<std::int64_t> offset(s.offset.size());
        REQUIRE(kernels::symmetrize_count(exec, rows, offset) == std::ssize(s.col));
        CHECK(offset == s.offset);
        std::vector<std::int32_t> col(s.col.size());
        std::vector<T> value(s.col.size());
        kernels::symmetrize<T>(exec, kind, rows, offset, col, value);
        CHECK(col == s.col);
        CHECK(value == s.value);
      }
}

TEST_CASE("symmetrize gives the same bits for any number of threads") {
  const Graph g = random_graph(301, 20, 5);
  check_threads([&](const Exec& exec) {
    const OwnedSparse<float> s = symmetrize_graph<float>(exec, SymmetrizeKind::fuzzy_union, g);
    std::vector<double> all = as_doubles(s.value);
    all.insert(all.end(), s.col.begin(), s.col.end());
    all.insert(all.end(), s.offset.begin(), s.offset.end());
    return all;
  });
}

TEST_CASE("symmetrize agrees with ParaDime's Symmetrize (golden neighbors)") {
  const auto check = [](const char* weights, const char* name, SymmetrizeKind kind) {
    const std::string group = std::string("neighbors/") + name;
    const Tensor nbr = golden("neighbors/perp_nbr");
    const Tensor w = golden(weights);
    Graph g{nbr.size(0), nbr.size(1), nbr.to_vector<std::int32_t>(), w.to_vector<double>()};
    const OwnedSparse<double> s = symmetrize_graph<double>(Exec(), kind, g);
    CHECK(s.offset == golden(group + "_indptr").to_vector<std::int64_t>());
    CHECK(s.col == golden(group + "_indices").to_vector<std::int32_t>());
    check_close(s.value, golden(group + "_data").to_vector<double>(), 1e-13);
  };
  check("neighbors/perp_p", "perp_sym", SymmetrizeKind::mean);
  check("neighbors/conn_w", "conn_sym", SymmetrizeKind::fuzzy_union);
}

TEST_CASE("symmetrize names what is wrong with a graph") {
  const Exec exec;
  std::vector<std::int32_t> index{1, 2, 0, 2, 0, 1};
  std::vector<std::int64_t> offset(4);
  const auto count = [&] {
    return message(
        [&] { kernels::symmetrize_count(exec, MatView<const std::int32_t>(index.data(), 3, 2), offset); });
  };
  CHECK(count().empty());
  for (const std::int32_t bad : {-1, 3}) {
    index[3] = bad;
    CHECK(contains(count(), "row 1 has column " + std::to_string(bad)));
  }
  index[3] = 0;
  CHECK(contains(count(), "twice"));
  index[3] = 2;
  offset.resize(3);
  CHECK(contains(count(), "row_offset holds 3"));
  // A row_offset of another graph must not write past its rows.
  const std::vector<float> value(6, 1);
  for (const std::vector<std::int64_t>& other :
       {std::vector<std::int64_t>{0, 1, 4, 6}, std::vector<std::int64_t>{0, 4, 5, 6}}) {
    std::vector<std::int32_t> col(6);
    std::vector<float> out(6);
    CHECK(contains(message([&] {
                     kernels::symmetrize<float>(exec, SymmetrizeKind::mean,
                                                MatView<const std::int32_t>(index.data(), 3, 2),
                                                In<float>(value.data(), 3, 2), other, col, out);
                   }),
                   "symmetrize_count on the same graph"));
  }
}

TEST_CASE_TEMPLATE("sparse_times_dense is the matrix product", T, float, double) {
  constexpr std::int64_t n = 37;
  const OwnedSparse<T> m = to_sparse<T>(random_relation(n, 9, false, 3), n);
  const std::vector<double> dense = to_dense(m.view());
  for (const std::int64_t d : {1, 2, 15, 16, 17, 40}) {
    INFO("d ", d);
    const std::int64_t ld = d + 3;
    std::vector<T> x = random_values<T>(n * ld, 4, -1);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t c = d; c < ld; ++c) x[static_cast<std::size_t>(i * ld + c)] = static_cast<T>(NAN);
    std::vector<double> want(static_cast<std::size_t>(n * ld), -7.0);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t c = 0; c < d; ++c) {
        double sum = 0;
        for (std::int64_t j = 0; j < n; ++j)
          sum += dense[static_cast<std::size_t>(i * n + j)] *
                 static_cast<double>(x[static_cast<std::size_t>(j * ld + c)]);
        want[static_cast<std::size_t>(i * ld + c)] = sum;
      }
    const auto product = [&](const Exec& exec) {
      std::vector<T> y(static_cast<std::size_t>(n * ld), T(-7));
      kernels::sparse_times_dense<T>(exec, m.view(), In<T>(x.data(), n, d, ld),
                                     MatView<T>(y.data(), n, d, ld));
      return y;
    };
    check_close(product(Exec()), want, sizeof(T) == 4 ? 2e-6 : 4e-15, 1);
    check_threads(product);
  }
}

namespace {

std::vector<std::int64_t> random_items(std::int64_t n, std::int64_t b, unsigned seed) {
  std::mt19937 draw(seed);
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  std::shuffle(all.begin(), all.end(), draw);
  all.resize(static_cast<std::size_t>(b));
  return all;
}

template <class T>
struct SparseBlockResult {
  T sum;
  std::vector<std::int64_t> begin, end;
  std::vector<std::int32_t> col;
  std::vector<T> value;
};
template <class T>
SparseBlockResult<T> run_sparse_block(const Exec& exec, OwnedSparse<T> m, std::vector<std::int64_t> index,
                                      bool normalize) {
  const auto b = index.size();
  SparseBlockResult<T> r{0, std::vector<std::int64_t>(b), std::vector<std::int64_t>(b),
                         std::vector<std::int32_t>(b * b, -7), std::vector<T>(b * b, T(-7))};
  std::vector<std::int32_t> position(static_cast<std::size_t>(m.n), -1);
  {
    const SparseMirror<T> matrix(exec, m);
    const Mirror<std::int64_t> items(exec, index), begin(exec, r.begin), end(exec, r.end);
    const Mirror<std::int32_t> map(exec, position), col(exec, r.col);
    const Mirror<T> value(exec, r.value);
    r.sum = kernels::sparse_block<T>(exec, matrix.view(), items.span(), map.span(), normalize,
                                     std::ssize(index), begin.span(), end.span(), col.span(), value.span());
  }
  CHECK(position == std::vector<std::int32_t>(static_cast<std::size_t>(m.n), -1));
  return r;
}

}  // namespace

TEST_CASE_TEMPLATE("dense_block and sparse_block are the rows and columns of the items on every device", T,
                   float, double) {
  const auto check = [](const Exec& exec, std::int64_t n, double per_row, std::int64_t b, bool normalize) {
    INFO("n ", n, " b ", b, " normalize ", normalize);
    const std::vector<double> dense = random_relation(n, per_row, false, 8);
    OwnedSparse<T> m = to_sparse<T>(dense, n);
    std::vector<std::int64_t> index = random_items(n, b, static_cast<unsigned>(b));
    std::vector<double> want;
    double sum = 0;
    for (const std::int64_t i : index)
      for (const std::int64_t j : index) sum += want.emplace_back(dense[static_cast<std::size_t>(i * n + j)]);
    if (normalize && sum != 0)
      for (double& w : want) w /= sum;
    std::vector<T> block(static_cast<std::size_t>(b * (b + 1)), T(-7));
    std::vector<std::int32_t> position(static_cast<std::size_t>(n), -1);
    T got_sum = 0;
    {
      const SparseMirror<T> matrix(exec, m);
      const Mirror<std::int64_t> items(exec, index);
      const Mirror<std::int32_t> map(exec, position);
      const Mirror<T> out(exec, block);
      got_sum = kernels::dense_block<T>(exec, matrix.view(), items.span(), map.span(), normalize,
                                        MatView<T>(out.data(), b, b, b + 1));
    }
    CHECK(position == std::vector<std::int32_t>(static_cast<std::size_t>(n), -1));
    const double tolerance = sizeof(T) == 4 ? 2e-7 : 1e-14;
    CHECK(static_cast<double>(got_sum) == doctest::Approx(sum).epsilon(tolerance));
    std::vector<T> inside;
    for (std::int64_t i = 0; i < b; ++i) {
      CHECK(block[static_cast<std::size_t>(i * (b + 1) + b)] == T(-7));
      inside.insert(inside.end(), block.begin() + i * (b + 1), block.begin() + i * (b + 1) + b);
    }
    check_close(inside, want, tolerance);

    const SparseBlockResult<T> s = run_sparse_block(exec, m, index, normalize);
    CHECK(s.sum == got_sum);
    const kernels::SparseRows<T> rows{b, b, s.begin.data(), s.end.data(), s.col.data(), s.value.data()};
    CHECK(to_dense(rows) == as_doubles(inside));  // both divide the same way
    for (std::size_t i = 0; i < index.size(); ++i) {
      CHECK(s.begin[i] == static_cast<std::int64_t>(i) * b);
      CHECK(std::is_sorted(s.col.begin() + s.begin[i], s.col.begin() + s.end[i]));
    }
    const SparseBlockResult<T> again = run_sparse_block(exec, m, index, normalize);
    CHECK(again.value == s.value);
    CHECK(again.col == s.col);
  };
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const std::int64_t b : {0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130, 211})
      for (const bool normalize : {false, true}) check(exec, 211, 60, b, normalize);
    for (const std::int64_t b : {1023, 1024, 1025, 1100}) check(exec, 1100, 90, b, true);
  }
}

TEST_CASE("dense_block and sparse_block need no sum on every device") {
  OwnedSparse<float> m = to_sparse<float>(random_relation(50, 20, true, 3), 50);
  std::vector<std::int64_t> index = random_items(50, 20, 4), begin(20), end(20);
  std::vector<std::int32_t> position(50, -1), col(400);
  std::vector<float> value(400), block(400);
  for (const Device device : devices()) {
    const Exec exec(device);
    {
      const SparseMirror<float> matrix(exec, m);
      const Mirror<std::int64_t> items(exec, index), mbegin(exec, begin), mend(exec, end);
      const Mirror<std::int32_t> map(exec, position), mcol(exec, col);
      const Mirror<float> mvalue(exec, value), mblock(exec, block);
      kernels::sparse_block<float>(exec, matrix.view(), items.span(), map.span(), true, 20, mbegin.span(),
                                   mend.span(), mcol.span(), mvalue.span(), nullptr);
      kernels::dense_block<float>(exec, matrix.view(), items.span(), map.span(), true,
                                  MatView<float>(mblock.data(), 20, 20), nullptr);
    }
    const kernels::SparseRows<float> rows{20, 20, begin.data(), end.data(), col.data(), value.data()};
    CHECK(to_dense(rows) == as_doubles(block));
  }
}

TEST_CASE("blocks have the same bits for any number of threads") {
  const OwnedSparse<float> m = to_sparse<float>(random_relation(400, 90, true, 9), 400);
  const std::vector<std::int64_t> index = random_items(400, 150, 1);
  check_threads([&](const Exec& exec) {
    const SparseBlockResult<float> s = run_sparse_block(exec, m, index, true);
    std::vector<float> all = s.value;
    all.push_back(s.sum);
    return all;
  });
}

TEST_CASE("blocks agree with ParaDime's sub and normalised sub (golden neighbors)") {
  OwnedSparse<double> m;
  m.offset = golden("neighbors/perp_norm_indptr").to_vector<std::int64_t>();
  m.col = golden("neighbors/perp_norm_indices").to_vector<std::int32_t>();
  m.value = golden("neighbors/perp_norm_data").to_vector<double>();
  m.n = std::ssize(m.offset) - 1;
  const std::vector<std::int64_t> index = golden("neighbors/sub_idx").to_vector<std::int64_t>();
  std::vector<std::int32_t> position(static_cast<std::size_t>(m.n), -1);
  for (const bool normalize : {false, true}) {
    std::vector<double> block(index.size() * index.size());
    const std::int64_t b = std::ssize(index);
    kernels::dense_block<double>(Exec(), m.view(), index, position, normalize,
                                 MatView<double>(block.data(), b, b));
    check_close(
        block,
        golden(normalize ? "neighbors/sub_block_normalised" : "neighbors/sub_block").to_vector<double>(),
        1e-14);
  }
}

TEST_CASE("blocks refuse items that are not there or come twice, and leave position clean") {
  const OwnedSparse<float> m = to_sparse<float>(random_relation(10, 10, true, 2), 10);
  std::vector<std::int32_t> position(10, -1);
  std::vector<float> block(9);
  const auto run = [&](std::vector<std::int64_t> index) {
    return message([&] {
      kernels::dense_block<float>(Exec(), m.view(), index, position, true,
                                  MatView<float>(block.data(), 3, 3));
    });
  };
  CHECK(run({1, 5, 9}).empty());
  CHECK(contains(run({1, 10, 2}), "item 10 at 1"));
  CHECK(contains(run({1, 2, -1}), "item -1 at 2"));
  CHECK(contains(run({4, 2, 4}), "distinct"));
  CHECK(contains(run({4, 2}), "2 items but the block is (3, 3)"));
  CHECK(position == std::vector<std::int32_t>(10, -1));
  std::vector<std::int64_t> begin(3), end(3);
  std::vector<std::int32_t> col(3);
  const std::vector<std::int64_t> index{0, 1, 2};
  const OwnedSparse<float> full = to_sparse<float>(std::vector<double>(100, 1.0), 10);
  std::vector<float> value(3);
  CHECK(contains(message([&] {
                   kernels::sparse_block<float>(Exec(), full.view(), index, position, true, 1, begin, end,
                                                col, value);
                 }),
                 "capacity"));
  CHECK(position == std::vector<std::int32_t>(10, -1));
}

TEST_CASE("a block without entries stays zero when normalised") {
  const OwnedSparse<float> m = to_sparse<float>(std::vector<double>(16, 0.0), 4);
  std::vector<std::int32_t> position(4, -1);
  const std::vector<std::int64_t> index{2, 0};
  std::vector<float> block(4, 1);
  CHECK(kernels::dense_block<float>(Exec(), m.view(), index, position, true,
                                    MatView<float>(block.data(), 2, 2)) == 0);
  CHECK(block == std::vector<float>(4, 0));
}
