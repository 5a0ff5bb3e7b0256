#include <flatland/dr/distinct_items.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/sample_edges.h>

namespace flatland {

namespace {

std::span<std::int64_t> all(Tensor& t) {
  return {t.mutable_data<std::int64_t>(), static_cast<std::size_t>(t.numel())};
}

}  // namespace

DistinctItems::DistinctItems(const Tensor& items, std::int64_t count)
    : padded(Tensor::empty(items.shape(), Dtype::int64, items.device())),
      places(Tensor::empty(items.shape(), Dtype::int64, items.device())),
      found(Tensor::empty({}, Dtype::int64, items.device())) {
  const std::span<const std::int64_t> in(items.data<std::int64_t>(), static_cast<std::size_t>(items.numel()));
  kernels::distinct_items(current_exec(items.device()), in, count, all(padded), all(places),
                          found.mutable_data<std::int64_t>());
}

Tensor DistinctItems::values() const {
  return slice_rows(padded, 0, static_cast<std::int64_t>(found.item()));
}

}  // namespace flatland
