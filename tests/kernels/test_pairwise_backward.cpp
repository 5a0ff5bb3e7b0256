#include <doctest/doctest.h>
#include <flatland/kernels/pairwise.h>

#include "tests/support/devices.h"
#include "tests/support/distance_reference.h"
#include "tests/support/pairwise_cases.h"

using namespace flatland;
using namespace flatland::kernels;
using namespace flatland::test;

namespace {

// sum_ij g[i,j] metric(x[i], y[j]), differentiated by central differences.
double central_difference(Metric metric, GuardedMatrix<double> x, const GuardedMatrix<double>& y,
                          const std::vector<double>& g_row, std::int64_t i, std::int64_t k) {
  const double h = 1e-5, at = x(i, k);
  double sum = 0;
  for (const double sign : {1., -1.}) {
    x(i, k) = at + sign * h;
    for (std::int64_t j = 0; j < y.rows(); ++j)
      sum += sign * g_row[static_cast<std::size_t>(j)] * reference_distance(metric, x.row(i), y.row(j));
  }
  return sum / (2 * h);
}

void check_gradients_by_differences(const Exec& exec, Metric metric, Sizes s) {
  CAPTURE(name(metric.kind));
  CAPTURE(s.d);
  auto x = random_matrix<double>(s.n, s.d, 3), y = random_matrix<double>(s.m, s.d, 4);
  const auto g = random_matrix<double>(s.n, s.m, 5);
  // On grids half a step apart: no difference comes near the kink at 0.
  for (std::int64_t k = 0; k < s.d; ++k) {
    for (std::int64_t i = 0; i < s.n; ++i)
      x(i, k) = std::round(x(i, k) * 10) / 10 + 1e-3 * static_cast<double>(k);
    for (std::int64_t j = 0; j < s.m; ++j) y(j, k) = std::round(y(j, k) * 10) / 10 + 0.05;
  }
  GuardedMatrix<double> dist(s.n, s.m), dx(s.n, s.d), dy(s.m, s.d);
  cross_distances<double>(exec, metric, x.in(), y.in(), dist.view());
  cross_distances_backward<double>(exec, metric, x.in(), y.in(), dist.in(), g.in(), dx.view(), dy.view());
  CHECK((dx.intact() && dy.intact()));
  std::vector<double> want_dx, want_dy;
  for (std::int64_t i = 0; i < s.n; ++i)
    for (std::int64_t k = 0; k < s.d; ++k)
      want_dx.push_back(central_difference(metric, x, y, g.row(i), i, k));
  for (std::int64_t j = 0; j < s.m; ++j) {
    std::vector<double> column;
    for (std::int64_t i = 0; i < s.n; ++i) column.push_back(g(i, j));
    for (std::int64_t k = 0; k < s.d; ++k) want_dy.push_back(central_difference(metric, y, x, column, j, k));
  }
  // Central differences with h = 1e-5: h^2 times third derivatives up to 1e3.
  check_close<double>(dx.values(), want_dx, 5e8, 1);
  check_close<double>(dy.values(), want_dy, 5e8, 1);
}

// Multiples of 1 / 1024, so that float differences are exact: which is the largest is no matter of rounding.
template <class T>
GuardedMatrix<T> random_grid(std::int64_t rows, std::int64_t cols, unsigned seed) {
  auto m = random_matrix<T>(rows, cols, seed);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t k = 0; k < cols; ++k) m(i, k) = std::round(m(i, k) * T(1024)) / T(1024);
  return m;
}

using Rows = std::vector<std::vector<double>>;

// sum_j weight(j) d metric(x, y[j]) / dx
template <class Weight>
std::vector<double> reference_row(Metric metric, const std::vector<double>& x, const Rows& y,
                                  const Weight& weight) {
  std::vector<double> sum(x.size(), 0.);
  std::int64_t j = 0;
  for (const std::vector<double>& row : y) {
    const std::vector<double> slope = reference_gradient(metric, x, row);
    const double w = static_cast<double>(weight(j++));
    for (std::size_t k = 0; k < sum.size(); ++k) sum[k] += w * slope[k];
  }
  return sum;
}
void append(std::vector<double>& to, const std::vector<double>& values) {
  to.insert(to.end(), values.begin(), values.end());
}

// Rounding errors of sums of `terms` terms, as large as the largest of the gradient.
template <class T>
void check_gradient(const GuardedMatrix<T>& got, const std::vector<double>& want, std::int64_t terms) {
  CHECK(got.intact());
  double largest = 1;
  for (const double v : want) largest = std::max(largest, std::abs(v));
  check_close<T>(got.values(), want, growth(terms), largest);
}

template <class T>
struct Gradients {
  GuardedMatrix<T> x, y, g, dx, dy, self_dx, da, db;
  std::vector<T> self_g, pair_g;

  Gradients(const Exec& exec, Metric metric, Sizes s)
      : x(random_grid<T>(s.n, s.d, 3)),
        y(random_grid<T>(s.m, s.d, 4)),
        g(random_matrix<T>(s.n, s.m, 5)),
        dx(s.n, s.d),
        dy(s.m, s.d),
        self_dx(s.n, s.d),
        da(std::min(s.n, s.m), s.d),
        db(std::min(s.n, s.m), s.d),
        self_g(static_cast<std::size_t>(condensed_size(s.n))),
        pair_g(static_cast<std::size_t>(std::min(s.n, s.m))) {
    std::mt19937 random(8);
    for (T& v : self_g) v = static_cast<T>(uniform(random) - 0.5);
    for (T& v : pair_g) v = static_cast<T>(uniform(random) - 0.5);
    GuardedMatrix<T> dist(s.n, s.m, 5);  // its rows lie further apart than those of g
    std::vector<T> self_dist(self_g.size()), pair_dist(pair_g.size());
    const Mirror mx(exec, x.block()), my(exec, y.block()), mg(exec, g.block()), md(exec, dist.block());
    const Mirror mdx(exec, dx.block()), mdy(exec, dy.block()), ms(exec, self_dx.block());
    const Mirror msg(exec, self_g), msd(exec, self_dist), mpg(exec, pair_g), mpd(exec, pair_dist);
    const Mirror mda(exec, da.block()), mdb(exec, db.block());
    const MatView<T> xv = mx.view(x.view()), yv = my.view(y.view()), dv = md.view(dist.view());
    cross_distances<T>(exec, metric, xv, yv, dv);
    cross_distances_backward<T>(exec, metric, xv, yv, dv, mg.view(g.view()), mdx.view(dx.view()),
                                mdy.view(dy.view()));
    condensed_distances<T>(exec, metric, xv, msd.span());
    condensed_distances_backward<T>(exec, metric, xv, msd.span(), msg.span(), ms.view(self_dx.view()));
    const MatView<T> a(xv.data, da.rows(), s.d, xv.ld), b(yv.data, da.rows(), s.d, yv.ld);
    pair_distances<T>(exec, metric, a, b, mpd.span());
    // Each side alone: the other has no data.
    pair_distances_backward<T>(exec, metric, a, b, mpd.span(), mpg.span(), mda.view(da.view()), {});
    pair_distances_backward<T>(exec, metric, a, b, mpd.span(), mpg.span(), {}, mdb.view(db.view()));
  }
};

template <class T>
void check_backward(const Exec& exec, Metric metric, Sizes s) {
  // Always 0 or 2: no gradient.
  if (metric.kind == MetricKind::correlation && s.d == 2) return;
  if (metric.kind == MetricKind::cosine && s.d == 1) return;
  CAPTURE(name(exec.device()));
  CAPTURE(name(metric.kind));
  CAPTURE(s.n);
  CAPTURE(s.m);
  CAPTURE(s.d);
  const Gradients<T> got(exec, metric, s);
  const Rows x = got.x.all_rows(), y = got.y.all_rows();
  std::vector<double> dx, dy, self_dx, da, db;
  for (std::int64_t i = 0; i < s.n; ++i) {
    const std::vector<double>& xi = x[static_cast<std::size_t>(i)];
    append(dx, reference_row(metric, xi, y, [&](std::int64_t j) { return got.g(i, j); }));
    append(self_dx, reference_row(metric, xi, x, [&](std::int64_t j) {
             const std::int64_t at = condensed_index(s.n, std::min(i, j), std::max(i, j));
             return i == j ? T(0) : got.self_g[static_cast<std::size_t>(at)];
           }));
  }
  for (std::int64_t j = 0; j < s.m; ++j)
    append(dy, reference_row(metric, y[static_cast<std::size_t>(j)], x,
                             [&](std::int64_t i) { return got.g(i, j); }));
  for (std::size_t i = 0; i < got.pair_g.size(); ++i) {
    const auto weight = [&](std::int64_t) { return got.pair_g[i]; };
    append(da, reference_row(metric, x[i], {y[i]}, weight));
    append(db, reference_row(metric, y[i], {x[i]}, weight));
  }
  check_gradient(got.dx, dx, s.m + s.d);
  check_gradient(got.dy, dy, s.n + s.d);
  check_gradient(got.self_dx, self_dx, s.n + s.d);
  check_gradient(got.da, da, s.d);
  check_gradient(got.db, db, s.d);
}

}  // namespace

TEST_CASE_TEMPLATE("gradients of all metrics equal the double loop, in all three forms, on every device", T,
                   float, double) {
  for (const Device device : devices()) {
    const Exec exec(device, 2);
    for (const Metric metric : all_metrics())
      for (const Sizes s : pairwise_sizes()) check_backward<T>(exec, metric, s);
  }
}

TEST_CASE("gradients have the same bits run to run on every device") {
  for (const Device device : devices()) {
    const Exec exec(device);
    for (const Metric metric : all_metrics()) {
      const Sizes s{70, 301, 3};
      const Gradients<float> one(exec, metric, s), two(exec, metric, s);
      CHECK((one.dx.values() == two.dx.values() && one.dy.values() == two.dy.values() &&
             one.self_dx.values() == two.self_dx.values() && one.da.values() == two.da.values()));
    }
  }
}

TEST_CASE("gradients equal central differences") {
  const Exec exec(Device::cpu, 2);
  for (const Metric metric : all_metrics())
    for (const Sizes s : {Sizes{3, 4, 2}, Sizes{18, 37, 3}, Sizes{5, 7, 16}, Sizes{6, 3, 41}}) {
      if (metric.kind == MetricKind::correlation && s.d == 2) continue;  // always 0 or 2: no gradient
      check_gradients_by_differences(exec, metric, s);
    }
}

TEST_CASE("chebyshev gives its gradient to the first largest coordinate on every device") {
  for (const Device device : devices())
    for (const std::int64_t d : {4, 70}) {
      std::vector<double> a(static_cast<std::size_t>(d)), b(a.size()), dist{3}, g{2}, da(a.size()), db = da;
      a[1] = a[a.size() - 1] = 3;
      a[2] = -3;
      std::vector<double> dx(a.size());
      {
        const Exec exec(device);
        const Mirror ma(exec, a), mb(exec, b), mdist(exec, dist), mg(exec, g), mda(exec, da), mdb(exec, db),
            mdx(exec, dx);
        const MatView<double> av(ma.data(), 1, d), bv(mb.data(), 1, d), one(mdist.data(), 1, 1);
        pair_distances_backward<double>(exec, metric::chebyshev, av, bv, mdist.span(), mg.span(),
                                        {mda.data(), 1, d}, {mdb.data(), 1, d});
        cross_distances_backward<double>(exec, metric::chebyshev, av, bv, one,
                                         MatView<double>(mg.data(), 1, 1), {mdx.data(), 1, d}, {});
      }
      std::vector<double> want(a.size());
      want[1] = 2;
      CHECK(da == want);
      CHECK(dx == want);
      want[1] = -2;
      CHECK(db == want);
    }
}
