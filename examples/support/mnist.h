// MNIST from a folder of its published IDX files.
#pragma once

#include "examples/support/options.h"

#include <flatland/dr/parametric_dr.h>
#include <flatland/dr/report.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace flatland::examples {

struct LabelledImages {
  Tensor images;  // (N, 784) in 0 .. 1
  Tensor labels;  // (N)
};

enum class MnistPart { train, test };
// The training images: train-images-idx3-ubyte[.gz], or the first 20,000 of them as train-20000-images-...
// The test images: t10k-images-idx3-ubyte[.gz]. Error: no such file there; says how to get it.
LabelledImages read_mnist(const std::filesystem::path& folder, MnistPart part = MnistPart::train);

// The first n images, the next n, and all of them; reading is a stage of the report.
struct MnistSplit {
  Dataset all, train, unseen;  // "main" and "labels"
};
MnistSplit read_mnist_split(Report& report, const Options& options, std::int64_t n);

// Embeds all of them, shows and reports the quality, and writes the three maps as mnist.png with report.json.
void write_mnist_maps(Report& report, const Options& options, const MnistSplit& mnist,
                      const ParametricDR& routine, const std::string& title);

}  // namespace flatland::examples
