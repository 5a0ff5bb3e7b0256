#include <flatland/dr/distinct_items.h>
#include <flatland/dr/edge_sampler.h>
#include <flatland/dr/with_type.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/spans.h>
#include <flatland/kernels/sample_edges.h>

#include <algorithm>
#include <cmath>

namespace flatland {

using detail::mutable_span_of;
using detail::span_of;

namespace {

// what(i) names weight i.
template <class What>
void check_weights(const std::string& who, const Tensor& weights, What what) {
  const Tensor host = weights.detach().to(Device::cpu);
  with_type(host, [&](auto zero) {
    const auto values = span_of<decltype(zero)>(host);
    double total = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      FLATLAND_CHECK(std::isfinite(values[i]) && values[i] >= 0, who, ": ", what(i), " is ", values[i],
                     "; it must be finite and not negative, for it is what draws go by");
      total += static_cast<double>(values[i]);
    }
    FLATLAND_CHECK(total > 0 && std::isfinite(total), who, ": the ", values.size(), " weights add up to ",
                   total, "; at least one must be above 0, and the sum finite");
  });
}

}  // namespace

void check_item_weights(const std::string& who, const Tensor& weights) {
  FLATLAND_CHECK(weights.defined() && weights.rank() == 1 && weights.is_floating(), who,
                 ": there must be a floating weight an item; got ",
                 weights.defined() ? weights.shape() : Shape{0}, " of ",
                 weights.defined() ? name(weights.dtype()) : "nothing");
  check_weights(who, weights, [](std::size_t i) { return "the weight of item " + std::to_string(i); });
}

AliasTable::AliasTable(const Tensor& weights, Device device)
    : threshold(Tensor::empty({weights.numel()}, Dtype::float32)),
      alias(Tensor::empty({weights.numel()}, Dtype::int32)) {
  const Tensor host = weights.detach().to(Device::cpu);
  with_type(host, [&](auto zero) {
    using T = decltype(zero);
    kernels::alias_table<T>(span_of<T>(host), mutable_span_of<float>(threshold),
                            mutable_span_of<std::int32_t>(alias));
  });
  threshold = threshold.to(device);
  alias = alias.to(device);
}

void sample_items(const AliasTable& table, const kernels::RandomStream& random, std::uint64_t first,
                  Tensor& items) {
  kernels::sample_items(current_exec(items.device()), random, first, span_of<float>(table.threshold),
                        span_of<std::int32_t>(table.alias), mutable_span_of<std::int64_t>(items));
}

EdgeSampler::EdgeSampler(const std::string& who, const RelationData& relations, std::int64_t items, int rate,
                         Dtype dtype, Device device)
    : rate_(rate), dtype_(dtype) {
  FLATLAND_CHECK(relations.get_if<FlatRelations>() == nullptr, who,
                 " are flat, a list of pairs; edges need relations of items");
  FLATLAND_CHECK(relations.items() == items, who, " are of ", relations.items(), " items but the data has ",
                 items, "; edges lead between items of the data");
  const RelationData sparse = relations.to_sparse();
  const SparseRelations& form = *sparse.get_if<SparseRelations>();
  FLATLAND_CHECK(form.col.numel() > 0, who, " have no entries, so there are no edges to draw");
  check_weights(who, form.values, [&](std::size_t entry) {
    const std::vector<std::int64_t> offset = form.row_offset.to_vector<std::int64_t>();
    const auto row = std::ranges::upper_bound(offset, static_cast<std::int64_t>(entry)) - offset.begin() - 1;
    const Tensor col = form.col.to(Device::cpu);
    return "the relation of items " + std::to_string(row) + " and " +
           std::to_string(col.values<std::int32_t>()[entry]);
  });
  row_offset_ = form.row_offset.to(device);
  col_ = form.col.to(device);
  table_ = AliasTable(form.values, device);
}

const EdgeSampler::Layout& EdgeSampler::layout(std::int64_t count) {
  for (const Layout& known : layouts_)
    if (known.count == count) return known;
  const std::int64_t each = rate_ + 1, pairs = checked_mul(count, each);
  Tensor end = Tensor::empty({2 * pairs}, Dtype::int64);  // sources stand before targets
  Tensor labels = Tensor::zeros({pairs}, Dtype::float64);
  for (std::int64_t p = 0; p < pairs; ++p) {
    end.mutable_data<std::int64_t>()[p] = p / each;
    end.mutable_data<std::int64_t>()[pairs + p] = count + p;
    if (p % each == 0) labels.mutable_data<double>()[p] = 1;
  }
  const Device device = col_.device();
  layouts_.push_back({count, end.to(device), labels.to(dtype_).to(device)});
  return layouts_.back();
}

Tensor EdgeSampler::ends(std::int64_t count) const {
  return Tensor::empty({checked_mul(count, rate_ + 2)}, Dtype::int64, col_.device());
}

void EdgeSampler::draw(const kernels::RandomStream& random, std::int64_t first, Tensor& ends) const {
  const auto all = mutable_span_of<std::int64_t>(ends);
  const std::size_t sources = all.size() / static_cast<std::size_t>(rate_ + 2);
  kernels::sample_edges(current_exec(col_.device()), random,
                        static_cast<std::uint64_t>(first) * static_cast<std::uint64_t>(rate_ + 1),
                        {span_of<std::int64_t>(row_offset_), span_of<std::int32_t>(col_),
                         span_of<float>(table_.threshold), span_of<std::int32_t>(table_.alias)},
                        rate_, all.first(sources), all.subspan(sources));
}

void EdgeSampler::select(Batch& batch, const Tensor& ends, bool fixed_size) {
  const Layout& all = layout(ends.numel() / (rate_ + 2));
  const DistinctItems distinct(ends, row_offset_.numel() - 1);
  batch.select_edges(fixed_size ? distinct.padded : distinct.values(),
                     {gather_rows(distinct.places, all.end), all.labels, rate_});
}

}  // namespace flatland
