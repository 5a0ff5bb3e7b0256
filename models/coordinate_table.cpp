#include <flatland/models/coordinate_table.h>

namespace flatland {

CoordinateTable::CoordinateTable(const Options& options) : options_(options) {
  FLATLAND_CHECK(options.items >= 1, "CoordinateTable: items is ", options.items,
                 "; set it to the number of items of the data");
  FLATLAND_CHECK(options.out_dim >= 1, "CoordinateTable: out_dim is ", options.out_dim,
                 "; it must be 1 or more");
  coordinates_ = add_parameter("coordinates", {options.items, options.out_dim}, {.bound = 0.01});
}

Tensor CoordinateTable::encode(const Tensor& index) const {
  FLATLAND_CHECK(index.defined() && index.dtype() == Dtype::int64 && index.rank() == 1,
                 "CoordinateTable: it takes item numbers, an int64 vector such as the entry \"indices\"");
  return gather_rows(coordinates_, index);
}

}  // namespace flatland
