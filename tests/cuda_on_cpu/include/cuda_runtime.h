// CUDA on the CPU: stands in for the toolkit's header, so that flatland's .cu files compile unchanged as C++
// and run without a GPU. For tests only.
//
// What is simulated
// - Kernels, launched by cudaLaunchKernelEx. Blocks run one after another; the threads of a block are fibers
//   that switch where they wait: block barriers, __syncwarp, shuffles and votes. A thread that has exited
//   counts as arrived. What waits for a thread that never comes is an error that names both, not a hang.
// - Shared memory, declared by FLATLAND_SHARED and FLATLAND_DYNAMIC_SHARED: checked objects, indexed as
//   name[i]; elements are read and written whole. `const T v = name[i]` copies; `auto` does not compile in
//   use. Errors: reading what was never written in this block; reading what another thread wrote, or writing
//   what another thread read or wrote, with no barrier between; an index out of range. Atomics do not disturb
//   each other. As on the GPU, a block barrier orders a block, __syncwarp the lanes of its mask, and shuffles
//   and votes order no memory.
// - Device memory: poisoned with NaN where fresh, between guard zones that are checked after each launch. The
//   host cannot touch it except through the runtime's copies (a fault; FLATLAND_CUDA_PROTECT=0 allows it).
//   Pointers and views among a kernel's arguments must point into device or pinned memory.
// - Streams and events: everything runs at once, in the order of the calls. Captures record launches, copies
// and
//   fills with their arguments by value and replay them at cudaGraphLaunch.
// - cuBLAS: the products that flatland uses, by a plain loop (cublas_v2.h).
// A wrong kernel throws cuda_on_cpu::Error from its launch, at a replay too. A wrong call returns an error
// code as CUDA does. FLATLAND_CUDA_ORDER=reverse or =<seed> runs blocks and threads in another order: a race
// in device memory then shows as another result.
//
// What is not: races and uninitialised reads in device memory (except as NaN), timing, registers, memory
// spaces, alignment (the undefined-behaviour sanitizer sees that), textures, cooperative groups, float
// atomics. One host thread at a time uses the layer.
#pragma once

#ifndef FLATLAND_CUDA_ON_CPU
#define FLATLAND_CUDA_ON_CPU 1
#endif

#define __host__
#define __device__
#define __global__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

#include <cuda_on_cpu/atomics.h>
#include <cuda_on_cpu/intrinsics.h>
#include <cuda_on_cpu/launch.h>
#include <cuda_on_cpu/runtime_api.h>
#include <cuda_on_cpu/shared.h>
#include <cuda_on_cpu/threads.h>
#include <cuda_on_cpu/vector_types.h>
