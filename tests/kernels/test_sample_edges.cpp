#include <doctest/doctest.h>
#include <flatland/kernels/sample_edges.h>

#include "tests/support/devices.h"
#include "tests/support/errors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <vector>

using namespace flatland;
using kernels::Exec;
using kernels::RandomStream;
using test::Mirror;

namespace {

struct Table {
  std::vector<float> threshold;
  std::vector<std::int32_t> alias;
};
Table table_of(const std::vector<double>& weight) {
  Table t{std::vector<float>(weight.size(), -1), std::vector<std::int32_t>(weight.size(), -1)};
  kernels::alias_table<double>(weight, t.threshold, t.alias);
  return t;
}
// The probability that a table gives each item.
std::vector<double> probabilities(const Table& t) {
  const auto n = static_cast<double>(t.threshold.size());
  std::vector<double> p(t.threshold.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    p[i] += static_cast<double>(t.threshold[i]) / n;
    p[static_cast<std::size_t>(t.alias[i])] += (1 - static_cast<double>(t.threshold[i])) / n;
  }
  return p;
}

std::vector<double> random_weights(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<double> w(n);
  for (double& v : w) v = random() % 4 == 0 ? 0 : std::exp(static_cast<double>(random() % 1000) / 100);
  w[n / 2] = 3;
  return w;
}

// A graph of n items in compressed rows, some without edges.
struct Graph {
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> col;
  Table table;

  explicit Graph(std::int64_t n) {
    std::mt19937 random(static_cast<unsigned>(n));
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < n; ++j)
        if (random() % static_cast<unsigned>(n) < 5 && i % 7 != 3)
          col.push_back(static_cast<std::int32_t>(j));
      offset.push_back(static_cast<std::int64_t>(col.size()));
    }
    table = table_of(random_weights(col.size(), 3));
  }
  std::int64_t items() const { return std::ssize(offset) - 1; }
};

struct Sample {
  std::vector<std::int64_t> source, target;
};
Sample sample(const Exec& exec, RandomStream random, std::uint64_t first, Graph& g, int rate,
              std::size_t edges) {
  Sample s{std::vector<std::int64_t>(edges, -1),
           std::vector<std::int64_t>(edges * static_cast<std::size_t>(rate + 1), -1)};
  const Mirror offset(exec, g.offset), source(exec, s.source), target(exec, s.target);
  const Mirror col(exec, g.col), alias(exec, g.table.alias);
  const Mirror threshold(exec, g.table.threshold);
  kernels::sample_edges(exec, random, first, {offset.span(), col.span(), threshold.span(), alias.span()},
                        rate, source.span(), target.span());
  return s;
}

struct Distinct {
  std::vector<std::int64_t> values, place;
  std::int64_t found = -1;
};
Distinct distinct(const Exec& exec, std::vector<std::int64_t> item, std::int64_t count) {
  Distinct d{std::vector<std::int64_t>(item.size(), -1), std::vector<std::int64_t>(item.size(), -1), -1};
  std::vector<std::int64_t> found(1, -1);
  {
    const Mirror in(exec, item), values(exec, d.values), place(exec, d.place), number(exec, found);
    kernels::distinct_items(exec, in.span(), count, values.span(), place.span(), number.data());
  }
  d.found = found[0];
  return d;
}

}  // namespace

TEST_CASE("an alias table gives each item its share, and items of weight 0 nothing") {
  for (const std::size_t n : {1u, 2u, 3u, 10u, 1000u, 4097u}) {
    const std::vector<double> w = random_weights(n, static_cast<unsigned>(n));
    const Table t = table_of(w);
    const std::vector<double> p = probabilities(t);
    double total = 0;
    for (const double v : w) total += v;
    for (std::size_t i = 0; i < n; ++i) {
      CHECK((t.threshold[i] >= 0 && t.threshold[i] <= 1));
      CHECK((t.alias[i] >= 0 && t.alias[i] < static_cast<std::int32_t>(n)));
      CHECK(std::abs(p[i] - w[i] / total) <= 1e-7);
      if (w[i] == 0) CHECK(p[i] == 0);
    }
  }
  CHECK(probabilities(table_of({1e-300, 1e300, 0, 1e300}))[2] == 0);
}

TEST_CASE("errors of alias tables") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(test::error_of([] { table_of({}); }) ==
        "alias_table: a table of 0 thresholds and 0 aliases; there must be as many, at least 1, see "
        "alias_table");
  CHECK(test::error_of([] {
          table_of({1, -2});
        }) == "alias_table: weight 1 is -2; weights are finite and not negative");
  CHECK(test::error_of([&] { table_of({nan}); }) ==
        "alias_table: weight 0 is nan; weights are finite and not negative");
  CHECK(test::error_of([] {
          table_of({0, 0, 0});
        }) == "alias_table: the 3 weights add up to 0; at least one must be above 0, and the sum finite");
}

TEST_CASE("draws follow the weights") {
  const std::vector<double> w{1, 0, 2, 4, 0.5, 8};
  const Table t = table_of(w);
  constexpr std::size_t draws = 200000;
  std::vector<std::int64_t> out(draws, -1);
  kernels::sample_items(Exec(), {.seed = 1, .stream = 2}, 0, t.threshold, t.alias, out);
  std::vector<double> count(w.size());
  for (const std::int64_t i : out) count[static_cast<std::size_t>(i)] += 1;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double p = w[i] / 15.5;
    CHECK(std::abs(count[i] / draws - p) <= 5 * std::sqrt(p / draws));
  }
}

TEST_CASE("sampled edges are edges, each with its negatives, and follow their weights") {
  Graph g(40);
  constexpr std::size_t edges = 50000;
  constexpr int rate = 3;
  const Sample s = sample(Exec(), {.seed = 5, .stream = 1}, 0, g, rate, edges);
  std::vector<double> drawn(g.col.size()), negatives(40);
  for (std::size_t p = 0; p < edges; ++p) {
    const std::size_t at = p * (rate + 1);
    const std::int64_t row = s.source[p];
    const auto begin = g.col.begin() + g.offset[static_cast<std::size_t>(row)];
    const auto end = g.col.begin() + g.offset[static_cast<std::size_t>(row) + 1];
    const auto found = std::find(begin, end, s.target[at]);
    REQUIRE(found != end);
    drawn[static_cast<std::size_t>(found - g.col.begin())] += 1;
    for (std::size_t r = 1; r <= rate; ++r) negatives.at(static_cast<std::size_t>(s.target[at + r])) += 1;
  }
  const std::vector<double> p = probabilities(g.table);
  for (std::size_t e = 0; e < p.size(); ++e)
    CHECK(std::abs(drawn[e] / edges - p[e]) <= 5 * std::sqrt(p[e] / edges));
  for (const double n : negatives)
    CHECK(std::abs(n / (edges * rate) - 1.0 / 40) <= 5 * std::sqrt(1.0 / 40 / (edges * rate)));
}

TEST_CASE("the same edges for any number of threads, and from any place on") {
  Graph g(300);
  const RandomStream random{.seed = 9, .stream = 4};
  const Sample all = sample(Exec(Device::cpu, 1), random, 0, g, 2, 1000);
  for (const int threads : {2, 3, 8}) {
    const Sample again = sample(Exec(Device::cpu, threads), random, 0, g, 2, 1000);
    CHECK((again.source == all.source && again.target == all.target));
  }
  const Sample rest = sample(Exec(), random, 3 * 400, g, 2, 600);
  CHECK(std::equal(rest.source.begin(), rest.source.end(), all.source.begin() + 400));
  CHECK(std::equal(rest.target.begin(), rest.target.end(), all.target.begin() + 3 * 400));
}

TEST_CASE("random edges and items are the same on every device") {
  for (const std::int64_t n : {1, 2, 5, 33, 200}) {
    Graph g(n);
    std::vector<std::int64_t> want(513, -1);
    kernels::sample_items(Exec(), {.seed = 1}, 7, g.table.threshold, g.table.alias, want);
    for (const Device device : test::devices()) {
      const Exec exec(device);
      INFO(name(device), " n ", n);
      for (const int rate : {0, 1, 3})
        for (const std::size_t edges : {0u, 1u, 31u, 32u, 129u}) {
          const RandomStream random{.seed = 3, .stream = 77};
          const Sample cpu = sample(Exec(), random, 11, g, rate, edges),
                       got = sample(exec, random, 11, g, rate, edges);
          CHECK((got.source == cpu.source && got.target == cpu.target));
        }
      std::vector<std::int64_t> out(513, -1);
      {
        const Mirror to(exec, out);
        const Mirror alias(exec, g.table.alias);
        const Mirror threshold(exec, g.table.threshold);
        kernels::sample_items(exec, {.seed = 1}, 7, threshold.span(), alias.span(), to.span());
      }
      CHECK(out == want);
    }
  }
}

TEST_CASE("distinct items and their places on every device") {
  std::mt19937 random(1);
  for (const Device device : test::devices()) {
    const Exec exec(device);
    for (const std::int64_t count : {1, 31, 32, 33, 64, 65, 1000, 32768, 70000})
      for (const std::size_t n : {1u, 2u, 100u, 1500u}) {
        INFO(name(device), " of ", count, " items ", n);
        std::vector<std::int64_t> item(n);
        for (auto& i : item) i = static_cast<std::int64_t>(random() % static_cast<unsigned>(count));
        item[n / 2] = count - 1;
        const std::set<std::int64_t> want(item.begin(), item.end());
        const Distinct got = distinct(exec, item, count);
        REQUIRE(got.found == static_cast<std::int64_t>(want.size()));
        CHECK(std::equal(want.begin(), want.end(), got.values.begin()));
        for (std::size_t i = want.size(); i < n; ++i) CHECK(got.values[i] == *want.begin());
        bool right = true;
        for (std::size_t i = 0; i < n; ++i)
          right = right && got.values[static_cast<std::size_t>(got.place[i])] == item[i];
        CHECK(right);
      }
    CHECK(distinct(exec, {}, 10).found == 0);
  }
}

TEST_CASE("errors of edge sampling") {
  Graph g(10);
  std::vector<std::int64_t> a(7), b(15), item{3, 12};
  CHECK(test::error_of([&] {
          kernels::sample_edges(Exec(), {}, 0, {g.offset, g.col, g.table.threshold, g.table.alias}, 1, a, b);
        }) == "sample_edges: 7 sources and 15 targets at rate 1; it needs rate + 1 targets a source");
  CHECK(test::error_of([&] {
          kernels::sample_edges(Exec(), {}, 0, {g.offset, g.col, g.table.threshold, g.table.alias}, -1, a, b);
        }) == "sample_edges: rate is -1; it must be 0 or more");
  CHECK(test::error_of([&] { distinct(Exec(), item, 12); }) ==
        "distinct_items: item[1] is 12 but there are 12 items");
}
