#include <flatland/dr/dataset.h>
#include <flatland/dr/listed.h>
#include <flatland/dr/with_type.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/reduce.h>

#include <algorithm>

namespace flatland {

namespace {

constexpr std::string_view k_indices = "indices";

template <class T>
kernels::NonFinite find_non_finite(const Tensor& x) {
  const auto matrix = x.rank() == 1 ? kernels::MatView<const T>(x.data<T>(), x.numel(), 1) : x.matrix<T>();
  return kernels::find_non_finite<T>(current_exec(x.device()), matrix);
}

}  // namespace

void check_finite(std::string_view who, const Tensor& x) {
  if (!x.is_floating() || x.numel() == 0) return;
  const kernels::NonFinite bad = with_type(x, [&](auto zero) { return find_non_finite<decltype(zero)>(x); });
  if (bad.count == 0) return;
  const std::int64_t cols = x.rank() == 1 ? 1 : x.size(-1);
  detail::fail(who, ": ", bad.count, bad.count == 1 ? " value is" : " values are",
               " NaN or infinite, the first in row ", bad.row, ", column ", bad.col, " (",
               x.at(bad.row * cols + bad.col), ", counted from 0); remove or replace such values");
}

Dataset::Dataset(Tensor main) {
  set("main", std::move(main));
}

Dataset::Dataset(std::initializer_list<std::pair<std::string, Tensor>> entries) {
  for (const auto& [key, value] : entries) {
    FLATLAND_CHECK(find(key) == nullptr || key == k_indices, "Dataset: the key '", key, "' is given twice");
    set(key, value);
  }
}

std::int64_t Dataset::size() const {
  return entries_.empty() ? 0 : entries_.front().second.size(0);
}

const Tensor* Dataset::find(std::string_view key) const {
  for (const auto& entry : entries_) {
    if (entry.first == key) return &entry.second;
  }
  return nullptr;
}

bool Dataset::contains(std::string_view key) const {
  return find(key) != nullptr;
}

const Tensor& Dataset::operator[](std::string_view key) const {
  const Tensor* value = find(key);
  if (value != nullptr) return *value;
  detail::fail("Dataset: no entry '", key, "'; ",
               entries_.empty() ? "it is empty" : "it has " + detail::listed(entries_));
}

void Dataset::put(std::string key, Tensor value) {
  for (auto& entry : entries_) {
    if (entry.first == key) {
      entry.second = std::move(value);
      return;
    }
  }
  entries_.emplace_back(std::move(key), std::move(value));
}

void Dataset::set(std::string key, Tensor value) {
  FLATLAND_CHECK(value.defined(), "Dataset: entry '", key, "' is an undefined tensor");
  FLATLAND_CHECK(value.rank() >= 1, "Dataset: entry '", key, "' is a single value; it needs one row an item");
  FLATLAND_CHECK(value.size(0) > 0, "Dataset: entry '", key, "' has no rows (shape ", value.shape(),
                 "); give at least one item");
  FLATLAND_CHECK(value.rank() < 2 || value.numel() > 0, "Dataset: entry '", key, "' has no columns (shape ",
                 value.shape(), ")");
  FLATLAND_CHECK(entries_.empty() || value.size(0) == size(), "Dataset: entry '", key, "' has ",
                 value.size(0), " rows but '", entries_.front().first, "' has ", size(),
                 "; all entries need one row an item");
  check_finite("Dataset: entry '" + key + "'", value);
  if (key == k_indices) own_indices_ = false;
  put(std::move(key), value.detach());
  if (!contains(k_indices)) put(std::string(k_indices), Tensor::arange(size()).to(value.device()));
}

std::vector<std::string> Dataset::keys() const {
  std::vector<std::string> names;
  for (const auto& entry : entries_) names.push_back(entry.first);
  return names;
}

Dataset Dataset::slice(std::int64_t begin, std::int64_t end) const {
  FLATLAND_CHECK(begin >= 0 && begin < end && end <= size(), "Dataset: rows ", begin, " to ", end,
                 " asked for, but there are ", size(), "; choose 0 <= begin < end <= ", size());
  const NoGrad no_grad;
  Dataset part;
  part.own_indices_ = own_indices_;
  for (const auto& [key, value] : entries_) {
    const bool renumber = own_indices_ && key == k_indices;
    part.put(key, renumber ? Tensor::arange(end - begin).to(value.device()) : slice_rows(value, begin, end));
  }
  return part;
}

Dataset Dataset::rows(const Tensor& index) const {
  FLATLAND_CHECK(index.defined() && index.rank() == 1 && index.dtype() == Dtype::int64,
                 "Dataset: rows are chosen by an int64 vector");
  FLATLAND_CHECK(index.numel() > 0, "Dataset: no rows chosen; give at least one");
  const NoGrad no_grad;
  Dataset part;
  part.own_indices_ = own_indices_;
  for (const auto& [key, value] : entries_) {
    const bool renumber = own_indices_ && key == k_indices;
    part.put(key, renumber ? Tensor::arange(index.numel()).to(value.device())
                           : gather_rows(value, index.to(value.device())));
  }
  return part;
}

Dataset Dataset::to(Device device) const {
  Dataset moved = *this;
  for (auto& entry : moved.entries_) entry.second = entry.second.to(device);
  return moved;
}

Dataset Dataset::to(Dtype dtype) const {
  FLATLAND_CHECK(dtype == Dtype::float32 || dtype == Dtype::float64, "Dataset: ", name(dtype),
                 " is not a floating type");
  Dataset converted = *this;
  for (auto& entry : converted.entries_) {
    if (entry.second.is_floating()) entry.second = entry.second.to(dtype);
  }
  return converted;
}

}  // namespace flatland
