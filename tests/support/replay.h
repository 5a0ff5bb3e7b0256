// Published runs that are replayed step by step: their data and first weights.
#pragma once

#include <doctest/doctest.h>
#include <flatland/dr/dataset.h>
#include <flatland/dr/readers.h>
#include <flatland/models/model.h>

#include "tests/support/golden.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace flatland::test {

// The first images of MNIST, at most 20,000, with their labels; nothing, with a message that ctest takes for
// a skip, where FLATLAND_DATA_DIR does not say where they are.
inline std::optional<Dataset> replayed_mnist(std::int64_t items = 5000) {
  const char* folder = std::getenv("FLATLAND_DATA_DIR");
  if (folder == nullptr) {
    MESSAGE(
        "FLATLAND_DATA_DIR is not set: skipped. It must name a folder with "
        "mnist/train-20000-images-idx3-ubyte.gz");
    return {};
  }
  const std::filesystem::path mnist = std::filesystem::path(folder) / "mnist";
  return Dataset{{"main", read_idx_images(mnist / "train-20000-images-idx3-ubyte.gz")},
                 {"labels", read_idx_labels(mnist / "train-20000-labels-idx1-ubyte.gz")}}
      .first(items);
}

// The weights that the run began with, tests/golden/<group>/init_layers_0_weight.npy and so on.
inline void load_first_weights(Model& model, const std::string& group) {
  std::vector<NamedTensor> state = model.state();
  for (NamedTensor& p : state) {
    std::string file = p.name;
    std::ranges::replace(file, '.', '_');
    p.tensor = golden(group + "/init_" + file).to(p.tensor.dtype());
  }
  model.load_state(state);
}

}  // namespace flatland::test
