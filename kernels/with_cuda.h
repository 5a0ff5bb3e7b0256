// The one constant that says whether this build has CUDA kernels (private to the fronts).
#pragma once

#include <flatland/kernels/exec.h>

namespace flatland::kernels {

#ifdef FLATLAND_WITH_CUDA
inline constexpr bool with_cuda = true;
#else
inline constexpr bool with_cuda = false;
#endif

}  // namespace flatland::kernels

// Before the statement that runs a kernel on the GPU. Without CUDA it is discarded, and what it calls need
// not exist.
#define FLATLAND_ON_CUDA(exec)                  \
  if constexpr (::flatland::kernels::with_cuda) \
    if ((exec).device() == ::flatland::Device::cuda)
