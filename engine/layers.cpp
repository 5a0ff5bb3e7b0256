#include <flatland/engine/layers.h>
#include <flatland/kernels/check.h>

namespace flatland {

Tensor ActivationLayer::forward(const Tensor& x) const {
  return activate(x, activation_);
}

Dropout::Dropout(double p) : p_(p), state_(add_random_state("random")) {
  FLATLAND_CHECK(p >= 0 && p < 1, "Dropout: p is ", p,
                 "; it is the share to leave out, 0 or more and below 1");
}

Tensor Dropout::forward(const Tensor& x) const {
  return training() && p_ > 0 ? dropout(x, p_, state_) : x;
}

Embedding::Embedding(std::int64_t rows, std::int64_t dim, Options options) : options_(options) {
  FLATLAND_CHECK(rows > 0 && dim > 0, "Embedding: got ", rows, " rows of ", dim,
                 " values; both must be above 0");
  FLATLAND_CHECK(options.padding_idx >= -1 && options.padding_idx < rows, "Embedding: padding_idx is ",
                 options.padding_idx, " but there are ", rows, " rows; give one of them, or -1");
  weight = add_parameter("weight", {rows, dim}, {.deviation = 1, .zero_row = options.padding_idx});
}

Embedding Embedding::from(const Tensor& values, Options options, bool freeze) {
  FLATLAND_CHECK(values.defined() && values.rank() == 2 && values.is_floating(),
                 "Embedding: the values must be a floating matrix, a row for each number");
  Embedding table(values.size(0), values.size(1), options);
  table.to(values.dtype());
  table.to(values.device());
  table.weight.copy_from(values);
  table.keep();
  table.requires_grad(!freeze);
  return table;
}

Tensor Embedding::forward(const Tensor& index) const {
  return embedding(index, weight, options_.padding_idx, options_.max_norm);
}

}  // namespace flatland
