// The obvious double loops for relations between items, and random relations to feed them.
#pragma once

#include <doctest/doctest.h>
#include <flatland/kernels/exec.h>
#include <flatland/kernels/sparse.h>
#include <tests/support/devices.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace flatland::test {

// Agreement within `relative` of the larger of |want| and `scale`; a failure names the worst value.
template <class A, class B>
void check_close(const A& got, const B& want, double relative, double scale = 0) {
  REQUIRE(got.size() == want.size());
  std::size_t worst = 0;
  double excess = -1;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double g = static_cast<double>(got[i]);
    const double w = static_cast<double>(want[i]);
    const double limit = relative * std::max(std::abs(w), scale);
    const double e = g == w ? -1 : std::isfinite(g - w) ? std::abs(g - w) - limit : HUGE_VAL;
    if (e > excess) {
      excess = e;
      worst = i;
    }
  }
  if (got.size() == 0) return;
  INFO("value ", worst, ": got ", static_cast<double>(got[worst]), ", want ",
       static_cast<double>(want[worst]));
  CHECK(excess <= 0);
}

template <class T>
std::vector<T> random_values(std::int64_t n, unsigned seed, double low = 0, double high = 1) {
  std::mt19937 draw(seed);
  std::uniform_real_distribution<double> value(low, high);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& v : values) v = static_cast<T>(value(draw));
  return values;
}

// A square matrix in compressed rows that owns its memory.
template <class T>
struct OwnedSparse {
  std::int64_t n = 0;
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> col;
  std::vector<T> value;

  kernels::SparseRows<T> view() const {
    return {n, n, offset.data(), offset.data() + 1, col.data(), value.data()};
  }
};

// It in memory of exec's device.
template <class T>
struct SparseMirror {
  std::int64_t n;
  Mirror<std::int64_t> offset;
  Mirror<std::int32_t> col;
  Mirror<T> value;

  SparseMirror(const kernels::Exec& exec, OwnedSparse<T>& m)
      : n(m.n), offset(exec, m.offset), col(exec, m.col), value(exec, m.value) {}
  kernels::SparseRows<T> view() const {
    return {n, n, offset.data(), offset.data() + 1, col.data(), value.data()};
  }
};

template <class T>
OwnedSparse<T> to_sparse(const std::vector<double>& dense, std::int64_t n) {
  OwnedSparse<T> m;
  m.n = n;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const double v = dense[static_cast<std::size_t>(i * n + j)];
      if (v == 0) continue;
      m.col.push_back(static_cast<std::int32_t>(j));
      m.value.push_back(static_cast<T>(v));
    }
    m.offset.push_back(std::ssize(m.col));
  }
  return m;
}
template <class T>
std::vector<double> to_dense(const kernels::SparseRows<T>& m) {
  std::vector<double> dense(static_cast<std::size_t>(m.rows * m.cols), 0.0);
  for (std::int64_t i = 0; i < m.rows; ++i)
    for (std::int64_t e = m.begin[i]; e < m.end[i]; ++e)
      dense[static_cast<std::size_t>(i * m.cols + m.col[e])] = static_cast<double>(m.value[e]);
  return dense;
}
// A random matrix with about `per_row` entries a row, as float rounds them; symmetric or not.
inline std::vector<double> random_relation(std::int64_t n, double per_row, bool symmetric, unsigned seed) {
  std::mt19937 draw(seed);
  std::uniform_real_distribution<float> unit(0.01F, 1.0F);
  std::vector<double> dense(static_cast<std::size_t>(n * n), 0.0);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = symmetric ? i + 1 : 0; j < n; ++j) {
      if (static_cast<double>(unit(draw)) * static_cast<double>(n) > per_row) continue;
      const double v = static_cast<double>(unit(draw));
      dense[static_cast<std::size_t>(i * n + j)] = v;
      if (symmetric) dense[static_cast<std::size_t>(j * n + i)] = v;
    }
  return dense;
}

// Runs `result` with 1, 2, 3 and 8 threads; every value must have the same bits.
template <class F>
void check_threads(F&& result) {
  const auto one = result(kernels::Exec(Device::cpu, 1));
  for (const int threads : {2, 3, 8}) {
    INFO("threads ", threads);
    CHECK(result(kernels::Exec(Device::cpu, threads)) == one);
  }
}

// mean over rows of sum over j != i of p (log(p + eps) - log(q + eps)), for (n, n) matrices.
inline double kl_reference(const std::vector<double>& p, const std::vector<double>& q, std::int64_t n,
                           double eps) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<std::size_t>(i * n + j);
      if (i != j) sum += p[at] * (std::log(p[at] + eps) - std::log(q[at] + eps));
    }
  return n > 0 ? sum / static_cast<double>(n) : 0;
}

}  // namespace flatland::test
