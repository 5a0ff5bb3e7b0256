// What the runtime's functions share.
#pragma once

#include <cuda_on_cpu/control.h>
#include <cuda_on_cpu/runtime_api.h>

#include <functional>

namespace cuda_on_cpu {

extern Counts totals;

// Remembers an error for cudaGetLastError; returns it.
cudaError_t report(cudaError_t error);

// Runs the work now, or makes it a node of the graph that the stream captures.
cudaError_t submit(cudaStream_t stream, cudaGraphNodeType type, std::function<void()> work);

// Does what was queued (where work is done late).
void finish_work();

// For calls that a capture allows only when relaxed: an error, and the captures under way become invalid.
cudaError_t refuse_in_capture();

}  // namespace cuda_on_cpu
