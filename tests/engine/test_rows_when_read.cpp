#include <doctest/doctest.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/storage.h>
#include <flatland/engine/tape.h>
#include <tests/support/errors.h>

#include <vector>

using namespace flatland;

namespace {

bool fetched(const Tensor& t) {
  return t.impl()->storage->rows() == nullptr;
}

Tensor table() {
  return reshape(Tensor::arange(12).to(Dtype::float32), {4, 3});
}
const std::vector<std::int64_t> k_index{2, 0, 2};

}  // namespace

TEST_CASE("rows that are gathered when read are those of gather_rows, copied at the first reading") {
  const Tensor index = Tensor::from(k_index);
  const Tensor rows = gather_rows_when_read(table(), index);
  CHECK(rows.shape() == Shape{3, 3});
  CHECK(!fetched(rows));
  const Tensor reshaped = reshape(rows, {9});
  CHECK(!fetched(rows));
  CHECK(reshaped.to_vector<float>() == gather_rows(table(), index).to_vector<float>());
  CHECK(fetched(rows));
  CHECK(rows.at(0, 2) == 8);
  // Any type, any rank, and none at all.
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{5, 6, 7});
  CHECK(gather_rows_when_read(labels, index).to_vector<std::int64_t>() == std::vector<std::int64_t>{7, 5, 7});
  CHECK(gather_rows_when_read(table(), Tensor::empty({0}, Dtype::int64)).to_vector<float>().empty());
}

TEST_CASE("writing rows that are gathered when read leaves their source as it is") {
  const Tensor all = table();
  Tensor rows = gather_rows_when_read(all, Tensor::from(k_index));
  rows.mutable_values<float>()[0] = 100;
  CHECK(rows.at(0, 0) == 100);
  CHECK(rows.at(2, 0) == 6);
  CHECK(all.at(2, 0) == 6);
}

TEST_CASE("linear multiplies rows where they stand, with the bits and gradients of gathered ones") {
  const Tensor all = table() / 7.0, index = Tensor::from(k_index);
  std::vector<float> results[2];
  for (const bool when_read : {false, true}) {
    Tensor weight = reshape(Tensor::arange(6).to(Dtype::float32), {2, 3}).clone();
    weight.requires_grad(true);
    const Tensor rows = when_read ? gather_rows_when_read(all, index) : gather_rows(all, index);
    const Tensor y = linear(rows, weight, {}, activation::tanh);
    sum(y).backward();
    CHECK(fetched(rows) == !when_read);
    results[when_read] = y.to_vector<float>();
    for (const float g : weight.grad().to_vector<float>()) results[when_read].push_back(g);
  }
  CHECK(results[0] == results[1]);
}

TEST_CASE("rows with a history are gathered at once, and bad indices are named") {
  Tensor all = table();
  all.requires_grad(true);
  const Tensor rows = gather_rows_when_read(all, Tensor::from(k_index));
  CHECK(fetched(rows));
  sum(rows).backward();
  CHECK(all.grad().at(2, 0) == 2);
  const Tensor bad = gather_rows_when_read(table(), Tensor::from(std::vector<std::int64_t>{4}));
  CHECK(test::error_of([&] { bad.at(0); }) == "gather_rows: index[0] is 4 but there are 4 rows; give 0 to 3");
  CHECK(test::error_of([&] { bad.at(0); }) == "gather_rows: index[0] is 4 but there are 4 rows; give 0 to 3");
  CHECK(test::error_of([&] { gather_rows_when_read(table(), table()); }) != "");
}
