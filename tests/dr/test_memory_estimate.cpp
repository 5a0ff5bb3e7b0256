#include <doctest/doctest.h>
#include <flatland/dr/memory_estimate.h>

#include "tests/support/errors.h"

using namespace flatland;
using flatland::test::contains;
using flatland::test::error_of;

TEST_CASE("the estimate is the sum of its parts, in bytes") {
  const MemoryEstimate e = estimate_memory(5000, 784, 90, {.threads = 2});
  CHECK(e.data == 5000 * (786 * 4 + 8));
  CHECK(e.model == 4 * 4 * (785 * 100 + 101 * 50 + 51 * 2));
  CHECK(e.relations == 2 * 5000 * 90 * 8 + 5000 * 8);  // columns and values both ways, row offsets
  CHECK(e.setup > 5000 * (90 * 8 + 784 * 4));          // neighbours, and the scaled copy of the data
  CHECK(e.peak() == e.data + e.model + std::max(e.setup, e.relations + e.step));
}

TEST_CASE("memory grows with items, columns, neighbours, batches and layers") {
  const auto peak = [](std::int64_t n, std::int64_t dim, std::int64_t k, TrainingSize size = {}) {
    size.search = NeighborSearch::exact;
    return static_cast<double>(estimate_memory(n, dim, k, size).peak());
  };
  const double million = peak(1'000'000, 50, 90);
  CHECK(peak(2'000'000, 50, 90) / million == doctest::Approx(2).epsilon(0.01));  // never quadratic
  CHECK(peak(1'000'000, 60, 90) - million >= 1e6 * 10 * 4 * 2);                  // the data, and one copy
  CHECK(peak(1'000'000, 50, 150) - million >= 1e6 * 60 * 8 * 2);
  CHECK(peak(1'000'000, 50, 90, {.dtype = Dtype::float64}) - million >= 1e6 * 4 * (50 + 90));
  const auto parts = [](const TrainingSize& size) { return estimate_memory(20'000, 50, 30, size); };
  const MemoryEstimate plain = parts({}), edges = parts({.negative_sampling_rate = 5});
  CHECK(edges.relations - plain.relations == 2 * 20'000 * 30 * 8);  // their alias table
  CHECK(edges.step > 5 * (plain.step - 3 * 8 * 20'000) / 2);        // a batch has more ends than items
  CHECK(parts({.batch_size = 2000}).step > plain.step);
  CHECK(parts({.hidden_dims = {500}}).model == 16 * (51 * 500 + 501 * 2));
  CHECK(parts({.batch_size = 1 << 30}).step == parts({.batch_size = 20'000}).step);  // no more than all items
}

TEST_CASE("the search decides what preparing takes") {
  const auto setup = [](std::int64_t n, NeighborSearch search) {
    return estimate_memory(n, 100, 15, {.start = false, .search = search}).setup;
  };
  using enum NeighborSearch;
  CHECK(setup(k_exact_items, automatic) == setup(k_exact_items, exact));
  CHECK(setup(k_exact_items + 1, automatic) == setup(k_exact_items + 1, approximate));
  CHECK(setup(1'000'000, exact) > 1.3 * setup(1'000'000, approximate));
  CHECK(setup(2'000'000, approximate) < 2.1 * setup(1'000'000, approximate));
  CHECK(setup(1000, approximate) == setup(1000, exact));  // so few are searched exactly
}

TEST_CASE("a routine's options say its size") {
  const auto same = [](const MemoryEstimate& a, const MemoryEstimate& b) {
    return a.data == b.data && a.model == b.model && a.setup == b.setup && a.relations == b.relations &&
           a.step == b.step;
  };
  CHECK(same(
      estimate_memory(10'000, ParametricTSNE::Options{.in_dim = 20, .perplexity = 40, .batch_size = 250}),
      estimate_memory(10'000, 20, 120, {.batch_size = 250})));
  CHECK(same(
      estimate_memory(10'000, ParametricUMAP::Options{.in_dim = 20, .hidden_dims = {7}}),
      estimate_memory(10'000, 20, 30, {.batch_size = 10, .negative_sampling_rate = 5, .hidden_dims = {7}})));
  CHECK(same(estimate_memory(50, ParametricTSNE::Options{.in_dim = 20}), estimate_memory(50, 20, 49)));
}

TEST_CASE("impossible sizes are errors, and no possible one overflows") {
  const auto error = [](std::int64_t n, std::int64_t dim, std::int64_t k, const TrainingSize& size = {}) {
    return error_of([&] { (void)estimate_memory(n, dim, k, size); });
  };
  CHECK(contains(error(-1, 10, 5), "-1 items; a routine takes 2 to 2147483647"));
  CHECK(contains(error(std::int64_t{1} << 31, 10, 5), "2147483648 items"));
  CHECK(contains(error(100, 0, 5), "dim is 0"));
  CHECK(contains(error(100, -3, 5), "dim is -3"));
  CHECK(contains(error(100, 10, 100), "100 neighbours of 100 items; there are 1 to 99"));
  CHECK(contains(error(100, 10, -5), "-5 neighbours"));
  CHECK(contains(error(100, 10, 5, {.batch_size = 0}), "batch_size is 0"));
  CHECK(contains(error(100, 10, 5, {.negative_sampling_rate = -1}), "negative_sampling_rate is -1"));
  CHECK(contains(error(100, 10, 5, {.hidden_dims = {10, 0}}), "a hidden layer is 0"));
  CHECK(contains(error(100, 10, 5, {.threads = -2}), "-2 threads"));
  CHECK(contains(error(100, std::int64_t{1} << 62, 5), "values of data; no machine"));
  CHECK(contains(error(100, 10, 5, {.hidden_dims = {std::int64_t{1} << 40, std::int64_t{1} << 40}}),
                 "no machine"));
  CHECK(contains(error(100, 10, 5, {.batch_size = std::int64_t{1} << 62}), "a batch"));
  constexpr std::int64_t items = (std::int64_t{1} << 31) - 1;
  const MemoryEstimate most = estimate_memory(items, 500'000, 500'000, {.hidden_dims = {500'000, 500'000}});
  for (const std::int64_t part : {most.data, most.model, most.setup, most.relations, most.step, most.peak()})
    CHECK(part > 0);
  CHECK(most.peak() > items * 500'000 * 4);
}
