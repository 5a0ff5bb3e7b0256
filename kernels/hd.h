// FLATLAND_HD: a formula used by the CPU loops, the CUDA kernels and the tests alike. Always inlined, so that
// units compiled for different instruction sets share no copy.
#pragma once

#if defined(__CUDACC__)
#define FLATLAND_HD __host__ __device__ __forceinline__
#else
#define FLATLAND_HD [[gnu::always_inline]] inline
#endif
