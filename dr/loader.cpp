#include <flatland/dr/class_numbers.h>
#include <flatland/dr/draw.h>
#include <flatland/dr/loader.h>
#include <flatland/dr/streams.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/check.h>
#include <flatland/kernels/random.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

namespace flatland {

namespace {

std::vector<std::int64_t> permutation(std::int64_t n, kernels::RandomStream random) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  kernels::random_permutation(current_exec(), random, order);
  return order;
}

// All items in random order, rearranged so that each class comes at regular distances: item r of the n of its
// class, as the permutation has them, stands before item s of m of another where (r + 1/2) / n is less than
// (s + 1/2) / m.
std::vector<std::int64_t> stratified(const char* who, const Tensor& labels, kernels::RandomStream random) {
  const std::vector<std::int64_t> label = detail::class_numbers(who, "labels", labels);
  std::map<std::int64_t, std::int64_t> size, seen;
  for (const std::int64_t l : label) ++size[l];
  std::vector<std::pair<double, std::int64_t>> places;
  for (const std::int64_t i : permutation(labels.numel(), random)) {
    const std::int64_t l = label[static_cast<std::size_t>(i)];
    places.emplace_back((static_cast<double>(seen[l]++) + 0.5) / static_cast<double>(size[l]), i);
  }
  std::ranges::stable_sort(places, {}, &std::pair<double, std::int64_t>::first);
  std::vector<std::int64_t> order;
  for (const auto& place : places) order.push_back(place.second);
  return order;
}

kernels::RandomStream stream_of_epoch(std::uint64_t seed, std::int64_t epoch) {
  return stream_of(seed, StreamDomain::loader, 0, static_cast<std::uint64_t>(epoch));
}

}  // namespace

Tensor SequentialSampler::operator()(std::int64_t) const {
  return Tensor::arange(n);
}

Tensor RandomSampler::operator()(std::int64_t epoch) const {
  return Tensor::from(permutation(n, stream_of_epoch(seed, epoch)));
}

Tensor SubsetRandomSampler::operator()(std::int64_t epoch) const {
  FLATLAND_CHECK(items.defined() && items.rank() == 1 && items.dtype() == Dtype::int64,
                 "SubsetRandomSampler: the items must be an int64 vector of item numbers");
  return gather_rows(items.to(Device::cpu), RandomSampler{items.numel(), seed}(epoch));
}

Tensor StratifiedSampler::operator()(std::int64_t epoch) const {
  return Tensor::from(stratified("StratifiedSampler", labels, stream_of_epoch(seed, epoch)));
}

Tensor WeightedRandomSampler::operator()(std::int64_t epoch) const {
  // Each epoch draws from a seed of its own.
  return weighted_items(weights, n, stream_of_epoch(seed, epoch).bits64(0));
}

DataLoader::DataLoader(Dataset data, Options options) : data_(std::move(data)), options_(std::move(options)) {
  FLATLAND_CHECK(!data_.empty(), "DataLoader: the data set is empty");
  FLATLAND_CHECK(options_.batch_size >= 1, "DataLoader: batch_size is ", options_.batch_size,
                 "; it must be 1 or more");
  data_.set("indices", data_["indices"]);  // batches show the numbers that their items have here
  if (options_.sampler) return;
  if (options_.shuffle)
    options_.sampler = RandomSampler{data_.size(), options_.seed};
  else
    options_.sampler = SequentialSampler{data_.size()};
}

const Tensor& DataLoader::items_of(Epoch& known, std::int64_t epoch) const {
  FLATLAND_CHECK(epoch >= 0, "DataLoader: epoch ", epoch, " is asked for; they are counted from 0");
  if (epoch == known.number) return known.items;
  const Tensor items = options_.sampler(epoch);
  FLATLAND_CHECK(items.defined() && items.rank() == 1 && items.dtype() == Dtype::int64,
                 "DataLoader: a sampler must give an int64 vector of item numbers");
  for (const std::int64_t i : items.to_vector<std::int64_t>())
    FLATLAND_CHECK(i >= 0 && i < data_.size(), "DataLoader: the sampler gave item ", i, " but there are ",
                   data_.size());
  FLATLAND_CHECK(batches_of(items.numel()) > 0, "DataLoader: the sampler gave ", items.numel(),
                 " items, which make no batch of ", options_.batch_size);
  known = {epoch, items.to(data_["indices"].device())};
  return known.items;
}

std::int64_t DataLoader::batches_of(std::int64_t items) const {
  return options_.drop_last ? items / options_.batch_size
                            : (items > 0 ? 1 + (items - 1) / options_.batch_size : 0);
}

Dataset DataLoader::batch_of(const Tensor& items, std::int64_t b) const {
  const std::int64_t begin = b * options_.batch_size;
  return data_.rows(slice_rows(items, begin, std::min(begin + options_.batch_size, items.numel())));
}

std::int64_t DataLoader::batches(std::int64_t epoch) {
  return batches_of(items_of(asked_, epoch).numel());
}

Dataset DataLoader::batch(std::int64_t epoch, std::int64_t b) {
  const std::int64_t count = batches(epoch);
  FLATLAND_CHECK(b >= 0 && b < count, "DataLoader: batch ", b, " is asked for; epoch ", epoch, " has ",
                 count);
  return batch_of(asked_.items, b);
}

Dataset DataLoader::next() {
  const Tensor& items = items_of(cycle_, cycle_epoch_);
  Dataset batch = batch_of(items, cycle_batch_);
  if (++cycle_batch_ == batches_of(items.numel())) {
    cycle_batch_ = 0;
    ++cycle_epoch_;
  }
  return batch;
}

DataLoader::Iterator::Iterator(DataLoader& loader, std::int64_t epoch)
    : loader_(&loader), epoch_(epoch), batch_(loader.batch(epoch, 0)) {}

DataLoader::Iterator& DataLoader::Iterator::operator++() {
  batch_.reset();  // its memory serves the next one
  if (++b_ < loader_->batches(epoch_)) batch_ = loader_->batch(epoch_, b_);
  return *this;
}

TrainTest train_test_split(const Dataset& data, const SplitOptions& options) {
  FLATLAND_CHECK(!data.empty(), "train_test_split: the data set is empty");
  const std::int64_t n = data.size();
  const double wanted = options.test < 1 ? options.test * static_cast<double>(n) : options.test;
  FLATLAND_CHECK(wanted > 0 && wanted <= static_cast<double>(n - 1), "train_test_split: test is ",
                 options.test, " of ", n, " items; both parts need at least one");
  const auto test = static_cast<std::int64_t>(std::ceil(wanted));
  FLATLAND_CHECK(test < n, "train_test_split: test is ", options.test, " of ", n,
                 " items; both parts need at least one");
  const kernels::RandomStream random = stream_of(options.seed, StreamDomain::drawn_items, 2, 0);
  const std::vector<std::int64_t> order =
      options.stratify.empty() ? permutation(n, random)
                               : stratified("train_test_split", data[options.stratify], random);
  const Tensor items = Tensor::from(order);
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    return data.rows(slice_rows(items, begin, end).to(data["indices"].device()));
  };
  return {.train = part(test, n), .test = part(0, test)};
}

}  // namespace flatland
