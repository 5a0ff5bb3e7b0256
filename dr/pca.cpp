#include <flatland/dr/dataset.h>
#include <flatland/dr/eigenpairs.h>
#include <flatland/dr/pca.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/matmul.h>
#include <flatland/kernels/reduce.h>

#include <algorithm>
#include <cmath>

namespace flatland {

namespace {

constexpr std::int64_t k_dense_limit = 128;  // smaller matrices are decomposed whole

// Of a matrix with trace 1.
Eigenpairs leading(const Tensor& matrix, std::int64_t count) {
  const std::int64_t n = matrix.size(0);
  const auto m = matrix.matrix<double>();
  const SymmetricProduct product{
      n, [=](const double* x, double* y) {
        kernels::matmul<double>(current_exec(), kernels::Transpose::none, m, {x, n, 1}, {y, n, 1});
      }};
  EigenSearch search{.dense_up_to = k_dense_limit, .basis = std::max<std::int64_t>(2 * count + 1, 20)};
  auto pairs = largest_eigenpairs(product, count, search);
  search.dense_up_to = n;
  if (!pairs) pairs = largest_eigenpairs(product, count, search);
  FLATLAND_CHECK(pairs.has_value(), "pca: the eigenvalues of the covariance do not converge");
  return *pairs;
}

// Sets the sign and scales to length 1; a direction without length becomes zeros.
void finish_component(std::span<double> v) {
  const auto largest =
      std::ranges::max_element(v, [](double a, double b) { return std::abs(a) < std::abs(b); });
  double squares = 0;
  for (const double x : v) squares += x * x;
  const double scale = squares > 0 ? (*largest < 0 ? -1 : 1) / std::sqrt(squares) : 0;
  for (double& x : v) x *= scale;
}

template <class T>
Tensor gram(const Tensor& centred, bool of_rows) {
  const std::int64_t size = centred.size(of_rows ? 0 : 1);
  Tensor g = Tensor::empty({size, size}, centred.dtype());
  const auto x = centred.matrix<T>();
  kernels::matmul<T>(current_exec(), of_rows ? kernels::Transpose::b : kernels::Transpose::a, x, x,
                     g.mutable_matrix<T>());
  return g.to(Dtype::float64);
}

}  // namespace

Pca Pca::fit(const Tensor& x, std::int64_t dims) {
  FLATLAND_CHECK(x.defined() && x.is_floating() && x.rank() == 2 && x.size(0) > 0,
                 "pca: the data must be a floating matrix with a row an item");
  const std::int64_t n = x.size(0), d = x.size(1);
  FLATLAND_CHECK(dims >= 1 && dims <= d, "pca: ", dims, " components asked for; data of ", d,
                 " columns has 1 to ", d);
  check_finite("pca", x);
  const NoGrad no_grad;
  if (x.device() != Device::cpu) {
    Pca pca = fit(x.to(Device::cpu), dims);
    for (Tensor* t : {&pca.mean, &pca.components, &pca.explained_variance, &pca.explained_variance_ratio})
      *t = t->to(x.device());
    return pca;
  }
  const Tensor data = x.detach();
  Pca pca;
  pca.mean = flatland::mean(data, 0);
  const Tensor centred = data - pca.mean;
  // The smaller of the two Gram matrices has the same leading eigenvalues.
  const bool of_rows = n < d && n >= dims;
  Tensor g = x.dtype() == Dtype::float32 ? gram<float>(centred, of_rows) : gram<double>(centred, of_rows);
  double total = 0;
  for (std::int64_t i = 0; i < g.size(0); ++i) total += g.at(i, i);
  // What centring constant columns leaves behind is rounding, not variance.
  const double epsilon = x.dtype() == Dtype::float32 ? 0x1p-23 : 0x1p-52;
  if (total <=
      4 * epsilon * epsilon * static_cast<double>(n) * sum(square(pca.mean.to(Dtype::float64))).item()) {
    total = 0;
  }
  const Eigenpairs pairs =
      total > 0 ? leading(g / total, dims)
                : Eigenpairs{std::vector<double>(static_cast<std::size_t>(dims), 0.0), Tensor()};

  Tensor components = Tensor::zeros({dims, d}, Dtype::float64);
  Tensor variance = Tensor::zeros({dims}, Dtype::float64);
  const auto out = components.mutable_matrix<double>();
  const Tensor rows = of_rows ? centred.to(Dtype::float64) : Tensor();
  for (std::int64_t c = 0; c < dims; ++c) {
    const double value = pairs.values[static_cast<std::size_t>(c)] * total;
    // Below this there is no variance in the direction, only rounding.
    if (!(value > 16 * epsilon * total) || value < 1e-300) continue;
    if (of_rows) {
      kernels::matmul<double>(current_exec(), kernels::Transpose::a, rows.matrix<double>(),
                              {pairs.vectors.matrix<double>().row(c), n, 1}, {out.row(c), d, 1});
    } else {
      std::copy_n(pairs.vectors.matrix<double>().row(c), d, out.row(c));
    }
    finish_component(std::span(out.row(c), static_cast<std::size_t>(d)));
    variance.mutable_data<double>()[c] = value / static_cast<double>(std::max<std::int64_t>(n - 1, 1));
  }
  const double total_variance = total / static_cast<double>(std::max<std::int64_t>(n - 1, 1));
  pca.components = components.to(x.dtype());
  pca.explained_variance_ratio = (total > 0 ? variance / total_variance : variance).to(x.dtype());
  pca.explained_variance = variance.to(x.dtype());
  return pca;
}

Tensor Pca::transform(const Tensor& x) const {
  FLATLAND_CHECK(components.defined(), "pca: not fitted; call Pca::fit first");
  FLATLAND_CHECK(x.defined() && x.rank() == 2 && x.size(1) == components.size(1), "pca: the data is ",
                 x.defined() ? x.shape() : Shape{0}, " but was fitted on ", components.size(1), " columns");
  const NoGrad no_grad;
  return linear(x - mean.to(x.dtype()), components.to(x.dtype()), Tensor());
}

}  // namespace flatland
