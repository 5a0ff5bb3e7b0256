#include <flatland/kernels/sparse.h>
#include <tests/support/errors.h>
#include <tests/support/golden.h>
#include <tests/support/relation_reference.h>

#include <limits>
#include <numeric>

using namespace flatland;
using namespace flatland::test;
using kernels::Exec;
using kernels::In;
using kernels::MatView;

namespace {

template <class T>
std::vector<double> as_doubles(const std::vector<T>& v) {
  return {v.begin(), v.end()};
}

}  // namespace

TEST_CASE("longest_row knows compressed rows from others on every device") {
  for (const Device device : devices()) {
    const Exec exec(device);
    const auto longest = [&](std::vector<std::int64_t> offset, std::vector<std::int32_t> col) {
      const Mirror<std::int64_t> rows(exec, offset);
      const Mirror<std::int32_t> cols(exec, col);
      return kernels::longest_row(exec, 4, rows.span(), cols.span());
    };
    CHECK(longest({0}, {}) == 0);
    CHECK(longest({0, 0, 0}, {}) == 0);
    CHECK(longest({0, 1, 1, 4, 6}, {3, 0, 1, 3, 0, 3}) == 3);
    CHECK(longest({0, 4}, {0, 1, 2, 3}) == 4);
    CHECK(longest({0}, {1}) == -1);
    CHECK(longest({1, 2}, {0, 1}) == -1);           // begins late
    CHECK(longest({0, 1}, {0, 1}) == -1);           // ends early
    CHECK(longest({0, 9, 2}, {0, 1}) == -1);        // leaves the entries
    CHECK(longest({0, 2, 1, 3}, {0, 1, 2}) == -1);  // descends
    CHECK(longest({0, -1, 2}, {0, 1}) == -1);
    CHECK(longest({0, 2}, {0, 4}) == -1);  // columns out of range, twice, descending
    CHECK(longest({0, 2}, {-1, 2}) == -1);
    CHECK(longest({0, 1, 3}, {0, 2, 2}) == -1);
    CHECK(longest({0, 1, 3}, {0, 2, 1}) == -1);
    for (const std::int64_t n : {1, 31, 32, 33, 127, 128, 129, 300}) {
      INFO("n ", n);
      OwnedSparse<float> m = to_sparse<float>(random_relation(n, 50, false, 7), n);
      std::int64_t want = 0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
        want = std::max(want, m.offset[i + 1] - m.offset[i]);
      const auto of_all = [&] {
        const SparseMirror<float> matrix(exec, m);
        return kernels::longest_row(exec, n, matrix.offset.span(), matrix.col.span());
      };
      CHECK(of_all() == want);
      m.col.back() = static_cast<std::int32_t>(n);
      CHECK(of_all() == -1);
    }
  }
}

TEST_CASE_TEMPLATE("normalize_rows and off_diagonal act on each row on every device", T, float, double) {
  const auto check = [](const Exec& exec, std::int64_t n, double per_row) {
    INFO("n ", n, " per row ", per_row);
    OwnedSparse<T> m = to_sparse<T>(random_relation(n, per_row, false, 5), n);
    std::vector<T> want = m.value, mask(m.value.size(), T(-7)), want_mask, square(m.value.size(), T(-7)),
                   want_square;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      const auto begin = static_cast<std::size_t>(m.offset[i]),
                 end = static_cast<std::size_t>(m.offset[i + 1]);
      double sum = 0;
      if (i % 5 == 4) std::fill(m.value.begin() + m.offset[i], m.value.begin() + m.offset[i + 1], T(0));
      for (std::size_t e = begin; e < end; ++e) sum += static_cast<double>(m.value[e]);
      for (std::size_t e = begin; e < end; ++e) {
        want[e] = static_cast<T>(static_cast<double>(m.value[e]) / (sum == 0 ? 1 : sum));
        want_mask.push_back(static_cast<T>(m.col[e] != static_cast<std::int32_t>(i)));
        want_square.push_back(static_cast<T>(e - begin != i));
      }
    }
    {
      const SparseMirror<T> matrix(exec, m);
      const Mirror<T> off(exec, mask), off_square(exec, square);
      kernels::normalize_rows<T>(exec, matrix.offset.span(), matrix.value.span());
      kernels::off_diagonal<T>(exec, matrix.offset.span(), matrix.col.span(), off.span());
      kernels::off_diagonal<T>(exec, matrix.offset.span(), {}, off_square.span());
    }
    // Sums in double, in another order.
    check_close(m.value, want, 2 * static_cast<double>(std::numeric_limits<T>::epsilon()));
    CHECK(mask == want_mask);
    CHECK(square == want_square);
  };
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const std::int64_t n : {1, 2, 31, 32, 33, 64, 65, 129})
      for (const double per_row : {0.0, 2.0, 70.0}) check(exec, n, per_row);
  }
}

TEST_CASE_TEMPLATE("sparse_times_dense is the matrix product on every device", T, float, double) {
  const auto check = [](const Exec& exec, const std::vector<double>& dense, std::int64_t n, std::int64_t d) {
    INFO("n ", n, " d ", d);
    OwnedSparse<T> m = to_sparse<T>(dense, n);
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
    const auto product = [&](const Exec& on) {
      std::vector<T> y(static_cast<std::size_t>(n * ld), T(-7));
      {
        const SparseMirror<T> matrix(on, m);
        const Mirror<T> dx(on, x), dy(on, y);
        kernels::sparse_times_dense<T>(on, matrix.view(), In<T>(dx.data(), n, d, ld),
                                       MatView<T>(dy.data(), n, d, ld));
      }
      return y;
    };
    const std::vector<T> y = product(exec);
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    check_close(y, want, static_cast<double>(n) * eps, 1);  // n roundings of sums of up to n terms below 1
    CHECK(product(exec) == y);
    if (exec.device() == Device::cpu) check_threads(product);
  };
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const std::int64_t d : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 64, 65})
      check(exec, random_relation(37, 9, false, 3), 37, d);
    // Empty rows, rows longer than a warp, a single item.
    for (const std::int64_t d : {1, 2, 20}) {
      check(exec, random_relation(150, 1, false, 3), 150, d);
      check(exec, random_relation(150, 100, false, 3), 150, d);
      check(exec, {0.5}, 1, d);
    }
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

// The CPU says so; a step on a GPU cannot.
TEST_CASE("items that are not there and entries past the capacity are refused or left out on every device") {
  constexpr std::int64_t n = 10, b = 4;
  OwnedSparse<float> m = to_sparse<float>(std::vector<double>(n * n, 0.5), n);
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const std::int64_t capacity : {b, std::int64_t{1}}) {
      std::vector<std::int64_t> index{3, n, -1, 7}, begin(b, -7), end(b, -7);
      if (capacity < b) index = {3, 0, 9, 7};
      std::vector<std::int32_t> position(n, -1), col(b * capacity + 1, -7);
      std::vector<float> value(b * capacity + 1, -7), block(b * b, -7);
      float dense_sum = 0;
      const std::string refused = error_of([&] {
        const SparseMirror<float> matrix(exec, m);
        const Mirror<std::int64_t> items(exec, index), mbegin(exec, begin), mend(exec, end);
        const Mirror<std::int32_t> map(exec, position), mcol(exec, col);
        const Mirror<float> mvalue(exec, value), mblock(exec, block);
        const auto entries = static_cast<std::size_t>(b * capacity);
        kernels::sparse_block<float>(exec, matrix.view(), items.span(), map.span(), false, capacity,
                                     mbegin.span(), mend.span(), mcol.span().first(entries),
                                     mvalue.span().first(entries), nullptr);
        dense_sum = kernels::dense_block<float>(exec, matrix.view(), items.span(), map.span(), false,
                                                MatView<float>(mblock.data(), b, b));
      });
      CHECK(position == std::vector<std::int32_t>(n, -1));
      CHECK(col.back() == -7);
      CHECK(value.back() == -7);
      if (device == Device::cpu) {
        CHECK(contains(refused, capacity < b ? "capacity" : "item 10 at 1"));
        continue;
      }
      CHECK(refused.empty());
      CHECK(begin == std::vector<std::int64_t>{0, capacity, 2 * capacity, 3 * capacity});
      if (capacity < b) {
        CHECK(end == std::vector<std::int64_t>{1, 2, 3, 4});
        CHECK(col == std::vector<std::int32_t>{0, 0, 0, 0, -7});
      } else {
        CHECK(end == std::vector<std::int64_t>{2, 4, 8, 14});
        CHECK(dense_sum == 2);
        CHECK(block == std::vector<float>{0.5F, 0, 0, 0.5F, 0, 0, 0, 0, 0, 0, 0, 0, 0.5F, 0, 0, 0.5F});
      }
    }
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
    return error_of([&] {
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
  CHECK(contains(error_of([&] {
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

TEST_CASE("a block of stored zeros stays zero when normalised on every device") {
  OwnedSparse<float> m = to_sparse<float>(std::vector<double>(16, 1.0), 4);
  std::ranges::fill(m.value, 0.0f);
  for (const Device device : devices()) {
    const SparseBlockResult<float> s = run_sparse_block(Exec(device), m, {2, 0}, true);
    CHECK(s.sum == 0);
    for (std::size_t i = 0; i < 2; ++i)
      for (std::int64_t e = s.begin[i]; e < s.end[i]; ++e) CHECK(s.value[static_cast<std::size_t>(e)] == 0);
    CHECK(s.end[0] - s.begin[0] == 2);
  }
}
