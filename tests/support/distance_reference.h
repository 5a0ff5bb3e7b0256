// Distances by obvious double loops, and matrices with guards around them.
#pragma once

#include <doctest/doctest.h>
#include <flatland/kernels/metric.h>
#include <flatland/kernels/view.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <vector>

namespace flatland::test {

// A matrix whose rows lie apart. The gaps hold NaN, so that a kernel that reads them shows it; `intact` says
// whether a kernel wrote there.
template <class T>
class GuardedMatrix {
 public:
  GuardedMatrix(std::int64_t rows, std::int64_t cols, std::int64_t gap = 3)
      : rows_(rows),
        cols_(cols),
        ld_(cols + gap),
        values_(static_cast<std::size_t>(rows * ld_ + gap), std::numeric_limits<T>::quiet_NaN()) {}

  T& operator()(std::int64_t i, std::int64_t j) { return values_[static_cast<std::size_t>(i * ld_ + j)]; }
  T operator()(std::int64_t i, std::int64_t j) const {
    return values_[static_cast<std::size_t>(i * ld_ + j)];
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  std::vector<T>& block() { return values_; }
  kernels::MatView<T> view() { return {values_.data(), rows_, cols_, ld_}; }
  kernels::MatView<const T> in() const { return {values_.data(), rows_, cols_, ld_}; }
  bool intact() const {
    for (std::size_t at = 0; at < values_.size(); ++at) {
      const auto i = static_cast<std::int64_t>(at);
      const bool inside = i / ld_ < rows_ && i % ld_ < cols_;
      if (!inside && !std::isnan(values_[at])) return false;
    }
    return true;
  }
  std::vector<double> row(std::int64_t i) const {
    std::vector<double> result;
    for (std::int64_t j = 0; j < cols_; ++j) result.push_back(static_cast<double>((*this)(i, j)));
    return result;
  }
  std::vector<std::vector<double>> all_rows() const {
    std::vector<std::vector<double>> result;
    for (std::int64_t i = 0; i < rows_; ++i) result.push_back(row(i));
    return result;
  }
  std::vector<T> values() const {
    std::vector<T> result;
    for (std::int64_t i = 0; i < rows_; ++i)
      for (std::int64_t j = 0; j < cols_; ++j) result.push_back((*this)(i, j));
    return result;
  }

 private:
  std::int64_t rows_, cols_, ld_;
  std::vector<T> values_;
};

inline double uniform(std::mt19937& random) {
  return random() / 4294967296.0;
}

// Uniform in offset + scale [-1, 1).
template <class T>
GuardedMatrix<T> random_matrix(std::int64_t rows, std::int64_t cols, unsigned seed, double scale = 1,
                               double offset = 0) {
  std::mt19937 random(seed);
  GuardedMatrix<T> m(rows, cols);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j)
      m(i, j) = static_cast<T>(offset + scale * (2 * uniform(random) - 1));
  return m;
}

// Rows before this call it: unit rows, of zeros where x is.
inline std::vector<double> reference_unit(std::vector<double> x, bool centred) {
  double mean = 0;
  if (centred)
    for (const double v : x) mean += v / static_cast<double>(x.size());
  double sum = 0;
  for (double& v : x) {
    v -= mean;
    sum += v * v;
  }
  for (double& v : x) v = sum > 0 ? v / std::sqrt(sum) : 0;
  return x;
}

inline double reference_distance(Metric metric, const std::vector<double>& x, const std::vector<double>& y) {
  double squares = 0, absolutes = 0, largest = 0, powers = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    const double d = std::abs(x[k] - y[k]);
    squares += d * d;
    absolutes += d;
    largest = std::max(largest, d);
    if (metric.kind == MetricKind::minkowski) powers += std::pow(d, metric.p);
  }
  switch (metric.kind) {
    case MetricKind::euclidean:
      return std::sqrt(squares);
    case MetricKind::sqeuclidean:
      return squares;
    case MetricKind::manhattan:
      return absolutes;
    case MetricKind::chebyshev:
      return largest;
    case MetricKind::minkowski:
      return std::pow(powers, 1 / metric.p);
    default:
      break;
  }
  const bool centred = metric.kind == MetricKind::correlation;
  const std::vector<double> u = reference_unit(x, centred), v = reference_unit(y, centred);
  double dot = 0, uu = 0, vv = 0;
  for (std::size_t k = 0; k < u.size(); ++k) {
    dot += u[k] * v[k];
    uu += u[k] * u[k];
    vv += v[k] * v[k];
  }
  return uu == 0 && vv == 0 ? 0 : 1 - dot;
}

// d reference_distance(metric, x, y) / dx; 0 at distance 0.
inline std::vector<double> reference_gradient(Metric metric, const std::vector<double>& x,
                                              const std::vector<double>& y) {
  const double dist = reference_distance(metric, x, y);
  std::vector<double> result(x.size(), 0.);
  if (metric.kind == MetricKind::cosine || metric.kind == MetricKind::correlation) {
    const bool centred = metric.kind == MetricKind::correlation;
    const std::vector<double> u = reference_unit(x, centred), v = reference_unit(y, centred);
    // u = (x - mean) / |x - mean|: the largest of its coordinates says what the length is.
    const auto at = static_cast<std::size_t>(
        std::max_element(u.begin(), u.end(), [](double a, double b) { return std::abs(a) < std::abs(b); }) -
        u.begin());
    if (u.empty() || u[at] == 0) return result;
    double mean = 0;
    if (centred)
      for (const double value : x) mean += value / static_cast<double>(x.size());
    for (std::size_t k = 0; k < x.size(); ++k)
      result[k] = ((1 - dist) * u[k] - v[k]) * u[at] / (x[at] - mean);
    return result;
  }
  std::size_t largest = 0;
  for (std::size_t k = 0; k < x.size(); ++k)
    if (std::abs(x[k] - y[k]) > std::abs(x[largest] - y[largest])) largest = k;
  for (std::size_t k = 0; k < x.size(); ++k) {
    const double d = x[k] - y[k], sign = d > 0 ? 1 : d < 0 ? -1 : 0;
    if (dist == 0) continue;
    if (metric.kind == MetricKind::euclidean) result[k] = d / dist;
    if (metric.kind == MetricKind::sqeuclidean) result[k] = 2 * d;
    if (metric.kind == MetricKind::manhattan) result[k] = sign;
    if (metric.kind == MetricKind::chebyshev) result[k] = k == largest ? sign : 0;
    if (metric.kind == MetricKind::minkowski) result[k] = sign * std::pow(std::abs(d) / dist, metric.p - 1);
  }
  return result;
}

// |a - b| <= ulps epsilon max(|b|, scale), with the worst place in the message.
template <class T>
void check_close(std::span<const T> got, std::span<const double> want, double ulps, double scale) {
  REQUIRE(got.size() == want.size());
  double worst = -1;
  std::size_t at = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double limit =
        ulps * static_cast<double>(std::numeric_limits<T>::epsilon()) * std::max(std::abs(want[i]), scale);
    double excess = std::abs(static_cast<double>(got[i]) - want[i]) / limit;
    if (!(excess >= 0)) excess = static_cast<double>(got[i]) == want[i] ? 0 : HUGE_VAL;
    if (excess > worst) {
      worst = excess;
      at = i;
    }
  }
  if (got.empty()) return;
  CAPTURE(at);
  CAPTURE(got[at]);
  CAPTURE(want[at]);
  CHECK(worst <= 1);
}

}  // namespace flatland::test
