// Data of a benchmark: MNIST where it is given, else something made up.
#pragma once

#include <flatland/engine/tensor.h>

#include <cstdint>
#include <string>

namespace flatland::bench {

// (n, d) float32 values from 0 on: sparse combinations of 20 hidden factors.
Tensor made_up(std::int64_t n, std::int64_t d, unsigned seed);
// The first n images of an idx3 file (also .gz), in [0, 1]; made up where the path is empty or names fewer.
Tensor images(const std::string& path, std::int64_t n);
// Takes --data=<path> out of the arguments.
std::string take_data_option(int& argc, char** argv);

}  // namespace flatland::bench
