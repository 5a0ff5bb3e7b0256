// MNIST from a folder of its published IDX files.
#pragma once

#include <flatland/engine/tensor.h>

#include <filesystem>

namespace flatland::examples {

struct LabelledImages {
  Tensor images;  // (N, 784) in 0 .. 1
  Tensor labels;  // (N)
};

// The training images: train-images-idx3-ubyte[.gz], or the first 20,000 of them as train-20000-images-...
// Error: no such file there; says how to get it.
LabelledImages read_mnist(const std::filesystem::path& folder);

}  // namespace flatland::examples
