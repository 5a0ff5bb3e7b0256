// Golden values: tests/golden/<group>/<name>.npy.
#pragma once

#include <flatland/dr/readers.h>
#include <flatland/engine/tensor.h>

#include <filesystem>
#include <string>

namespace flatland::test {

// golden("student_t/d"): a missing file is an Error, so a test cannot pass without it.
inline Tensor golden(const std::string& group_and_name) {
  return read_npy(std::filesystem::path(FLATLAND_GOLDEN_DIR) / (group_and_name + ".npy"));
}

}  // namespace flatland::test
