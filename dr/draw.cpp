#include <flatland/dr/class_numbers.h>
#include <flatland/dr/draw.h>
#include <flatland/dr/edge_sampler.h>
#include <flatland/dr/streams.h>
#include <flatland/kernels/random.h>

#include <map>
#include <vector>

namespace flatland {

Tensor balanced_items(const Tensor& labels, std::int64_t per_class, std::uint64_t seed) {
  FLATLAND_CHECK(per_class >= 1, "balanced_items: ", per_class, " items a class; ask for 1 or more");
  const std::vector<std::int64_t> label = detail::class_numbers("balanced_items", "labels", labels);
  std::vector<std::int64_t> order(label.size());
  kernels::random_permutation(current_exec(), stream_of(seed, StreamDomain::drawn_items, 0, 0), order);
  std::map<std::int64_t, std::int64_t> taken;
  std::vector<std::int64_t> items;
  for (const std::int64_t i : order)
    if (taken[label[static_cast<std::size_t>(i)]]++ < per_class) items.push_back(i);
  for (const auto& [value, count] : taken) {
    FLATLAND_CHECK(count >= per_class, "balanced_items: class ", value, " has ", count, " items, but ",
                   per_class, " are asked for");
  }
  return Tensor::from(items);
}

Tensor weighted_items(const Tensor& weights, std::int64_t n, std::uint64_t seed) {
  FLATLAND_CHECK(n >= 0, "weighted_items: ", n, " draws; ask for 0 or more");
  check_item_weights("weighted_items", weights);
  Tensor items = Tensor::empty({n}, Dtype::int64);
  sample_items(AliasTable(weights, Device::cpu), stream_of(seed, StreamDomain::drawn_items, 1, 0), 0, items);
  return items;
}

Tensor class_weights(const Tensor& labels) {
  const std::vector<std::int64_t> label = detail::class_numbers("class_weights", "labels", labels);
  std::map<std::int64_t, std::int64_t> size;
  for (const std::int64_t l : label) ++size[l];
  std::vector<float> weights;
  for (const std::int64_t l : label) weights.push_back(1.0f / static_cast<float>(size[l]));
  return Tensor::from(weights);
}

}  // namespace flatland
