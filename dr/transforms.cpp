#include <flatland/dr/transforms.h>
#include <flatland/dr/with_type.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/spans.h>
#include <flatland/kernels/neighbor_weights.h>
#include <flatland/kernels/similarity.h>
#include <flatland/kernels/sparse.h>

#include <cmath>
#include <sstream>

namespace flatland {

using detail::mutable_span_of;
using detail::span_of;

namespace {

template <class... Parts>
std::string sentence(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

void check_not_flat(const char* who, const RelationData& data) {
  FLATLAND_CHECK(data.get_if<FlatRelations>() == nullptr, who,
                 ": flat relations are a list of pairs, not a matrix; transform them before ToFlat");
}

// Where the rows of values() begin; one more for the end.
Tensor row_offsets(const RelationData& data) {
  if (const auto* sparse = data.get_if<SparseRelations>()) return sparse->row_offset;
  const std::int64_t cols = data.values().size(1);
  Tensor offset = Tensor::arange(data.items() + 1);
  for (std::int64_t& begin : offset.mutable_values<std::int64_t>()) begin *= cols;
  return offset.to(data.values().device());
}

// The column of each entry; empty where all rows have all columns.
Tensor columns(const RelationData& data) {
  if (const auto* f = data.get_if<NeighborRelations>()) return f->index;
  if (const auto* f = data.get_if<SparseRelations>()) return f->col;
  return Tensor::empty({0}, Dtype::int32, data.values().device());
}

SparseRelations symmetrized(kernels::SymmetrizeKind kind, const NeighborRelations& form, auto zero) {
  using T = decltype(zero);
  const Device device = form.values.device();
  const kernels::Exec& exec = current_exec(device);
  const auto index = form.index.matrix<std::int32_t>();
  Tensor offset = Tensor::empty({index.rows + 1}, Dtype::int64, device);
  const std::int64_t n = kernels::symmetrize_count(exec, index, mutable_span_of<std::int64_t>(offset));
  Tensor col = Tensor::empty({n}, Dtype::int32, device);
  Tensor values = Tensor::empty({n}, form.values.dtype(), device);
  kernels::symmetrize<T>(exec, kind, index, form.values.matrix<T>(), mutable_span_of<std::int64_t>(offset),
                         mutable_span_of<std::int32_t>(col), mutable_span_of<T>(values));
  return {offset, col, values};
}

SparseRelations symmetrized(kernels::SymmetrizeKind kind, const SparseRelations& form, auto zero) {
  using T = decltype(zero);
  const Device device = form.values.device();
  const kernels::Exec& exec = current_exec(device);
  const std::int64_t items = form.row_offset.numel() - 1;
  const std::int64_t* row = form.row_offset.data<std::int64_t>();
  const kernels::SparseRows<T> m{
      items, items, row, row + 1, form.col.data<std::int32_t>(), form.values.data<T>()};
  Tensor offset = Tensor::empty({items + 1}, Dtype::int64, device);
  const std::int64_t n = kernels::symmetrize_count<T>(exec, m, mutable_span_of<std::int64_t>(offset));
  Tensor col = Tensor::empty({n}, Dtype::int32, device);
  Tensor values = Tensor::empty({n}, form.values.dtype(), device);
  kernels::symmetrize<T>(exec, kind, m, mutable_span_of<std::int64_t>(offset),
                         mutable_span_of<std::int32_t>(col), mutable_span_of<T>(values));
  return {offset, col, values};
}

Tensor joined(const Tensor& m, const Tensor& mt, bool subtract_product) {
  return subtract_product ? m + mt - m * mt : (m + mt) * 0.5;
}

void warn_missed_rows(const RelationContext& context, const std::string& what, std::int64_t missed,
                      std::int64_t rows) {
  if (missed == 0) return;
  context.warn(sentence(what, " cannot be reached in ", missed, " of ", rows,
                        " rows (too many equal distances); they get the nearest value that can"));
}

}  // namespace

RelationData PerplexityBasedRescale::operator()(const RelationData& data,
                                                const RelationContext& context) const {
  check_not_flat("PerplexityBasedRescale", data);
  detail::check_no_gradient("PerplexityBasedRescale", data);
  FLATLAND_CHECK(std::isfinite(perplexity) && perplexity > 1, "PerplexityBasedRescale: perplexity is ",
                 perplexity, "; it is a number of neighbours, larger than 1");
  FLATLAND_CHECK(max_steps > 0, "PerplexityBasedRescale: max_steps is ", max_steps, "; it must be 1 or more");
  const RelationData neighbors = data.to_neighbor();
  const NeighborRelations& form = *neighbors.get_if<NeighborRelations>();
  const std::int64_t n = form.values.size(0), k = form.values.size(1);
  FLATLAND_CHECK(perplexity <= static_cast<double>(k), "PerplexityBasedRescale: perplexity ", perplexity,
                 " needs at least that many neighbours (better 3 times as many), but each of the ", n,
                 " items has ", k, "; lower the perplexity, or give more ",
                 k + 1 < n ? "neighbours (n_neighbors)" : "data");
  context.stage("calculating probabilities");
  if (static_cast<double>(k) < std::floor(3 * perplexity)) {
    context.warn(sentence("perplexity ", perplexity, " wants ", std::floor(3 * perplexity),
                          " neighbours but there are ", k,
                          "; the affinities are flatter than they would be with all of them"));
  }
  const Device device = form.values.device();
  Tensor p = Tensor::empty(form.values.shape(), form.values.dtype(), device);
  const std::int64_t missed = with_type(p, [&](auto zero) {
    using T = decltype(zero);
    return kernels::perplexity_weights<T>(current_exec(device), form.values.matrix<T>(), perplexity,
                                          {.max_steps = max_steps}, p.mutable_matrix<T>(), {});
  });
  warn_missed_rows(context, sentence("perplexity ", perplexity), missed, n);
  return neighbors.with_values(p).marked_symmetric(false);
}

RelationData ConnectivityBasedRescale::operator()(const RelationData& data,
                                                  const RelationContext& context) const {
  check_not_flat("ConnectivityBasedRescale", data);
  detail::check_no_gradient("ConnectivityBasedRescale", data);
  FLATLAND_CHECK(std::isfinite(n_neighbors) && n_neighbors > 1, "ConnectivityBasedRescale: n_neighbors is ",
                 n_neighbors, "; it must be larger than 1");
  FLATLAND_CHECK(max_steps > 0, "ConnectivityBasedRescale: max_steps is ", max_steps,
                 "; it must be 1 or more");
  const RelationData neighbors = data.to_neighbor();
  const NeighborRelations& form = *neighbors.get_if<NeighborRelations>();
  FLATLAND_CHECK(form.values.size(1) > 0,
                 "ConnectivityBasedRescale: the items have no neighbours; give more data");
  context.stage("calculating probabilities");
  const Device device = form.values.device();
  Tensor v = Tensor::empty(form.values.shape(), form.values.dtype(), device);
  const std::int64_t missed = with_type(v, [&](auto zero) {
    using T = decltype(zero);
    return kernels::connectivity_weights<T>(current_exec(device), form.values.matrix<T>(), n_neighbors,
                                            {.max_steps = max_steps}, v.mutable_matrix<T>(), {});
  });
  warn_missed_rows(context, sentence("connectivity of ", n_neighbors, " neighbours"), missed,
                   form.values.size(0));
  return neighbors.with_values(v).marked_symmetric(false);
}

RelationData Symmetrize::operator()(const RelationData& data) const {
  check_not_flat("Symmetrize", data);
  if (const auto* f = data.get_if<TriangularRelations>()) {
    return data.with_values(joined(f->values, f->values, subtract_product));
  }
  if (const auto* f = data.get_if<SquareRelations>()) {
    return data.with_values(joined(f->values, transpose(f->values), subtract_product)).marked_symmetric();
  }
  detail::check_no_gradient("Symmetrize", data);
  const auto kind = subtract_product ? kernels::SymmetrizeKind::fuzzy_union : kernels::SymmetrizeKind::mean;
  return RelationData(with_type(data.values(),
                                [&](auto zero) {
                                  if (const auto* f = data.get_if<NeighborRelations>())
                                    return symmetrized(kind, *f, zero);
                                  return symmetrized(kind, *data.get_if<SparseRelations>(), zero);
                                }))
      .marked_symmetric();
}

RelationData Normalize::operator()(const RelationData& data) const {
  const Tensor& values = data.values();
  if (values.numel() == 0) return data;
  const double times = data.get_if<TriangularRelations>() ? 2 : 1;
  const Tensor total = sum(values);
  if (total.requires_grad())
    return data.with_values(values / detail::or_one(times == 1 ? total : total * times));
  return total.item() == 0 ? data : data.with_values(values / (total.item() * times));
}

RelationData NormalizeRows::operator()(const RelationData& data) const {
  check_not_flat("NormalizeRows", data);
  if (data.get_if<TriangularRelations>()) return (*this)(data.to_square());
  if (data.get_if<SquareRelations>() && data.values().requires_grad()) {
    const Tensor totals = reshape(sum(data.values(), 1), {data.items(), 1});
    return data.with_values(data.values() / detail::or_one(totals)).marked_symmetric(false);
  }
  detail::check_no_gradient("NormalizeRows", data);
  const Tensor offset = row_offsets(data);
  Tensor scaled = data.values().clone();
  with_type(scaled, [&](auto zero) {
    using T = decltype(zero);
    kernels::normalize_rows<T>(current_exec(scaled.device()), span_of<std::int64_t>(offset),
                               mutable_span_of<T>(scaled));
  });
  return data.with_values(scaled).marked_symmetric(false);
}

RelationData ZeroDiagonal::operator()(const RelationData& data) const {
  check_not_flat("ZeroDiagonal", data);
  if (data.get_if<TriangularRelations>()) return data;
  const Tensor offset = row_offsets(data), col = columns(data);
  Tensor mask = Tensor::empty(data.values().shape(), data.values().dtype(), data.values().device());
  with_type(mask, [&](auto zero) {
    using T = decltype(zero);
    kernels::off_diagonal<T>(current_exec(mask.device()), span_of<std::int64_t>(offset),
                             span_of<std::int32_t>(col), mutable_span_of<T>(mask));
  });
  return data.with_values(data.values() * mask);
}

RelationData StudentT::operator()(const RelationData& data) const {
  if (trained_alpha.defined()) return data.with_values(student_t(data.values(), trained_alpha));
  FLATLAND_CHECK(std::isfinite(alpha) && alpha > 0, "StudentT: alpha is ", alpha, "; it must be above 0");
  return data.with_values(student_t(data.values(), alpha));
}

RelationData ModifiedCauchy::operator()(const RelationData& data) const {
  FLATLAND_CHECK(trained_a.defined() == trained_b.defined(),
                 "ModifiedCauchy: trained_a and trained_b come together; give both or none");
  if (trained_a.defined()) return data.with_values(modified_cauchy(data.values(), trained_a, trained_b));
  if (a > 0 && b > 0) return data.with_values(modified_cauchy(data.values(), a, b));
  FLATLAND_CHECK(a == 0 && b == 0, "ModifiedCauchy: a is ", a, " and b is ", b,
                 "; give both above 0, or none to have them fitted");
  FLATLAND_CHECK(std::isfinite(min_dist) && min_dist >= 0, "ModifiedCauchy: min_dist is ", min_dist,
                 "; it must be 0 or more");
  FLATLAND_CHECK(std::isfinite(spread) && spread > 0, "ModifiedCauchy: spread is ", spread,
                 "; it must be above 0");
  struct Fit {
    double min_dist = -1, spread = -1;
    kernels::CauchyShape shape;
  };
  thread_local Fit last;  // the fit costs more than a step
  if (last.min_dist != min_dist || last.spread != spread) {
    last = {min_dist, spread, kernels::fit_cauchy(min_dist, spread)};
  }
  return data.with_values(modified_cauchy(data.values(), last.shape.a, last.shape.b));
}

RelationData Functional::operator()(const RelationData& data) const {
  FLATLAND_CHECK(f != nullptr, "Functional: no function given");
  return data.with_values(f(data.values())).marked_symmetric(false);
}

}  // namespace flatland
