#include <doctest/doctest.h>
#include <flatland/dr/relation_data.h>
#include <flatland/engine/ops.h>

#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace flatland;
using namespace flatland::test;

namespace {

Tensor int32s(std::vector<std::int32_t> values) {
  return Tensor::from(values);
}
Tensor int64s(std::vector<std::int64_t> values) {
  return Tensor::from(values);
}

// 0-1: 1, 0-2: 2, 0-3: 3, 1-2: 4, 1-3: 5, 2-3: 6
RelationData triangle() {
  return TriangularRelations{Tensor::from({1.0, 2.0, 3.0, 4.0, 5.0, 6.0}), 4};
}

// A symmetric square without zeros off the diagonal.
Tensor symmetric_square(std::int64_t n) {
  const Tensor m = random_tensor({n, n}, 3, Dtype::float64) + 0.1;
  Tensor s = (m + transpose(m)) * 0.5;
  for (std::int64_t i = 0; i < n; ++i) s.mutable_data<double>()[i * n + i] = 0;
  return s;
}

}  // namespace

TEST_CASE("forms know their items") {
  CHECK(triangle().items() == 4);
  CHECK(RelationData(TriangularRelations{Tensor::ones({3})}).items() == 3);
  CHECK(RelationData(TriangularRelations{Tensor::ones({0}), 1}).items() == 1);
  CHECK(RelationData(SquareRelations{Tensor::ones({3, 3})}).items() == 3);
  CHECK(triangle().symmetric());
  CHECK(!RelationData(SquareRelations{Tensor::ones({3, 3})}).symmetric());
  CHECK(contains(error_of([] { RelationData(FlatRelations{Tensor::ones({3})}).items(); }), "flat"));
}

TEST_CASE("wrong shapes, types and indices are refused") {
  CHECK(contains(error_of([] { RelationData(SquareRelations{Tensor::ones({3, 4})}); }), "(N, N)"));
  CHECK(contains(error_of([] { RelationData(SquareRelations{Tensor::arange(4)}); }), "floating"));
  CHECK(contains(error_of([] { RelationData(TriangularRelations{Tensor::ones({4})}); }), "do not fit"));
  CHECK(contains(error_of([] {
                   RelationData(NeighborRelations{int32s({0, 1}), Tensor::ones({2})});
                 }),
                 "(N, k)"));
  CHECK(contains(error_of([] {
                   RelationData(NeighborRelations{reshape(int32s({1, 2}), {2, 1}), Tensor::ones({2, 1})});
                 }),
                 "points to item 2"));
  CHECK(contains(error_of([] { RelationData(FlatRelations{Tensor::ones({2, 2})}); }), "vector"));
  CHECK(contains(error_of([] { triangle().with_values(Tensor::ones({3})); }), "shape"));
}

TEST_CASE("wrong sparse rows are refused on every device") {
  for (const Device device : devices()) {
    const auto error = [&](std::vector<std::int64_t> offset, std::vector<std::int32_t> col) {
      const std::int64_t entries = std::ssize(col);
      return error_of([&] {
        RelationData(SparseRelations{int64s(offset).to(device), int32s(col).to(device),
                                     Tensor::ones({entries}, Dtype::float32, device)});
      });
    };
    CHECK(error({0, 2, 3}, {0, 1, 1}).empty());
    CHECK(contains(error({0, 1, 1}, {2}), "entry 0 points to item 2"));
    CHECK(contains(error({0, 1, 2}, {1, -1}), "entry 1 points to item -1"));
    CHECK(contains(error({0, 2, 2}, {1, 0}), "the columns of row 0 do not ascend"));
    CHECK(contains(error({0, 1, 3}, {1, 0}), "row offsets run from 0 to 3"));
    CHECK(contains(error({0, 5, 2}, {1, 0}), "row offset 1 is 5"));
  }
}

TEST_CASE("all forms of a symmetric relation convert into each other") {
  const Tensor s = symmetric_square(7);
  const RelationData square = RelationData(SquareRelations{s}).marked_symmetric();
  const RelationData forms[] = {square, square.to_triangular(), square.to_sparse(), square.to_neighbor(),
                                square.to_neighbor().to_sparse().to_neighbor()};
  for (const RelationData& form : forms) {
    CAPTURE(form.form_name());
    CHECK(same_bits(form.to_square().values(), s));
    CHECK(same_bits(form.to_sparse().to_square().values(), s));
    CHECK(same_bits(form.to_neighbor().to_square().values(), s));
    CHECK(same_bits(form.to_triangular().to_square().values(), s));
    CHECK(form.to_flat().values().numel() == form.values().numel());
    CHECK(form.symmetric());
    CHECK(form.to_square().symmetric());
    CHECK(form.to_sparse().symmetric());
  }
  CHECK(contains(error_of([&] { square.to_flat().to_square(); }), "flat relations cannot become square"));
  // Rows of different lengths have no neighbour form.
  const RelationData uneven = SparseRelations{int64s({0, 1, 1}), int32s({1}), Tensor::ones({1})};
  CHECK(contains(error_of([&] { uneven.to_neighbor(); }), "row 1 has 0"));
}

TEST_CASE("neighbours become sparse rows in ascending order") {
  const RelationData neighbors =
      NeighborRelations{reshape(int32s({2, 1, 0, 2, 1, 0}), {3, 2}),
                        reshape(Tensor::from({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f}), {3, 2})};
  const RelationData sparse = neighbors.to_sparse();
  const auto* rows = sparse.get_if<SparseRelations>();
  REQUIRE(rows != nullptr);
  CHECK(rows->col.to_vector<int>() == std::vector<int>{1, 2, 0, 2, 0, 1});
  CHECK(rows->values.to_vector<double>() == std::vector<double>{2, 1, 3, 4, 6, 5});
}

TEST_CASE("blocks of all forms are the rows and columns asked for, in their order") {
  const std::int64_t n = 9;
  const Tensor s = symmetric_square(n);
  const RelationData square = RelationData(SquareRelations{s}).marked_symmetric();
  const Tensor index = int64s({7, 0, 3, 8});
  for (const RelationData& form :
       {square, square.to_triangular(), square.to_sparse(), square.to_neighbor()}) {
    CAPTURE(form.form_name());
    const Tensor block = form.sub(index);
    const Tensor normalized = form.sub(index, true);
    double total = 0;
    for (int a = 0; a < 4; ++a) {
      for (int b = 0; b < 4; ++b) {
        const auto i = static_cast<std::int64_t>(index.at(a)), j = static_cast<std::int64_t>(index.at(b));
        CHECK(block.at(a, b) == s.at(i, j));
        total += s.at(i, j);
      }
    }
    check_close(normalized * total, block, 1e-14, 1e-3);
    CHECK(contains(error_of([&] { form.sub(int64s({0, n})); }), "9"));
    CHECK(form.sub(int64s({4})).at(0, 0) == 0);  // one item; the sum of 0 leaves 0
    CHECK(form.sub(int64s({4}), true).at(0, 0) == 0);
    CHECK(form.sub(Tensor::empty({0}, Dtype::int64)).numel() == 0);
  }
}

TEST_CASE("blocks of values with a history are without one, in all forms") {
  const RelationData square = RelationData(SquareRelations{symmetric_square(9)}).marked_symmetric();
  const Tensor index = int64s({7, 0, 3, 8});
  for (const RelationData& form :
       {square, square.to_triangular(), square.to_sparse(), square.to_neighbor()}) {
    CAPTURE(form.form_name());
    const RelationData leaf = form.with_values(form.values().clone().requires_grad(true));
    for (const bool normalize : {false, true}) {
      const Tensor block = leaf.sub(index, normalize);
      CHECK(same_bits(block, form.sub(index, normalize)));
      CHECK(!block.requires_grad());
    }
  }
}

TEST_CASE("a failed block leaves the scratch clean") {
  const RelationData sparse = RelationData(SquareRelations{symmetric_square(5)}).to_sparse();
  const Tensor before = sparse.sub(int64s({1, 3}));
  CHECK(!error_of([&] { sparse.sub(int64s({1, 99})); }).empty());
  CHECK(same_bits(sparse.sub(int64s({1, 3})), before));
  CHECK(same_bits(sparse.sub(int64s({3, 1, 0, 2, 4})), sparse.to_square().sub(int64s({3, 1, 0, 2, 4}))));
}

TEST_CASE("sparse blocks equal dense ones") {
  const RelationData sparse = RelationData(SquareRelations{symmetric_square(11)}).to_sparse();
  const Tensor index = int64s({10, 2, 5, 0, 9});
  for (const bool normalize : {false, true}) {
    const SparseBlock block = sparse.sub_sparse(index, normalize);
    CHECK(block.rows == 5);
    Tensor dense = Tensor::zeros({5, 5}, Dtype::float64);
    for (std::int64_t i = 0; i < 5; ++i) {
      for (auto e = block.begin.to_vector<std::int64_t>()[i]; e < block.end.to_vector<std::int64_t>()[i];
           ++e) {
        dense.mutable_data<double>()[i * 5 + static_cast<std::int64_t>(block.col.at(e))] = block.value.at(e);
      }
    }
    check_close(dense, sparse.sub(index, normalize), 1e-14);
  }
  CHECK(contains(error_of([&] { sparse.to_square().sub_sparse(index); }), "to_sparse"));
}

TEST_CASE("conversions between dense forms carry gradients") {
  Tensor x = random_tensor({6}, 4, Dtype::float64);
  x.requires_grad(true);
  sum(RelationData(TriangularRelations{x, 4}).to_square().to_triangular().to_flat().values() * 3).backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>(6, 3));
}
