#include <flatland/kernels/neighbor_weights.h>
#include <tests/support/devices.h>
#include <tests/support/errors.h>
#include <tests/support/golden.h>
#include <tests/support/relation_reference.h>

#include <array>
#include <limits>

using namespace flatland;
using namespace flatland::test;
using kernels::Exec;
using kernels::In;
using kernels::MatView;
using kernels::RowSearch;

namespace {

template <class T>
struct Weights {
  std::int64_t missed = 0;
  std::vector<T> weight, width;
};
enum class Kind { perplexity, connectivity };

template <class T>
Weights<T> search(const Exec& exec, Kind kind, std::vector<T> dist, std::int64_t k, double target) {
  const std::int64_t n = std::ssize(dist) / k;
  Weights<T> w{0, std::vector<T>(dist.size(), T(-7)), std::vector<T>(static_cast<std::size_t>(n), T(-7))};
  {
    const Mirror from(exec, dist), weight(exec, w.weight), width(exec, w.width);
    const In<T> in(from.data(), n, k);
    const MatView<T> out(weight.data(), n, k);
    w.missed = kind == Kind::perplexity
                   ? kernels::perplexity_weights<T>(exec, in, target, RowSearch(), out, width.span())
                   : kernels::connectivity_weights<T>(exec, in, target, RowSearch(), out, width.span());
  }
  return w;
}

// Distances that look like those of neighbours: ascending, the nearest well away from 0.
template <class T>
std::vector<T> neighbour_distances(std::int64_t n, std::int64_t k, unsigned seed, double scale = 1) {
  std::vector<T> dist;
  for (std::int64_t i = 0; i < n; ++i) {
    std::vector<double> row = random_values<double>(k, seed + static_cast<unsigned>(i), 2, 5);
    std::sort(row.begin(), row.end());
    for (const double d : row) dist.push_back(static_cast<T>(d * scale));
  }
  return dist;
}

template <class T>
double entropy(std::span<const T> p) {
  double h = 0;
  for (const T v : p)
    if (v > 0) h -= static_cast<double>(v) * std::log2(static_cast<double>(v));
  return h;
}
template <class T>
double total(std::span<const T> p) {
  double sum = 0;
  for (const T v : p) sum += static_cast<double>(v);
  return sum;
}
template <class T>
std::span<const T> row_of(const std::vector<T>& m, std::int64_t i, std::int64_t k) {
  return std::span<const T>(m).subspan(static_cast<std::size_t>(i * k), static_cast<std::size_t>(k));
}

constexpr std::array<std::int64_t, 15> k_row_lengths = {2,  3,   15,  16,  17,  31,  32,  33,
                                                        90, 127, 128, 129, 512, 513, 1000};

}  // namespace

TEST_CASE_TEMPLATE("perplexity_weights: rows sum to 1 and reach the entropy at any scale on every device", T,
                   float, double) {
  for (const Device device : devices())
    for (const std::int64_t k : k_row_lengths)
      for (const auto& setting : {std::pair{0.34, 1e-15},
                                  {0.34, 1e-3},
                                  {0.34, 1.0},
                                  {0.34, 1e15},
                                  {0.9, 1e-15},
                                  {0.9, 1.0},
                                  {0.9, 1e4},
                                  {0.9, 1e15}}) {
        const double share = setting.first,
                     scale = setting.second;  // clang 14 captures no structured bindings
        const double perplexity = std::max(1.2, share * static_cast<double>(k));
        INFO(name(device), " k ", k, " perplexity ", perplexity, " scale ", scale);
        constexpr std::int64_t n = 5;
        const Weights<T> w =
            search(Exec(device), Kind::perplexity, neighbour_distances<T>(n, k, 3, scale), k, perplexity);
        CHECK(w.missed == 0);
        for (std::int64_t i = 0; i < n; ++i) {
          CHECK(std::abs(total(row_of(w.weight, i, k)) - 1) <= (sizeof(T) == 4 ? 1e-6 : 1e-14));
          CHECK(std::abs(entropy(row_of(w.weight, i, k)) - std::log2(perplexity)) <=
                (sizeof(T) == 4 ? 4e-6 : 1e-12));
          const double beta = static_cast<double>(w.width[static_cast<std::size_t>(i)]) * scale * scale;
          CHECK(beta > 1e-4);
          CHECK(beta < 1e4);
        }
      }
}

TEST_CASE_TEMPLATE("connectivity_weights: rows reach the sum at any scale on every device", T, float,
                   double) {
  for (const Device device : devices())
    for (const std::int64_t k : k_row_lengths)
      for (const double scale : {1e-15, 1e-3, 1.0, 1e4, 1e15}) {
        INFO(name(device), " k ", k, " scale ", scale);
        const double n_neighbors = k == 2 ? 3 : static_cast<double>(k);
        constexpr std::int64_t n = 5;
        const Weights<T> w =
            search(Exec(device), Kind::connectivity, neighbour_distances<T>(n, k, 4, scale), k, n_neighbors);
        CHECK(w.missed == 0);
        for (std::int64_t i = 0; i < n; ++i) {
          CHECK(w.weight[static_cast<std::size_t>(i * k)] == T(1));  // the nearest neighbour
          CHECK(std::abs(total(row_of(w.weight, i, k)) / std::log2(n_neighbors) - 1) <=
                (sizeof(T) == 4 ? 3e-6 : 1e-13));
          const double sigma = static_cast<double>(w.width[static_cast<std::size_t>(i)]) / scale;
          CHECK(sigma > 1e-3);
          CHECK(sigma < 1e3);
        }
      }
}

TEST_CASE_TEMPLATE("any number of rows on every device", T, float, double) {
  for (const Device device : devices())
    for (const std::int64_t k : {5, 40})
      for (const std::int64_t n : {0, 1, 3, 4, 15, 16, 17, 65}) {
        INFO(name(device), " n ", n, " k ", k);
        const std::vector<T> dist = neighbour_distances<T>(n, k, 8);
        for (const Kind kind : {Kind::perplexity, Kind::connectivity}) {
          const Weights<T> got = search(Exec(device), kind, dist, k, 4.0),
                           want = search(Exec(), kind, dist, k, 4.0);
          CHECK(got.missed == 0);
          // two roots to the tolerance of the search each
          check_close(got.width, want.width, sizeof(T) == 4 ? 4e-6 : 1e-11);
          check_close(got.weight, want.weight, sizeof(T) == 4 ? 1e-5 : 1e-10, 1e-6);
        }
      }
}

TEST_CASE("targets close to the extremes are found on every device") {
  const std::vector<double> dist = neighbour_distances<double>(20, 30, 5);
  // One neighbour far nearer than the others, and others that differ by a rounding error only.
  std::vector<double> odd{1e-6, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  for (std::size_t i = 1; i < odd.size(); ++i) odd[i] += 1e-13 * static_cast<double>(i);
  for (const Device device : devices()) {
    for (const double perplexity : {1.0001, 1.01, 29.9, 29.9999}) {
      INFO(name(device), " perplexity ", perplexity);
      const Weights<double> w = search(Exec(device), Kind::perplexity, dist, 30, perplexity);
      CHECK(w.missed == 0);
      for (std::int64_t i = 0; i < 20; ++i)
        CHECK(std::abs(entropy(row_of(w.weight, i, 30)) - std::log2(perplexity)) <= 1e-11);
    }
    for (const double perplexity : {1.5, 4.0, 9.5}) {
      const Weights<double> w = search(Exec(device), Kind::perplexity, odd, 10, perplexity);
      CHECK(w.missed == 0);
      CHECK(std::abs(entropy(row_of(w.weight, 0, 10)) - std::log2(perplexity)) <= 1e-10);
    }
  }
}

TEST_CASE_TEMPLATE("unreachable targets get the nearest weights and are counted on every device", T, float,
                   double) {
  // Row 0: five ties at the front. Row 1: all equal. Row 2: all zero. Row 3: as it should be.
  const std::vector<T> dist{1, 1, 1, 1, 1, 2, 3, 4, 3, 3, 3, 3, 3, 3, 3, 3,
                            0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<T> fifth{T(0.2), T(0.2), T(0.2), T(0.2), T(0.2), 0, 0, 0};
  const std::vector<T> eighth(8, T(0.125));
  const auto row = [](const std::vector<T>& m, std::int64_t i) {
    const auto span = row_of(m, i, 8);
    return std::vector<T>(span.begin(), span.end());
  };
  for (const Device device : devices()) {
    INFO(name(device));
    const Exec exec(device);
    const Weights<T> p = search(exec, Kind::perplexity, dist, 8, 3.0);
    CHECK(p.missed == 3);
    check_close(row(p.weight, 0), fifth, 1e-7);
    CHECK(row(p.weight, 1) == eighth);
    CHECK(row(p.weight, 2) == eighth);
    CHECK(std::abs(entropy(row_of(p.weight, 3, 8)) - std::log2(3.0)) <= 1e-6);
    for (const T b : p.width) CHECK(std::isfinite(b));

    const Weights<T> v = search(exec, Kind::connectivity, dist, 8, 9.0);  // sum log2(9) = 3.17
    CHECK(v.missed == 3);
    CHECK(row(v.weight, 0) == std::vector<T>{1, 1, 1, 1, 1, 0, 0, 0});
    CHECK(row(v.weight, 1) == std::vector<T>(8, 1));
    CHECK(row(v.weight, 2) == std::vector<T>(8, 1));
    for (const T s : v.width) CHECK((std::isfinite(s) && s > 0));
    // A sum that the number of neighbours cannot reach.
    const Weights<T> many = search(exec, Kind::connectivity, dist, 8, 1000.0);
    CHECK(many.missed == 4);
    for (const T x : many.weight) CHECK(std::abs(static_cast<double>(x) - 1) < 1e-6);

    // Uniform weights have the perplexity k exactly.
    const Weights<T> uniform = search(exec, Kind::perplexity, dist, 8, 8.0);
    CHECK(uniform.missed == 0);
    check_close(uniform.weight, std::vector<T>(32, T(0.125)), 1e-7);
    const Weights<T> one = search(exec, Kind::perplexity, std::vector<T>{0, 3}, 1, 1.0);
    CHECK(one.missed == 0);
    CHECK(one.weight == std::vector<T>{1, 1});
  }
}

TEST_CASE("the search agrees with ParaDime's rescalings (golden neighbors) on every device") {
  const Tensor dist = golden("neighbors/knn_dist");  // the first column is the item itself
  const std::int64_t n = dist.size(0), k = dist.size(1) - 1;
  std::vector<double> values = dist.to_vector<double>(), width(static_cast<std::size_t>(n));
  for (const Device device : devices()) {
    const Exec exec(device);
    const auto check = [&](const char* weights, const char* widths, auto&& run) {
      std::vector<double> weight(static_cast<std::size_t>(n * k));
      {
        const Mirror from(exec, values), to(exec, weight), widths_to(exec, width);
        CHECK(run(In<double>(from.data() + 1, n, k, k + 1), MatView<double>(to.data(), n, k),
                  widths_to.span()) == 0);
      }
      check_close(width, golden(widths).to_vector<double>(), 1e-9);
      check_close(weight, golden(weights).to_vector<double>(), 1e-9);
    };
    check("neighbors/perp_p", "neighbors/perp_betas",
          [&](In<double> d, MatView<double> p, std::span<double> beta) {
            return kernels::perplexity_weights<double>(exec, d, 10, RowSearch(), p, beta);
          });
    check("neighbors/conn_w", "neighbors/conn_sigmas",
          [&](In<double> d, MatView<double> v, std::span<double> sigma) {
            return kernels::connectivity_weights<double>(exec, d, 30, RowSearch(), v, sigma);
          });
  }
}

TEST_CASE("float follows double on every device") {
  const std::vector<float> dist = neighbour_distances<float>(100, 90, 6);
  const std::vector<double> same(dist.begin(), dist.end());
  for (const Device device : devices())
    for (const Kind kind : {Kind::perplexity, Kind::connectivity}) {
      const Weights<float> got = search(Exec(device), kind, dist, 90, 30);
      const Weights<double> want = search(Exec(device), kind, same, 90, 30);
      check_close(got.width, want.width, 1e-5);
      check_close(got.weight, want.weight, 3e-5, 1e-6);
    }
}

TEST_CASE("the search may overwrite the distances and keeps off the padding on every device") {
  constexpr std::int64_t n = 50;
  for (const Device device : devices())
    for (const std::int64_t k : {21, 130, 600}) {
      const std::int64_t ld = k + 2;
      const std::vector<float> dist = neighbour_distances<float>(n, k, 7);
      const Weights<float> want = search(Exec(device), Kind::perplexity, dist, k, 6);
      std::vector<float> padded(static_cast<std::size_t>(n * ld), -7.0F);
      for (std::int64_t i = 0; i < n; ++i) std::copy_n(dist.begin() + i * k, k, padded.begin() + i * ld);
      {
        const Exec exec(device);
        const Mirror both(exec, padded);
        const MatView<float> view(both.data(), n, k, ld);
        CHECK(kernels::perplexity_weights<float>(exec, view, 6, RowSearch(), view, {}) == 0);
      }
      INFO(name(device), " k ", k);
      for (std::int64_t i = 0; i < n; ++i) {
        CHECK(std::equal(padded.begin() + i * ld, padded.begin() + i * ld + k, want.weight.begin() + i * k));
        CHECK(padded[static_cast<std::size_t>(i * ld + k)] == -7.0F);
      }
    }
}

TEST_CASE("the search does not depend on threads") {
  const std::vector<float> dist = neighbour_distances<float>(200, 21, 7);
  check_threads([&](const Exec& exec) { return search(exec, Kind::perplexity, dist, 21, 6).weight; });
}

TEST_CASE("the search names what is wrong on every device") {
  for (const Device device : devices()) {
    const auto run = [&](Kind kind, std::vector<float> dist, double target) {
      return error_of([&] { search(Exec(device), kind, dist, 3, target); });
    };
    CHECK(contains(run(Kind::perplexity, {1, 2, 3}, 4), "perplexity 4 with 3 neighbours"));
    CHECK(contains(run(Kind::perplexity, {1, 2, 3}, 0.5), "perplexity 0.5"));
    CHECK(contains(run(Kind::perplexity, {1, 2, 3}, NAN), "perplexity nan"));
    CHECK(contains(run(Kind::connectivity, {1, 2, 3}, 1), "n_neighbors 1"));
    for (const float bad : {-1.0F, NAN, HUGE_VALF})
      for (const Kind kind : {Kind::perplexity, Kind::connectivity})
        for (const std::size_t at : {3, 4, 5}) {
          std::vector<float> dist{1, 2, 3, 1, 2, 3};
          dist[at] = bad;
          CHECK(contains(run(kind, dist, 2.5), "row 1 of dist"));
        }
  }
  std::vector<float> dist(6), weight(4);
  CHECK(contains(error_of([&] {
                   kernels::perplexity_weights<float>(Exec(), In<float>(dist.data(), 2, 3), 2, RowSearch(),
                                                      MatView<float>(weight.data(), 2, 2), {});
                 }),
                 "dist is (2, 3) but the weights are (2, 2)"));
}
