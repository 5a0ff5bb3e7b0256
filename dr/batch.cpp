#include <flatland/dr/batch.h>
#include <flatland/engine/ops.h>

namespace flatland {

Batch::Batch(const Dataset& data, Tensor index) : data_(&data) {
  select(std::move(index));
}

void Batch::select_edges(Tensor index, BatchEdges edges) {
  select(std::move(index));
  edges_ = std::move(edges);
}
void Batch::select_whole(Tensor index) {
  select(std::move(index));
  whole_ = true;
}
void Batch::select_repeated(Tensor index) {
  select(std::move(index));
  repeats_ = true;
}

void Batch::select(Tensor index) {
  index_ = std::move(index);
  edges_.reset();
  whole_ = repeats_ = false;
  rows_.clear();
  rows_.reserve(data_->entry_count());
}

const Tensor& Batch::operator[](std::string_view key) const {
  for (const auto& entry : rows_) {
    if (entry.first == key) return entry.second;
  }
  const Tensor& all = (*data_)[key];
  rows_.emplace_back(std::string(key), whole_ ? all : gather_rows_when_read(all, index_));
  return rows_.back().second;
}

void Batch::replace(std::string_view key, Tensor rows) {
  for (auto& entry : rows_) {
    if (entry.first == key) {
      entry.second = std::move(rows);
      return;
    }
  }
  rows_.emplace_back(std::string(key), std::move(rows));
}

}  // namespace flatland
