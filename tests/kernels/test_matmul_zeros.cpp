#include <doctest/doctest.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/matmul_simd.h>
#include <tests/support/matmul_reference.h>

#include <vector>

using namespace flatland;
using kernels::Exec;
using kernels::matmul;
using kernels::Transpose;
using test::Guarded;
using test::k_transposes;
using test::Product;

namespace {

// A value in seven is kept; some rows and columns have none, some have all.
template <class T>
void leave_few(Guarded<T>& a) {
  for (std::int64_t i = 0; i < a.rows; ++i)
    for (std::int64_t k = 0; k < a.cols; ++k) {
      const bool full = i % 50 == 7 || k % 90 == 11, empty = i % 40 == 3 || k % 30 == 4;
      if (empty || (!full && (i * i + 3 * k + k / 7) % 7 != 0)) a(i, k) = 0;
    }
}

}  // namespace

TEST_CASE_TEMPLATE("matmul leaves out zeros without changing a bit", T, float, double) {
  const Exec exec(Device::cpu, 2);
  const std::vector<Product> shapes = {{1, 16, 40},   {7, 100, 37},   {13, 3, 600},    {24, 40, 16},
                                       {60, 70, 784}, {130, 90, 200}, {100, 300, 150}, {140, 40, 1100}};
  for (const Product& s : shapes)
    for (const int form : {0, 1, 2, 3}) {
      Guarded<T> a(s.m, s.k), b(s.k, s.n);
      a.fill_normal(1);
      b.fill_normal(2);
      // What is kept: every tenth step of all rows; a band that moves with the row; a value here and there;
      // none.
      const auto keeps = [&](std::int64_t i, std::int64_t k) {
        return form == 0   ? k % 10 == 3
               : form == 1 ? (k + 3 * i) / 20 % 3 == 0
                           : form == 2 && (7 * i + k) % 61 == 0;
      };
      for (std::int64_t k = 0; k < s.k; ++k) {
        for (std::int64_t i = 0; i < s.m; ++i)
          if (!keeps(i, k)) a(i, k) = 0;
        for (std::int64_t j = 0; j < s.n; ++j)
          if (!keeps(k, j)) b(k, j) = 0;
      }
      Guarded<T> expected(s.m, s.n);
      for (std::int64_t i = 0; i < s.m; ++i)
        for (std::int64_t j = 0; j < s.n; ++j) expected(i, j) = test::chain(a, b, i, j);
      for (const Transpose transpose : k_transposes) {
        Guarded<T> c = test::product(exec, transpose, a, b);
        INFO("transpose ", static_cast<int>(transpose), " M ", s.m, " N ", s.n, " K ", s.k, " form ", form);
        CHECK(differences(c, expected) == 0);
      }
    }
}

TEST_CASE_TEMPLATE("rows of few nonzeros: the same chain by each way to a product", T, float, double) {
  // More rows and steps than are looked through at once, widths of one and several groups of vectors.
  for (const Product& s : {Product{210, 71, 1100}, {333, 13, 130}, {150, 300, 66}, {64, 257, 200}}) {
    Guarded<T> a(s.m, s.k), b(s.k, s.n), start(s.m, s.n), bias(1, s.n);
    a.fill_normal(1);
    leave_few(a);
    b.fill_normal(2);
    start.fill_normal(3);
    bias.fill_normal(4);
    Guarded<T> expected(s.m, s.n), onto(s.m, s.n);
    for (std::int64_t i = 0; i < s.m; ++i)
      for (std::int64_t j = 0; j < s.n; ++j) {
        expected(i, j) = test::chain(a, b, i, j);
        onto(i, j) = test::chain(a, b, i, j, start(i, j));
      }
    INFO("M ", s.m, " N ", s.n, " K ", s.k);
    for (const Transpose transpose : k_transposes)
      for (const int threads : {1, 2, 3, 8}) {
        const Exec exec(Device::cpu, threads);
        INFO("transpose ", static_cast<int>(transpose), " threads ", threads);
        Guarded<T> c = test::product(exec, transpose, a, b);
        CHECK(test::differences(c, expected) == 0);
        c = start;
        test::multiply(exec, transpose, a, b, c, true);
        CHECK(test::differences(c, onto) == 0);
      }

    // The rows through an index, with a bias and an activation; each alone; as tiles of another kernel.
    const Exec exec(Device::cpu, 2);
    Guarded<T> w = b.transposed(), y(s.m, s.n), plain(s.m, s.n), tiles(s.m, s.n);
    std::vector<std::int64_t> index(static_cast<std::size_t>(s.m));
    for (std::int64_t i = 0; i < s.m; ++i) index[static_cast<std::size_t>(i)] = i * 7 % s.m;
    const std::span<const T> shift(bias.data(), static_cast<std::size_t>(s.n));
    kernels::linear<T>(exec, kernels::RowsView<T>(a.view(), index.data(), s.m), w.view(), shift,
                       activation::softplus, y.view());
    for (std::int64_t i = 0; i < s.m; ++i)
      for (std::int64_t j = 0; j < s.n; ++j)
        plain(i, j) = expected(index[static_cast<std::size_t>(i)], j) + bias(0, j);
    kernels::activate<T>(exec, activation::softplus, plain.view(), plain.view());
    CHECK(test::differences(y, plain) == 0);
    CHECK(y.guards_intact());
    for (const std::int64_t i : {std::int64_t{0}, std::int64_t{3}, std::int64_t{57}, s.m - 1}) {
      Guarded<T> alone(1, s.n);
      matmul<T>(exec, Transpose::none, kernels::In<T>(a.data() + i * a.ld, 1, s.k, a.ld), b.view(),
                alone.view());
      for (std::int64_t j = 0; j < s.n; ++j) CHECK(alone(0, j) == expected(i, j));
    }
    kernels::with_isa([&](auto isa) {
      const kernels::ScratchArray<T> packed(exec, kernels::gemm_packed_size<isa, T>(s.n, s.k));
      kernels::gemm_pack_rows<isa, T>(w.data(), w.ld, s.n, s.k, packed.data());
      kernels::gemm_rows<isa, T>(a.data(), a.ld, s.m, packed.data(), s.n, s.k, tiles.data(), tiles.ld);
    });
    CHECK(test::differences(tiles, expected) == 0);
    CHECK(tiles.guards_intact());
  }
}

TEST_CASE_TEMPLATE("products of few nonzeros stay inside matrices that fill their memory", T, float, double) {
  const Exec exec;  // the address sanitizer watches
  const std::int64_t m = 70, n = 65, k = 67;
  for (const Transpose transpose : k_transposes) {
    const auto size = [](std::int64_t count) { return static_cast<std::size_t>(count); };
    std::vector<T> a(size(m * k)), b(size(k * n), 2), c(size(m * n));
    const auto at = [&](std::int64_t i, std::int64_t l) {
      return size(transpose == Transpose::a ? l * m + i : i * k + l);
    };
    for (std::int64_t i = 0; i < m; ++i) a[at(i, i % k)] = a[at(i, k - 1)] = 1;
    const bool ta = transpose == Transpose::a, tb = transpose == Transpose::b;
    matmul<T>(exec, transpose, {a.data(), ta ? k : m, ta ? m : k}, {b.data(), tb ? n : k, tb ? k : n},
              {c.data(), m, n});
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) CHECK(c[size(i * n + j)] == (i % k == k - 1 ? 2 : 4));
  }
}
