// Coordinates of given items, without a network.
#pragma once

#include <flatland/models/model.h>

#include <cstdint>
#include <string>
#include <typeinfo>

namespace flatland {

// A row of coordinates an item, which training moves: the non-parametric counterpart of a network. It places
// only the items it was made for. It takes item numbers, the entry "indices" of a data set.
// Parameter: "coordinates" (items, out_dim), uniform within 0.01 at first. Role: embed (encode is the same).
class CoordinateTable : public Model {
 public:
  struct Options {
    std::int64_t items = 0;  // must be given
    std::int64_t out_dim = 2;
  };
  explicit CoordinateTable(const Options& options);

  Tensor encode(const Tensor& index) const override;  // int64 (B) -> (B, out_dim)
  std::string name() const override { return "CoordinateTable"; }
  std::int64_t in_dim() const override { return -1; }
  std::string input_key() const override { return "indices"; }
  std::int64_t items() const override { return options_.items; }
  bool replayable() const override { return typeid(*this) == typeid(CoordinateTable); }
  const Options& options() const { return options_; }

 private:
  Options options_;
  Tensor coordinates_;
};

}  // namespace flatland
