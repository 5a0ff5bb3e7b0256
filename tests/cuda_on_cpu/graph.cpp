// Streams, events, captures and graphs.
#include "runtime.h"

#include <chrono>
#include <memory>
#include <set>
#include <vector>

using namespace cuda_on_cpu;

struct CUgraphNode_st {
  cudaGraphNodeType type;
  std::function<void()> work;
};
struct CUgraph_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;
};
struct CUgraphExec_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;
};
struct CUstream_st {
  std::unique_ptr<CUgraph_st> capture;  // under way
  bool invalid = false;
};
struct CUevent_st {
  bool timing = true, recorded = false;
  const CUgraph_st* in_capture = nullptr;
  std::chrono::steady_clock::time_point when{};
};

namespace {

// Handles that are alive.
template <class T>
struct Handles {
  std::set<T*> alive;
  T* make() { return *alive.insert(new T).first; }
  bool has(T* handle) const { return alive.count(handle) != 0; }
  bool destroy(T* handle) {
    if (alive.erase(handle) == 0) return false;
    delete handle;
    return true;
  }
  Handles() = default;
  Handles(const Handles&) = delete;
};
Handles<CUstream_st>& streams() {
  static Handles<CUstream_st> handles;
  return handles;
}
Handles<CUevent_st>& events() {
  static Handles<CUevent_st> handles;
  return handles;
}
Handles<CUgraph_st>& graphs() {
  static Handles<CUgraph_st> handles;
  return handles;
}
Handles<CUgraphExec_st>& graph_execs() {
  static Handles<CUgraphExec_st> handles;
  return handles;
}

cudaError_t valid(bool condition) {
  return report(condition ? cudaSuccess : cudaErrorInvalidResourceHandle);
}
bool is_stream(cudaStream_t stream) {
  return stream == nullptr || streams().has(stream);
}

// For calls that wait for a stream, which a capture does not allow.
cudaError_t wait_for(bool is_valid) {
  if (!is_valid) return valid(false);
  ++totals.synchronizations;
  return refuse_in_capture();
}

}  // namespace

namespace cuda_on_cpu {

cudaError_t refuse_in_capture() {
  bool capturing = false;
  for (CUstream_st* stream : streams().alive)
    if (stream->capture) capturing = stream->invalid = true;
  return report(capturing ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

cudaError_t submit(cudaStream_t stream, cudaGraphNodeType type, std::function<void()> work) {
  if (!is_stream(stream)) return valid(false);
  if (stream == nullptr && refuse_in_capture() != cudaSuccess) return report(cudaErrorStreamCaptureImplicit);
  if (stream != nullptr && stream->capture) {
    if (stream->invalid) return report(cudaErrorStreamCaptureInvalidated);
    stream->capture->nodes.push_back(std::make_shared<CUgraphNode_st>(CUgraphNode_st{type, std::move(work)}));
    return cudaSuccess;
  }
  work();
  return cudaSuccess;
}

}  // namespace cuda_on_cpu

// --- streams and events
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = streams().make();
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return valid(streams().destroy(stream));
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return wait_for(is_stream(stream));
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return is_stream(stream) ? refuse_in_capture() : valid(false);
}
cudaError_t cudaDeviceSynchronize() {
  return wait_for(true);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = events().make();
  (*event)->timing = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return valid(events().destroy(event));
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (!events().has(event) || !is_stream(stream)) return valid(false);
  event->in_capture = stream != nullptr ? stream->capture.get() : nullptr;
  event->recorded = true;
  event->when = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (!events().has(event) || !is_stream(stream)) return valid(false);
  // Everything runs in the order of the calls; a capture cannot reach over to another stream here.
  const CUgraph_st* capture = stream != nullptr ? stream->capture.get() : nullptr;
  return report(event->in_capture == capture ? cudaSuccess : cudaErrorStreamCaptureUnsupported);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return wait_for(events().has(event));
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return valid(events().has(event));
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  for (cudaEvent_t event : {start, end})
    if (!events().has(event) || !event->recorded || !event->timing) return valid(false);
  *milliseconds = std::chrono::duration<float, std::milli>(end->when - start->when).count();
  return cudaSuccess;
}

// --- captures and graphs
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr) return report(cudaErrorStreamCaptureUnsupported);
  if (!is_stream(stream)) return valid(false);
  if (stream->capture) return report(cudaErrorInvalidValue);
  stream->capture = std::make_unique<CUgraph_st>();
  stream->invalid = false;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (stream == nullptr || !is_stream(stream)) return valid(false);
  if (!stream->capture) return report(cudaErrorInvalidValue);
  const std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
  if (stream->invalid) return report(cudaErrorStreamCaptureInvalidated);
  *graph = graphs().make();
  **graph = *captured;
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  if (!is_stream(stream)) return valid(false);
  const bool capturing = stream != nullptr && stream->capture;
  *status = !capturing        ? cudaStreamCaptureStatusNone
            : stream->invalid ? cudaStreamCaptureStatusInvalidated
                              : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (!graphs().has(graph)) return valid(false);
  *exec = graph_execs().make();
  (*exec)->nodes = graph->nodes;
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return valid(graph_execs().has(exec) && is_stream(stream));
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (!graph_execs().has(exec) || !is_stream(stream)) return valid(false);
  if (stream != nullptr && stream->capture) return report(cudaErrorNotSupported);
  ++totals.graph_launches;
  for (const auto& node : exec->nodes) node->work();
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  if (!graphs().has(graph)) return valid(false);
  const std::size_t all = graph->nodes.size();
  if (nodes != nullptr)
    for (std::size_t i = 0; i < *count; ++i) nodes[i] = i < all ? graph->nodes[i].get() : nullptr;
  if (nodes == nullptr || *count > all) *count = all;
  return cudaSuccess;
}
cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  *type = node->type;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return valid(graphs().destroy(graph));
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return valid(graph_execs().destroy(exec));
}
