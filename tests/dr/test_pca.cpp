#include <doctest/doctest.h>
#include <flatland/dr/pca.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/exec.h>

#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/tensors.h"

#include <cmath>

using namespace flatland;
using namespace flatland::test;

namespace {

void check_signs(const Tensor& components) {
  for (std::int64_t c = 0; c < components.size(0); ++c) {
    double largest = 0, squares = 0;
    for (std::int64_t j = 0; j < components.size(1); ++j) {
      const double v = components.at(c, j);
      squares += v * v;
      if (std::abs(v) > std::abs(largest)) largest = v;
    }
    CHECK(largest > 0);
    CHECK(squares == doctest::Approx(1).epsilon(1e-5));
  }
}

// Each column with the sign that makes its first row positive.
Tensor unsigned_columns(const Tensor& y) {
  Tensor out = y.to(Dtype::float64).clone();
  for (std::int64_t j = 0; j < y.size(1); ++j) {
    if (y.at(0, j) >= 0) continue;
    for (std::int64_t i = 0; i < y.size(0); ++i) out.mutable_data<double>()[i * y.size(1) + j] *= -1;
  }
  return out;
}

}  // namespace

// Golden values: tests/golden/pca_scaler, by scikit-learn 1.2.1 (full singular value decomposition).
TEST_CASE("principal components equal the golden values up to sign") {
  const Tensor x = golden("pca_scaler/X");
  const Pca pca = Pca::fit(x, 2);
  check_close(pca.mean, golden("pca_scaler/mean"), 1e-13, 1);
  check_close(pca.explained_variance, golden("pca_scaler/explained_variance"), 1e-11);
  check_close(pca.explained_variance_ratio, golden("pca_scaler/explained_variance_ratio"), 1e-11);
  check_close(unsigned_columns(transpose(pca.components)),
              unsigned_columns(transpose(golden("pca_scaler/components"))), 1e-9, 1);
  check_close(unsigned_columns(pca.transform(x)), unsigned_columns(golden("pca_scaler/transformed")), 1e-9,
              1);
  check_signs(pca.components);
  const Pca single = Pca::fit(x.to(Dtype::float32), 2);
  check_close(single.components, pca.components, 1e-4, 1);
}

TEST_CASE("wide, tall and large data agree with their definition") {
  struct Case {
    std::int64_t n, d, dims;
  };
  for (const Case c :
       {Case{300, 200, 3}, Case{40, 200, 3}, Case{150, 400, 2}, Case{7, 3, 3}, Case{5, 9, 5}}) {
    CAPTURE(c.n);
    CAPTURE(c.d);
    const Tensor x = clouds(c.n, c.d, 4, 11).to(Dtype::float64);
    const Pca pca = Pca::fit(x, c.dims);
    const Tensor y = pca.transform(x);
    double last = HUGE_VAL;
    for (std::int64_t j = 0; j < c.dims; ++j) {
      const double v = pca.explained_variance.at(j);
      CHECK(v <= last);
      last = v;
      CHECK(variance(column(y, j)).item() == doctest::Approx(v).epsilon(1e-8));
      CHECK(std::abs(mean(column(y, j)).item()) < 1e-10);
      for (std::int64_t k = 0; k < j; ++k) {
        CHECK(std::abs(covariance(column(y, j), column(y, k)).item()) < 1e-8 * pca.explained_variance.at(0));
      }
    }
  }
}

TEST_CASE("the same bits for any number of threads") {
  const Tensor x = random_tensor({333, 200}, 5);
  Tensor first;
  for (const int threads : {1, 2, 3, 8}) {
    kernels::Exec exec(Device::cpu, threads);
    const ExecScope scope(exec);
    const Tensor components = Pca::fit(x, 2).components;
    if (!first.defined()) first = components;
    CHECK(same_bits(components, first));
  }
}

TEST_CASE("data without variance gives zeros, never NaN") {
  for (const Tensor& x : {Tensor::full({6, 3}, 2.5), Tensor::ones({1, 4}), Tensor::full({3, 300}, 0.1),
                          Tensor::full({300, 200}, 0.1)}) {
    const Pca pca = Pca::fit(x, 2);
    CHECK(max_value(abs(pca.transform(x))) < 1e-5);
    CHECK(max_value(abs(pca.explained_variance)) < 1e-6);
    CHECK(std::isfinite(sum(pca.components).item()));
  }
  // One column varies: the second direction has nothing to show.
  Tensor x = Tensor::zeros({5, 3});
  for (std::int64_t i = 0; i < 5; ++i) x.mutable_data<float>()[i * 3 + 1] = static_cast<float>(i);
  const Pca pca = Pca::fit(x, 2);
  CHECK(pca.components.at(0, 1) == 1);
  CHECK(pca.explained_variance.at(0) == doctest::Approx(2.5));
  CHECK(pca.explained_variance.at(1) == 0);
}

TEST_CASE("errors of pca") {
  CHECK(contains(error_of([] { Pca::fit(Tensor::ones({5, 1}), 2); }), "1 columns"));
  CHECK(contains(error_of([] { Pca::fit(Tensor::ones({5, 3}), 0); }), "0 components"));
  CHECK(contains(error_of([] { Pca::fit(Tensor::empty({0, 3}), 1); }), "matrix"));
  CHECK(contains(error_of([] { Pca().transform(Tensor::ones({5, 1})); }), "not fitted"));
  CHECK(contains(error_of([] {
                   Pca::fit(Tensor::ones({5, 3}), 1).transform(Tensor::ones({5, 4}));
                 }),
                 "3 columns"));
}
