// Keys for error messages (private to this folder).
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace flatland::detail {

// "'a', 'b'", or "none".
std::string listed(const std::vector<std::string>& keys);
template <class Value>
std::string listed(const std::vector<std::pair<std::string, Value>>& entries) {
  std::vector<std::string> keys;
  for (const auto& entry : entries) keys.push_back(entry.first);
  return listed(keys);
}

}  // namespace flatland::detail
