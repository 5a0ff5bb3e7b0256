#include <flatland/kernels/sparse.h>
#include <tests/support/errors.h>
#include <tests/support/golden.h>
#include <tests/support/relation_reference.h>

#include <numeric>

using namespace flatland;
using namespace flatland::test;
using kernels::Exec;
using kernels::In;
using kernels::MatView;
using kernels::SymmetrizeKind;

namespace {

// A neighbour graph; beyond each row's k entries lie guards, which are no columns and no numbers.
constexpr std::int64_t k_guards = 2;
template <class T>
struct Graph {
  std::int64_t n, k;
  std::vector<std::int32_t> index;
  std::vector<T> value;
  std::int64_t ld() const { return k + k_guards; }
  MatView<const std::int32_t> indices(const std::int32_t* p) const { return {p, n, k, ld()}; }
  MatView<const T> values(const T* p) const { return {p, n, k, ld()}; }
};

template <class T>
Graph<T> graph_of(std::int64_t n, std::int64_t k, const std::vector<std::int32_t>& index,
                  const std::vector<double>& value) {
  Graph<T> g{n, k, std::vector<std::int32_t>(static_cast<std::size_t>(n * (k + k_guards)), -1),
             std::vector<T>(static_cast<std::size_t>(n * (k + k_guards)), static_cast<T>(NAN))};
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < k; ++j) {
      g.index[static_cast<std::size_t>(i * g.ld() + j)] = index[static_cast<std::size_t>(i * k + j)];
      g.value[static_cast<std::size_t>(i * g.ld() + j)] =
          static_cast<T>(value[static_cast<std::size_t>(i * k + j)]);
    }
  return g;
}

// Distinct indices in random order; row i may name itself.
template <class T>
Graph<T> random_graph(std::int64_t n, std::int64_t k, unsigned seed) {
  std::mt19937 draw(seed);
  std::vector<std::int32_t> all(static_cast<std::size_t>(n)), index;
  std::iota(all.begin(), all.end(), 0);
  for (std::int64_t i = 0; i < n; ++i) {
    std::shuffle(all.begin(), all.end(), draw);
    index.insert(index.end(), all.begin(), all.begin() + k);
  }
  return graph_of<T>(n, k, index, random_values<double>(n * k, seed + 1, 0.01));
}

template <class T>
std::vector<T> dense_of(const Graph<T>& g) {
  std::vector<T> m(static_cast<std::size_t>(g.n * g.n), T(0));
  for (std::int64_t i = 0; i < g.n; ++i)
    for (std::int64_t j = 0; j < g.k; ++j) {
      const auto at = static_cast<std::size_t>(i * g.ld() + j);
      m[static_cast<std::size_t>(i * g.n + g.index[at])] = g.value[at];
    }
  return m;
}

// An entry wherever the matrix or its transpose has one (no value here is 0), with the kernel's own
// roundings.
template <class T>
OwnedSparse<T> symmetrized(const std::vector<T>& m, std::int64_t n, SymmetrizeKind kind) {
  OwnedSparse<T> s;
  s.n = n;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const T a = m[static_cast<std::size_t>(i * n + j)], t = m[static_cast<std::size_t>(j * n + i)];
      if (a == 0 && t == 0) continue;
      const T product = a * t, sum = a + t;
      s.col.push_back(static_cast<std::int32_t>(j));
      s.value.push_back(kind == SymmetrizeKind::mean ? sum / 2 : sum - product);
    }
    s.offset.push_back(std::ssize(s.col));
  }
  return s;
}

// Runs both calls; nothing past the result may be written.
template <class T, class Count, class Join>
OwnedSparse<T> run(const Exec& exec, std::int64_t n, const Count& count, const Join& join) {
  constexpr std::size_t tail = 3;
  OwnedSparse<T> s;
  s.n = n;
  const auto rows = static_cast<std::size_t>(n) + 1;
  s.offset.assign(rows + tail, -7);
  std::size_t entries = 0;
  {
    const Mirror<std::int64_t> offset(exec, s.offset);
    entries = static_cast<std::size_t>(count(offset.span().first(rows)));
  }
  s.col.assign(entries + tail, -7);
  s.value.assign(entries + tail, T(-7));
  {
    const Mirror<std::int64_t> offset(exec, s.offset);
    const Mirror<std::int32_t> col(exec, s.col);
    const Mirror<T> value(exec, s.value);
    join(offset.span().first(rows), col.span().first(entries), value.span().first(entries));
  }
  for (std::size_t e = 0; e < tail; ++e) {
    CHECK(s.offset[rows + e] == -7);
    CHECK(s.col[entries + e] == -7);
    CHECK(s.value[entries + e] == T(-7));
  }
  s.offset.resize(rows);
  s.col.resize(entries);
  s.value.resize(entries);
  return s;
}

template <class T>
OwnedSparse<T> symmetrize_graph(const Exec& exec, SymmetrizeKind kind, Graph<T> g) {
  const Mirror<std::int32_t> index(exec, g.index);
  const Mirror<T> value(exec, g.value);
  return run<T>(
      exec, g.n,
      [&](auto offset) { return kernels::symmetrize_count(exec, g.indices(index.data()), offset); },
      [&](auto offset, auto col, auto out) {
        kernels::symmetrize<T>(exec, kind, g.indices(index.data()), g.values(value.data()), offset, col, out);
      });
}

// The same graph in sparse rows with `gap` entries between them that belong to none.
template <class T>
OwnedSparse<T> symmetrize_rows(const Exec& exec, SymmetrizeKind kind, const std::vector<T>& dense,
                               std::int64_t n, std::int64_t gap) {
  std::vector<std::int64_t> begins, ends;
  std::vector<std::int32_t> cols;
  std::vector<T> values;
  for (std::int64_t i = 0; i < n; ++i) {
    cols.insert(cols.end(), static_cast<std::size_t>(gap), -1);
    begins.push_back(std::ssize(cols));
    for (std::int64_t j = 0; j < n; ++j) {
      if (dense[static_cast<std::size_t>(i * n + j)] == 0) continue;
      cols.push_back(static_cast<std::int32_t>(j));
    }
    ends.push_back(std::ssize(cols));
    values.resize(static_cast<std::size_t>(begins.back()), static_cast<T>(NAN));
    for (std::int64_t e = begins.back(); e < ends.back(); ++e)
      values.push_back(dense[static_cast<std::size_t>(i * n + cols[static_cast<std::size_t>(e)])]);
  }
  const Mirror<std::int64_t> begin(exec, begins), end(exec, ends);
  const Mirror<std::int32_t> col(exec, cols);
  const Mirror<T> value(exec, values);
  const kernels::SparseRows<T> m{n, n, begin.data(), end.data(), col.data(), value.data()};
  return run<T>(
      exec, n, [&](auto offset) { return kernels::symmetrize_count<T>(exec, m, offset); },
      [&](auto offset, auto out_col, auto out) {
        kernels::symmetrize<T>(exec, kind, m, offset, out_col, out);
      });
}

template <class T>
void check_same(const OwnedSparse<T>& got, const OwnedSparse<T>& want) {
  CHECK(got.offset == want.offset);
  CHECK(got.col == want.col);
  CHECK(got.value == want.value);
}

}  // namespace

TEST_CASE_TEMPLATE("symmetrize joins a neighbour graph with its transpose, bit for bit, on every device", T,
                   float, double) {
  for (const Device device : devices()) {
    const Exec exec(device);
    const bool all = std::is_same_v<T, float>;
    const std::vector<std::int64_t> sizes =
        all ? std::vector<std::int64_t>{1, 2, 7, 32, 33, 65, 130} : std::vector<std::int64_t>{7, 65};
    for (const std::int64_t n : sizes)
      for (const std::int64_t k : {std::int64_t{1}, ceil_div(n, 3), n}) {
        INFO("n ", n, " k ", k);
        const auto kind = (n + k) % 2 == 0 ? SymmetrizeKind::mean : SymmetrizeKind::fuzzy_union;
        const Graph<T> g = random_graph<T>(n, k, static_cast<unsigned>(n + k));
        const OwnedSparse<T> want = symmetrized(dense_of(g), n, kind);
        check_same(symmetrize_graph(exec, kind, g), want);
        if (k == ceil_div(n, 3)) check_same(symmetrize_rows(exec, kind, dense_of(g), n, n % 3), want);
      }
  }
}

TEST_CASE_TEMPLATE("symmetrize joins sparse rows, some of them empty or long, on every device", T, float,
                   double) {
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const std::int64_t n : {3, 40, 150})
      for (const double per_row : {0.3, 2.0, 40.0}) {
        INFO("n ", n, " per row ", per_row);
        const std::vector<double> values = random_relation(n, per_row, false, static_cast<unsigned>(n));
        std::vector<T> m(values.begin(), values.end());
        // Item 2 is nobody's neighbour and has none; all are neighbours of item 3, and it of all.
        if (n > 3) {
          for (std::int64_t i = 0; i < n; ++i) {
            m[static_cast<std::size_t>(2 * n + i)] = m[static_cast<std::size_t>(i * n + 2)] = 0;
            if (i != 2)
              m[static_cast<std::size_t>(i * n + 3)] = m[static_cast<std::size_t>(3 * n + i)] = T(0.5);
          }
        }
        check_same(symmetrize_rows(exec, SymmetrizeKind::fuzzy_union, m, n, per_row > 1 ? 3 : 0),
                   symmetrized(m, n, SymmetrizeKind::fuzzy_union));
      }
  }
}

TEST_CASE("symmetrize joins the rows of a hub on every device") {
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const std::int64_t n : {256, 257, 1024, 1025, 2100}) {
      INFO("n ", n);
      // All point at item n - 1, the last one at item 0.
      std::vector<std::int32_t> index(static_cast<std::size_t>(n), static_cast<std::int32_t>(n - 1));
      index.back() = 0;
      const OwnedSparse<float> s = symmetrize_graph(
          exec, SymmetrizeKind::mean,
          graph_of<float>(n, 1, index, std::vector<double>(static_cast<std::size_t>(n), 1.0)));
      REQUIRE(std::ssize(s.col) == 2 * (n - 1));
      bool right = s.col[0] == n - 1 && s.value[0] == 1;  // item 0 and the hub name each other
      for (std::int64_t i = 0; i < n - 1; ++i) {
        const auto row = static_cast<std::size_t>(i), hub = row + static_cast<std::size_t>(n - 1);
        right = right && s.offset[row] == i && s.col[row] == n - 1 && s.col[hub] == i;
        right = right && s.value[row] == s.value[hub] && s.value[row] == (i == 0 ? 1.0F : 0.5F);
      }
      CHECK(right);
    }
  }
}

TEST_CASE("symmetrize takes graphs without items or neighbours on every device") {
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const std::int64_t n : {0, 5}) {
      const Graph<float> none = random_graph<float>(n, 0, 1);
      const OwnedSparse<float> s = symmetrize_graph(exec, SymmetrizeKind::mean, none);
      CHECK(s.col.empty());
      CHECK(s.offset == std::vector<std::int64_t>(static_cast<std::size_t>(n) + 1, 0));
      check_same(symmetrize_rows(exec, SymmetrizeKind::mean, dense_of(none), n, 0), s);
    }
  }
}

TEST_CASE("symmetrize gives the same bits for any number of threads") {
  const Graph<float> g = random_graph<float>(301, 20, 5);
  check_threads([&](const Exec& exec) {
    const OwnedSparse<float> s = symmetrize_graph(exec, SymmetrizeKind::fuzzy_union, g);
    std::vector<double> all(s.value.begin(), s.value.end());
    all.insert(all.end(), s.col.begin(), s.col.end());
    all.insert(all.end(), s.offset.begin(), s.offset.end());
    return all;
  });
}

TEST_CASE("symmetrize agrees with ParaDime's Symmetrize (golden neighbors) on every device") {
  const auto check = [](Device device, const char* weights, const char* name, SymmetrizeKind kind) {
    const std::string group = std::string("neighbors/") + name;
    const Tensor nbr = golden("neighbors/perp_nbr");
    const Graph<double> g = graph_of<double>(nbr.size(0), nbr.size(1), nbr.to_vector<std::int32_t>(),
                                             golden(weights).to_vector<double>());
    const OwnedSparse<double> s = symmetrize_graph(Exec(device), kind, g);
    CHECK(s.offset == golden(group + "_indptr").to_vector<std::int64_t>());
    CHECK(s.col == golden(group + "_indices").to_vector<std::int32_t>());
    check_close(s.value, golden(group + "_data").to_vector<double>(), 1e-13);
  };
  for (const Device device : devices()) {
    check(device, "neighbors/perp_p", "perp_sym", SymmetrizeKind::mean);
    check(device, "neighbors/conn_w", "conn_sym", SymmetrizeKind::fuzzy_union);
  }
}

TEST_CASE("symmetrize names what is wrong with a graph on every device") {
  for (const Device device : devices()) {
    const Exec exec(device);
    std::vector<std::int32_t> index{1, 2, 0, 2, 0, 1};
    std::vector<std::int64_t> offset(4), begins{0, 2, 4}, ends{2, 4, 6};
    const auto count = [&](std::size_t offsets) {
      const Mirror<std::int32_t> col(exec, index);
      const Mirror<std::int64_t> out(exec, offset), begin(exec, begins), end(exec, ends);
      const std::string graph = error_of([&] {
        kernels::symmetrize_count(exec, MatView<const std::int32_t>(col.data(), 3, 2),
                                  out.span().first(offsets));
      });
      const kernels::SparseRows<float> m{3, 3, begin.data(), end.data(), col.data(), nullptr};
      CHECK(error_of([&] { kernels::symmetrize_count<float>(exec, m, out.span().first(offsets)); }) == graph);
      return graph;
    };
    CHECK(count(4).empty());
    for (const std::int32_t bad : {-1, 3}) {
      index[3] = bad;
      CHECK(count(4) == "symmetrize: row 1 has column " + std::to_string(bad) +
                            " but there are 3 rows; the graph must be over its own items");
    }
    index = {1, 2, 0, 0, 1, 1};
    CHECK(count(4) == "symmetrize_count: row 1 has column 0 twice; the columns of a row must be distinct");
    index = {1, 2, 0, 2, 0, 1};
    CHECK(contains(count(3), "row_offset holds 3"));
  }
}

// It must not write past its rows.
TEST_CASE("symmetrize refuses the row_offset of another graph on every device") {
  for (const Device device : devices()) {
    const Exec exec(device);
    std::vector<std::int32_t> index{1, 2, 0, 2, 0, 1};
    std::vector<float> value(6, 1);
    const auto join = [&](std::vector<std::int64_t> other) {
      std::vector<std::int32_t> col(6);
      std::vector<float> out(6);
      const Mirror<std::int32_t> dindex(exec, index), dcol(exec, col);
      const Mirror<float> dvalue(exec, value), dout(exec, out);
      const Mirror<std::int64_t> offset(exec, other);
      return error_of([&] {
        kernels::symmetrize<float>(exec, SymmetrizeKind::mean,
                                   MatView<const std::int32_t>(dindex.data(), 3, 2),
                                   In<float>(dvalue.data(), 3, 2), offset.span(), dcol.span(), dout.span());
      });
    };
    CHECK(join({0, 2, 4, 6}).empty());
    CHECK(
        contains(join({0, 1, 4, 6}), "row 0 has 1 entries more than row_offset says; call symmetrize_count"));
    CHECK(contains(join({0, 4, 5, 6}), "row 0 has -2 entries more than row_offset says"));
    CHECK(contains(join({0, 2, 3, 6}), "row 1 has 1 entries more"));
    CHECK(contains(join({0, 2, 4, 5}), "take the sizes from symmetrize_count"));
  }
}
