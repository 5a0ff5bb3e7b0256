#include <flatland/dr/distinct_items.h>
#include <flatland/engine/ops.h>
#include <flatland/engine/spans.h>
#include <flatland/kernels/sample_edges.h>

namespace flatland {

using detail::mutable_span_of;

DistinctItems::DistinctItems(const Tensor& items, std::int64_t count)
    : padded(Tensor::empty(items.shape(), Dtype::int64, items.device())),
      places(Tensor::empty(items.shape(), Dtype::int64, items.device())),
      found(Tensor::empty({}, Dtype::int64, items.device())) {
  kernels::distinct_items(current_exec(items.device()), detail::span_of<std::int64_t>(items), count,
                          mutable_span_of<std::int64_t>(padded), mutable_span_of<std::int64_t>(places),
                          found.mutable_data<std::int64_t>());
}

Tensor DistinctItems::values() const {
  return slice_rows(padded, 0, static_cast<std::int64_t>(found.item()));
}

}  // namespace flatland
