#include <flatland/dr/parametric_dr.h>
#include <flatland/dr/pca.h>
#include <flatland/engine/ops.h>

#include <algorithm>

namespace flatland {

DerivedData pca_of(std::string key, std::int64_t dims) {
  return {.from_data = [key = std::move(key),
                        dims](const Dataset& data) { return Pca::fit(data[key], dims).transform(data[key]); },
          .from_relations = {}};
}

namespace {

// Each column of mean 0 and deviation 1 (divisor N - 1); constant ones become 0.
Tensor standardized(const Tensor& y) {
  const Tensor centred = y - mean(y, 0);
  const double divisor = static_cast<double>(std::max<std::int64_t>(1, y.size(0) - 1));
  const Tensor deviation = sqrt(sum(square(centred), 0) / divisor);
  return centred / (detail::or_one(deviation));
}

// PCA's coordinates; where the data has fewer columns, the others are 0.
Tensor pca_in(const Tensor& x, std::int64_t dims) {
  const std::int64_t known = x.rank() == 2 ? std::min(dims, x.size(1)) : dims;
  const Tensor y = Pca::fit(x, known).transform(x);
  if (known == dims) return y;
  return concat({y, Tensor::zeros({y.size(0), dims - known}, y.dtype(), y.device())}, 1);
}

}  // namespace

DerivedData spectral_of(std::string relation_key, std::int64_t dims, std::string fallback_key,
                        const SpectralOptions& options) {
  const auto compute = [=](const Dataset& data, const RelationDataMap& relations,
                           const RelationContext& context) {
    if (const std::optional<Tensor> y = spectral_embedding(at(relations, relation_key), dims, options))
      return standardized(*y);
    const std::string missed = "the spectral start of relations '" + relation_key +
                               "' was not found within " + std::to_string(options.max_products) +
                               " products (max_products)";
    FLATLAND_CHECK(data.contains(fallback_key), missed, ", and there is no entry '", fallback_key,
                   "' whose PCA could take its place; name one as fallback_key");
    context.warn(missed + "; PCA of '" + fallback_key + "' takes its place");
    return standardized(pca_in(data[fallback_key], dims));
  };
  return {.from_data = {}, .from_relations = compute};
}

}  // namespace flatland
