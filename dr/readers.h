// Data files: NumPy arrays.
#pragma once

#include <flatland/engine/tensor.h>

#include <filesystem>

namespace flatland {

// An array saved by numpy.save (format 1, 2 or 3, C order, either byte order), gzipped or not.
// float32, float64, int32 and int64 stay as they are; bool and 8- and 16-bit integers become int32, uint32
// becomes int64.
// Errors name the file and say what is wrong: another type, Fortran order, more than four dimensions, fewer
// bytes than the shape asks for (checked before anything is allocated) or more.
Tensor read_npy(const std::filesystem::path& path);

// What numpy.load reads. Error: unwritable; a tensor that is undefined or not on the CPU.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);

}  // namespace flatland
