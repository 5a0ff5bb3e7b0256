#pragma once

#include <flatland/engine/module.h>

#include <string>
#include <vector>

namespace flatland::test {

inline std::vector<std::string> parameter_names(const Module& module) {
  std::vector<std::string> all;
  for (const NamedTensor& p : module.parameters()) all.push_back(p.name);
  return all;
}

}  // namespace flatland::test
