#include <doctest/doctest.h>
#include <flatland/dr/draw.h>
#include <flatland/dr/loader.h>
#include <tests/support/devices.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace flatland;
using test::contains;
using test::error_of;

namespace {

using Numbers = std::vector<std::int64_t>;

// n items whose class is 0 for most: i % 5 of 3, 4 are classes 1, 2.
Tensor uneven_labels(std::int64_t n) {
  Numbers labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(std::max<std::int64_t>(0, i % 5 - 2));
  return Tensor::from(labels);
}
Dataset numbered(std::int64_t n) {
  std::vector<float> values(static_cast<std::size_t>(2 * n));
  std::iota(values.begin(), values.end(), 0.0f);
  return {{"main", Tensor::from(values, {n, 2})}, {"labels", uneven_labels(n)}};
}
Numbers items_of(const Dataset& batch) {
  return batch["indices"].to_vector<std::int64_t>();
}
Numbers sorted(Numbers items) {
  std::ranges::sort(items);
  return items;
}
Numbers counted(std::int64_t n) {
  Numbers all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return all;
}

}  // namespace

TEST_CASE("a loader cuts epochs into batches of rows on every device") {
  for (const Device device : test::devices()) {
    DataLoader loader(numbered(10).to(device), {.batch_size = 4});
    CHECK(loader.batches() == 3);
    for (int epoch = 0; epoch < 2; ++epoch) {
      Numbers seen;
      for (const Dataset& batch : loader) {
        const Numbers items = items_of(batch);
        CHECK(batch["main"].device() == device);
        for (std::size_t i = 0; i < items.size(); ++i) {
          CHECK(batch["main"].at(static_cast<std::int64_t>(i), 1) == static_cast<double>(2 * items[i] + 1));
          CHECK(batch["labels"].at(static_cast<std::int64_t>(i)) == uneven_labels(10).at(items[i]));
        }
        seen.insert(seen.end(), items.begin(), items.end());
      }
      CHECK(seen == counted(10));
    }
    CHECK(items_of(loader.batch(7, 2)) == Numbers{8, 9});
    DataLoader whole(numbered(10).to(device), {.batch_size = 4, .drop_last = true});
    CHECK(whole.batches() == 2);
    CHECK(items_of(whole.batch(0, 1)) == Numbers{4, 5, 6, 7});
  }
}

TEST_CASE("a shuffling loader has each item once an epoch, in an order of seed and epoch") {
  DataLoader loader(numbered(30), {.batch_size = 7, .shuffle = true, .seed = 3});
  std::vector<Numbers> epochs;
  for (int epoch = 0; epoch < 3; ++epoch) {
    Numbers seen;
    for (const Dataset& batch : loader) {
      const Numbers items = items_of(batch);
      seen.insert(seen.end(), items.begin(), items.end());
    }
    CHECK(sorted(seen) == counted(30));
    epochs.push_back(seen);
  }
  CHECK(epochs[0] != epochs[1]);
  CHECK(epochs[1] != epochs[2]);
  CHECK(epochs[0] != counted(30));
  // Any batch alone, and another loader.
  DataLoader again(numbered(30), {.batch_size = 7, .shuffle = true, .seed = 3});
  CHECK(items_of(again.batch(2, 1)) == Numbers(epochs[2].begin() + 7, epochs[2].begin() + 14));
  DataLoader other(numbered(30), {.batch_size = 30, .shuffle = true, .seed = 4});
  CHECK(items_of(other.batch(0, 0)) != epochs[0]);
  // Without end: 5 batches an epoch.
  Numbers cycled;
  for (int b = 0; b < 11; ++b) {
    const Numbers items = items_of(again.next());
    cycled.insert(cycled.end(), items.begin(), items.end());
  }
  Numbers want;
  for (const Numbers& epoch : epochs) want.insert(want.end(), epoch.begin(), epoch.end());
  CHECK(cycled == Numbers(want.begin(), want.begin() + 67));
}

TEST_CASE("rows are chosen by numbers of any device, on every device") {
  for (const Device device : test::devices()) {
    const Dataset data = numbered(100).to(device);
    const Dataset chosen = data.rows(balanced_items(data["labels"], 4, 8));
    CHECK(chosen["main"].device() == device);
    std::map<std::int64_t, int> of_class;
    for (const std::int64_t label : chosen["labels"].to_vector<std::int64_t>()) ++of_class[label];
    CHECK(of_class == std::map<std::int64_t, int>{{0, 4}, {1, 4}, {2, 4}});
  }
}

TEST_CASE("a subset of n labelled items a class") {
  const Dataset data = numbered(100);
  const Tensor chosen = balanced_items(data["labels"], 4, 8);
  DataLoader loader(data, {.batch_size = 5, .sampler = SubsetRandomSampler{chosen, 1}});
  std::map<std::int64_t, int> of_class;
  Numbers seen;
  for (const Dataset& batch : loader) {
    for (const std::int64_t label : batch["labels"].to_vector<std::int64_t>()) ++of_class[label];
    const Numbers items = items_of(batch);
    seen.insert(seen.end(), items.begin(), items.end());
  }
  CHECK(of_class == std::map<std::int64_t, int>{{0, 4}, {1, 4}, {2, 4}});
  CHECK(sorted(seen) == sorted(chosen.to_vector<std::int64_t>()));
  CHECK(seen != chosen.to_vector<std::int64_t>());
}

TEST_CASE("stratified batches have the shares of the whole") {
  const Dataset data = numbered(100);  // 60, 20 and 20
  DataLoader loader(data, {.batch_size = 10, .sampler = StratifiedSampler{data["labels"], 2}});
  Numbers first_epoch;
  for (int epoch = 0; epoch < 2; ++epoch) {
    Numbers seen;
    for (const Dataset& batch : loader) {
      std::map<std::int64_t, int> of_class;
      for (const std::int64_t label : batch["labels"].to_vector<std::int64_t>()) ++of_class[label];
      CHECK(std::abs(of_class[0] - 6) <= 1);
      CHECK(std::abs(of_class[1] - 2) <= 1);
      CHECK(std::abs(of_class[2] - 2) <= 1);
      const Numbers items = items_of(batch);
      seen.insert(seen.end(), items.begin(), items.end());
    }
    CHECK(sorted(seen) == counted(100));
    CHECK(seen != first_epoch);
    first_epoch = seen;
  }
}

TEST_CASE("weighted items, and samplers of one's own") {
  const Dataset data = numbered(100);
  DataLoader loader(
      data, {.batch_size = 1000, .sampler = WeightedRandomSampler{class_weights(data["labels"]), 3000, 5}});
  CHECK(loader.batches() == 3);
  std::map<double, int> of_class;
  for (const Dataset& batch : loader)
    for (const std::int64_t label : batch["labels"].to_vector<std::int64_t>())
      ++of_class[static_cast<double>(label)];
  for (const auto& [label, count] : of_class) CHECK(std::abs(count - 1000) < 160);  // six deviations
  CHECK(items_of(loader.batch(0, 0)) != items_of(loader.batch(1, 0)));
  const auto backwards = [](std::int64_t epoch) { return Tensor::from(Numbers{epoch + 1, epoch}); };
  DataLoader own(data, {.batch_size = 2, .sampler = backwards});
  CHECK(items_of(own.batch(5, 0)) == Numbers{6, 5});
}

TEST_CASE("next and begin go beside each other without asking a sampler again") {
  std::vector<std::int64_t> asked;
  DataLoader loader(numbered(8), {.batch_size = 2, .sampler = [&](std::int64_t epoch) {
                                    asked.push_back(epoch);
                                    return RandomSampler{8, 1}(epoch);
                                  }});
  const Numbers first = items_of(loader.next());
  for (int epoch = 0; epoch < 2; ++epoch)
    for (const Dataset& batch : loader) {
      static_cast<void>(batch);
      static_cast<void>(loader.next());
    }
  CHECK(asked == Numbers{0, 0, 1, 1, 2});
  CHECK(items_of(loader.next()) == items_of(loader.batch(2, 1)));
  CHECK(first == items_of(loader.batch(0, 0)));
}

TEST_CASE("a split has two parts, drawn by the seed, with the classes' shares where asked for") {
  const Dataset data = numbered(50);  // 30, 10 and 10
  const TrainTest plain = train_test_split(data, {.test = 0.3, .seed = 1});
  CHECK(plain.test.size() == 15);
  CHECK(plain.train.size() == 35);
  const auto values = [](const Dataset& part) {
    Numbers all;
    for (std::int64_t i = 0; i < part.size(); ++i)
      all.push_back(static_cast<std::int64_t>(part["main"].at(i, 0)) / 2);
    return all;
  };
  Numbers both = values(plain.train), rest = values(plain.test);
  CHECK(rest != values(train_test_split(data, {.test = 0.3, .seed = 2}).test));
  CHECK(rest == values(train_test_split(data, {.test = 15, .seed = 1}).test));
  both.insert(both.end(), rest.begin(), rest.end());
  CHECK(sorted(both) == counted(50));
  const TrainTest equal = train_test_split(data, {.test = 40, .stratify = "labels"});
  std::map<std::int64_t, int> of_class;
  for (const std::int64_t label : equal.train["labels"].to_vector<std::int64_t>()) ++of_class[label];
  CHECK(of_class == std::map<std::int64_t, int>{{0, 6}, {1, 2}, {2, 2}});
  CHECK(train_test_split(data).test.size() == 13);
}

TEST_CASE("loaders and splits say what does not fit") {
  const Dataset data = numbered(10);
  CHECK(contains(error_of([] { DataLoader(Dataset(), {}); }), "the data set is empty"));
  CHECK(contains(error_of([&] { DataLoader(data, {.batch_size = 0}); }), "batch_size is 0"));
  CHECK(contains(error_of([&] { DataLoader(data, {}).batch(-1, 0); }), "epoch -1"));
  CHECK(DataLoader(data, {.batch_size = std::numeric_limits<std::int64_t>::max()}).batches() == 1);
  CHECK(contains(error_of([&] { DataLoader(data, {}).batch(0, 1); }), "batch 1 is asked for; epoch 0 has 1"));
  CHECK(contains(error_of([&] { DataLoader(data, {.batch_size = 11, .drop_last = true}).batches(); }),
                 "10 items, which make no batch of 11"));
  CHECK(
      contains(error_of([&] {
                 DataLoader(data, {.sampler = [](std::int64_t) { return Tensor::from(Numbers{10}); }}).next();
               }),
               "the sampler gave item 10 but there are 10"));
  CHECK(contains(error_of([&] { StratifiedSampler{data["main"]}(0); }), "must be a vector of class numbers"));
  CHECK(contains(error_of([&] { train_test_split(data, {.test = 10}); }), "both parts need at least one"));
  CHECK(contains(error_of([&] { train_test_split(data, {.test = 0}); }), "both parts need at least one"));
  CHECK(contains(error_of([&] { train_test_split(data, {.stratify = "kind"}); }), "kind"));
}
