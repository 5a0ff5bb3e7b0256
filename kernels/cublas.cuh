// cuBLAS, for the files that call it (private): the others need not read its header.
#pragma once

#include <cublas_v2.h>
#include <flatland/kernels/cuda.cuh>

#include <string_view>

namespace flatland::kernels::cuda {

// Error with `what` and the library's own words.
void check(cublasStatus_t status, std::string_view what);

}  // namespace flatland::kernels::cuda
