#include <flatland/dr/distinct_items.h>
#include <flatland/dr/edge_sampler.h>
#include <flatland/dr/with_type.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/sample_edges.h>

namespace flatland {

namespace {

template <class T>
std::span<const T> values_of(const Tensor& t) {
  return {t.data<T>(), static_cast<std::size_t>(t.numel())};
}
template <class T>
std::span<T> mutable_values_of(Tensor& t) {
  return {t.mutable_data<T>(), static_cast<std::size_t>(t.numel())};
}

}  // namespace

AliasTable::AliasTable(const Tensor& weights, Device device)
    : threshold(Tensor::empty({weights.numel()}, Dtype::float32)),
      alias(Tensor::empty({weights.numel()}, Dtype::int32)) {
  const Tensor host = weights.detach().to(Device::cpu);
  with_type(host, [&](auto zero) {
    using T = decltype(zero);
    kernels::alias_table<T>(values_of<T>(host), mutable_values_of<float>(threshold),
                            mutable_values_of<std::int32_t>(alias));
  });
  threshold = threshold.to(device);
  alias = alias.to(device);
}

void sample_items(const AliasTable& table, const kernels::RandomStream& random, std::uint64_t first,
                  Tensor& items) {
  kernels::sample_items(current_exec(items.device()), random, first, values_of<float>(table.threshold),
                        values_of<std::int32_t>(table.alias), mutable_values_of<std::int64_t>(items));
}

EdgeSampler::EdgeSampler(const RelationData& relations, std::int64_t items, int rate, Dtype dtype,
                         Device device)
    : rate_(rate), dtype_(dtype) {
  FLATLAND_CHECK(relations.items() == items, "edge sampling: the relations are of ", relations.items(),
                 " items but the data has ", items);
  const RelationData sparse = relations.to_sparse();
  const SparseRelations& form = *sparse.get_if<SparseRelations>();
  FLATLAND_CHECK(form.col.numel() > 0, "edge sampling: the relations have no entries, so there are no edges");
  row_offset_ = form.row_offset.to(device);
  col_ = form.col.to(device);
  table_ = AliasTable(form.values, device);
}

const EdgeSampler::Layout& EdgeSampler::layout(std::int64_t count) {
  for (const Layout& known : layouts_)
    if (known.count == count) return known;
  const std::int64_t pairs = count * (rate_ + 1);
  std::vector<std::int64_t> end;  // sources stand before targets
  for (std::int64_t p = 0; p < pairs; ++p) end.push_back(p / (rate_ + 1));
  for (std::int64_t p = 0; p < pairs; ++p) end.push_back(count + p);
  std::vector<double> labels;
  for (std::int64_t p = 0; p < pairs; ++p) labels.push_back(p % (rate_ + 1) == 0 ? 1 : 0);
  const Device device = col_.device();
  layouts_.push_back({count, Tensor::from(end).to(device), Tensor::from(labels).to(dtype_).to(device)});
  return layouts_.back();
}

Tensor EdgeSampler::ends(std::int64_t count) const {
  return Tensor::empty({checked_mul(count, rate_ + 2)}, Dtype::int64, col_.device());
}

void EdgeSampler::draw(const kernels::RandomStream& random, std::int64_t first, Tensor& ends) const {
  const auto all = mutable_values_of<std::int64_t>(ends);
  const std::size_t sources = all.size() / static_cast<std::size_t>(rate_ + 2);
  kernels::sample_edges(current_exec(col_.device()), random, static_cast<std::uint64_t>(first * (rate_ + 1)),
                        {values_of<std::int64_t>(row_offset_), values_of<std::int32_t>(col_),
                         values_of<float>(table_.threshold), values_of<std::int32_t>(table_.alias)},
                        rate_, all.first(sources), all.subspan(sources));
}

void EdgeSampler::select(Batch& batch, const Tensor& ends, bool fixed_size) {
  const Layout& all = layout(ends.numel() / (rate_ + 2));
  const DistinctItems distinct(ends, row_offset_.numel() - 1);
  batch.select_edges(fixed_size ? distinct.padded : distinct.values(),
                     {gather_rows(distinct.places, all.end), all.labels, rate_});
}

}  // namespace flatland
