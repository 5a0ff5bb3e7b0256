#include <doctest/doctest.h>
#include <flatland/dr/dataset.h>

#include "tests/support/errors.h"
#include "tests/support/tensors.h"

#include <limits>

using namespace flatland;
using namespace flatland::test;

TEST_CASE("a single tensor is stored under main, with indices") {
  const Dataset data = random_tensor({5, 3}, 1);
  CHECK(data.size() == 5);
  CHECK(data.contains("main"));
  CHECK(data["indices"].to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 1, 2, 3, 4});
  CHECK(data.keys() == std::vector<std::string>{"main", "indices"});
}

TEST_CASE("given indices are kept") {
  const Dataset data{{"main", random_tensor({2, 3}, 1)},
                     {"indices", Tensor::from({std::int64_t{7}, std::int64_t{9}})}};
  CHECK(data["indices"].to_vector<std::int64_t>() == std::vector<std::int64_t>{7, 9});
  CHECK(data.slice(1, 2)["indices"].to_vector<std::int64_t>() == std::vector<std::int64_t>{9});
}

TEST_CASE("slices and rows") {
  const Tensor x = random_tensor({6, 2}, 2);
  const Dataset data{{"main", x}, {"labels", Tensor::arange(6)}};
  const Dataset part = data.slice(2, 5);
  CHECK(part.size() == 3);
  CHECK(part["main"].at(0, 1) == x.at(2, 1));
  CHECK(part["labels"].to_vector<int>() == std::vector<int>{2, 3, 4});
  CHECK(part["indices"].to_vector<int>() == std::vector<int>{0, 1, 2});
  CHECK(data.first(1).size() == 1);
  const Dataset chosen = data.rows(Tensor::from({std::int64_t{5}, std::int64_t{0}}));
  CHECK(chosen["labels"].to_vector<int>() == std::vector<int>{5, 0});
  CHECK(chosen["main"].at(0, 0) == x.at(5, 0));
  CHECK(contains(error_of([&] { data.first(7); }), "there are 6"));
  CHECK(contains(error_of([&] { data.slice(3, 3); }), "0 <= begin < end"));
  CHECK(contains(error_of([&] { data.rows(Tensor::from({std::int64_t{6}})); }), "6"));
}

TEST_CASE("an unknown key lists the known ones") {
  const Dataset data = random_tensor({5, 3}, 1);
  const std::string message = error_of([&] { data["labels"]; });
  CHECK(contains(message, "'labels'"));
  CHECK(contains(message, "'main', 'indices'"));
  CHECK(contains(error_of([] { Dataset()["main"]; }), "it is empty"));
}

TEST_CASE("entries need equal lengths") {
  CHECK(contains(error_of([] {
                   Dataset{{"main", random_tensor({5, 3}, 1)}, {"labels", Tensor::arange(4)}};
                 }),
                 "'labels' has 4 rows but 'main' has 5"));
  CHECK(contains(error_of([] {
                   Dataset{{"main", Tensor::arange(4)}, {"main", Tensor::arange(4)}};
                 }),
                 "twice"));
}

TEST_CASE("empty entries are refused") {
  CHECK(contains(error_of([] { Dataset(Tensor::empty({0, 3})); }), "no rows"));
  CHECK(contains(error_of([] { Dataset(Tensor::empty({3, 0})); }), "no columns"));
  CHECK(contains(error_of([] { Dataset(Tensor::scalar(1)); }), "single value"));
  CHECK(contains(error_of([] { Dataset{Tensor{}}; }), "undefined"));
}

TEST_CASE("NaN and infinity are found with their place and number") {
  for (const Dtype dtype : {Dtype::float32, Dtype::float64}) {
    Tensor x = Tensor::zeros({40, 3}, Dtype::float64);
    x.mutable_data<double>()[17 * 3 + 2] = std::numeric_limits<double>::quiet_NaN();
    x.mutable_data<double>()[30 * 3] = -std::numeric_limits<double>::infinity();
    const std::string message = error_of([&] { Dataset{{"features", x.to(dtype)}}; });
    CHECK(contains(message, "'features'"));
    CHECK(contains(message, "2 values"));
    CHECK(contains(message, "row 17, column 2"));
  }
}
