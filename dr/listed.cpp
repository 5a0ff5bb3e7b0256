#include <flatland/dr/listed.h>

namespace flatland::detail {

std::string listed(const std::vector<std::string>& keys) {
  std::string names;
  for (const std::string& key : keys) names += (names.empty() ? "'" : ", '") + key + "'";
  return names.empty() ? "none" : names;
}

}  // namespace flatland::detail
