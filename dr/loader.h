// Batches of a data set for training loops of one's own, and ways to divide it. Routines need none of this.
#pragma once

#include <flatland/dr/dataset.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace flatland {

// --- which items, in which order ---

// The item numbers of epoch e (0, 1, ...), int64, on the CPU. Any function of the epoch is a sampler.
using Sampler = std::function<Tensor(std::int64_t epoch)>;

// All items 0 .. n-1 as they stand.
struct SequentialSampler {
  std::int64_t n = 0;
  Tensor operator()(std::int64_t epoch) const;
};
// All items in an order that is new in each epoch.
struct RandomSampler {
  std::int64_t n = 0;
  std::uint64_t seed = 0;
  Tensor operator()(std::int64_t epoch) const;
};
// Some items (int64), such as balanced_items(labels, 10, seed) with n of each class, in a new order in each
// epoch.
struct SubsetRandomSampler {
  Tensor items = {};
  std::uint64_t seed = 0;
  Tensor operator()(std::int64_t epoch) const;
};
// All items, each class at regular distances, so that every batch has about the classes' shares of the whole.
// Which item of a class stands where is new in each epoch.   labels int64 or int32 (N)
struct StratifiedSampler {
  Tensor labels = {};
  std::uint64_t seed = 0;
  Tensor operator()(std::int64_t epoch) const;
};
// n items with replacement, see weighted_items.
struct WeightedRandomSampler {
  Tensor weights = {};
  std::int64_t n = 0;
  std::uint64_t seed = 0;
  Tensor operator()(std::int64_t epoch) const;
};

// --- batches ---

// Cuts a data set into batches, epoch by epoch. Rows are gathered where the data set lies; "indices" are the
// items' numbers in it.
//   DataLoader loader(data.to(device), {.batch_size = 64, .shuffle = true, .seed = 42});
//   for (int epoch = 0; epoch < 100; ++epoch)
//     for (const Dataset& batch : loader) step(batch["main"], batch["labels"]);
class DataLoader {
 public:
  struct Options {
    std::int64_t batch_size = 64;
    bool shuffle = false;    // RandomSampler with `seed`, else the order of the items
    bool drop_last = false;  // leave out a last batch that is short
    std::uint64_t seed = 0;
    Sampler sampler = {};  // in place of shuffle
  };
  DataLoader(Dataset data, Options options);

  // Of an epoch: how many batches, and batch b, whatever was asked for before.
  std::int64_t batches(std::int64_t epoch = 0);
  Dataset batch(std::int64_t epoch, std::int64_t b);
  // One batch after another without end: after the last one of an epoch comes the first of the next. It
  // counts by itself, apart from begin().
  Dataset next();

  // The batches of one epoch; each call of begin() starts another.
  class Iterator {
   public:
    const Dataset& operator*() const { return *batch_; }
    Iterator& operator++();
    bool operator!=(std::nullptr_t) const { return batch_.has_value(); }

   private:
    friend class DataLoader;
    Iterator(DataLoader& loader, std::int64_t epoch);
    DataLoader* loader_;
    std::int64_t epoch_, b_ = 0;
    std::optional<Dataset> batch_;
  };
  Iterator begin() { return {*this, begun_++}; }
  std::nullptr_t end() const { return nullptr; }

 private:
  // An epoch that was asked for, and its items, where the data lies.
  struct Epoch {
    std::int64_t number = -1;
    Tensor items = {};
  };
  const Tensor& items_of(Epoch& known, std::int64_t epoch) const;
  Dataset batch_of(const Tensor& items, std::int64_t b) const;
  std::int64_t batches_of(std::int64_t items) const;

  Dataset data_;
  Options options_;
  std::int64_t begun_ = 0;                          // epochs that begin() started
  std::int64_t cycle_epoch_ = 0, cycle_batch_ = 0;  // of next()
  Epoch asked_, cycle_;                             // the last one, and that of next()
};

// --- parts ---

// Two parts of a data set, drawn at random.
struct SplitOptions {
  double test = 0.25;  // below 1 the share of the items, else how many; a fraction is rounded up
  std::uint64_t seed = 0;
  std::string stratify = "";  // an entry of class numbers, of which both parts get about equal shares
};
struct TrainTest {
  Dataset train, test;
};
// Errors: an empty part, no such entry.
TrainTest train_test_split(const Dataset& data, const SplitOptions& options = {});

}  // namespace flatland
