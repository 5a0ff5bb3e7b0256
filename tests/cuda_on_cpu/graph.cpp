// Streams, events, captures and graphs.
#include "runtime.h"

#include <chrono>
#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
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
  bool blocking = true;                 // towards the legacy stream
  std::unique_ptr<CUgraph_st> capture;  // under way
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool invalid = false;
};
struct CUevent_st {
  bool timing = true, recorded = false;
  const CUgraph_st* in_capture = nullptr;
  std::chrono::steady_clock::time_point when{};
};

namespace {

// Handles that are alive. The sets are never destroyed: other static objects may still give handles back.
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
};
template <class T>
Handles<T>& handles() {
  static auto& all = *new Handles<T>;
  return all;
}

cudaError_t valid(bool condition) {
  return report(condition ? cudaSuccess : cudaErrorInvalidResourceHandle);
}
bool is_stream(cudaStream_t stream) {
  return stream == nullptr || handles<CUstream_st>().has(stream);
}

// Makes captures invalid that do not allow what is being called; was there one?
template <class Condition>
bool invalidate(Condition condition) {
  bool found = false;
  for (CUstream_st* stream : handles<CUstream_st>().alive)
    if (stream->capture && condition(*stream)) found = stream->invalid = true;
  return found;
}

// For calls that wait: the work under way gets done. `forbids` says of a relaxed capture that it forbids
// that.
template <class Condition>
cudaError_t wait_for(Condition forbids) {
  ++totals.synchronizations;
  const bool refused = invalidate(
      [&](CUstream_st& stream) { return stream.mode != cudaStreamCaptureModeRelaxed || forbids(stream); });
  if (refused) return report(cudaErrorStreamCaptureUnsupported);
  finish_work();
  return cudaSuccess;
}
cudaError_t wait_for_stream(cudaStream_t stream) {
  if (!is_stream(stream)) return valid(false);
  return wait_for([&](CUstream_st& capturing) { return &capturing == stream; });
}
cudaError_t wait_for_event(cudaEvent_t event) {
  if (!handles<CUevent_st>().has(event)) return valid(false);
  return wait_for([&](CUstream_st& capturing) { return capturing.capture.get() == event->in_capture; });
}

bool late_of_environment() {
  const char* text = std::getenv("FLATLAND_CUDA_LATE");
  return text != nullptr && std::string_view(text) == "1";
}
std::optional<bool> late;
// What was queued and not yet done, where work is done late.
std::deque<std::function<void()>>& queue() {
  static auto& all = *new std::deque<std::function<void()>>;
  return all;
}

void do_or_queue(std::function<void()> work) {
  if (!late) late = late_of_environment();
  if (*late) return queue().push_back(std::move(work));
  work();
}

}  // namespace

namespace cuda_on_cpu {

void set_late(bool on) {
  finish_work();
  late = on;
}

void finish_work() {
  while (!queue().empty()) {
    const std::function<void()> work = std::move(queue().front());
    queue().pop_front();
    work();
  }
}

cudaError_t refuse_in_capture() {
  const bool refused =
      invalidate([](CUstream_st& stream) { return stream.mode != cudaStreamCaptureModeRelaxed; });
  return report(refused ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

cudaError_t submit(cudaStream_t stream, cudaGraphNodeType type, std::function<void()> work) {
  if (!is_stream(stream)) return valid(false);
  if (stream == nullptr && invalidate([](CUstream_st& other) { return other.blocking; }))
    return report(cudaErrorStreamCaptureImplicit);
  if (stream != nullptr && stream->capture) {
    if (stream->invalid) return report(cudaErrorStreamCaptureInvalidated);
    stream->capture->nodes.push_back(std::make_shared<CUgraphNode_st>(CUgraphNode_st{type, std::move(work)}));
  } else {
    do_or_queue(std::move(work));
  }
  return cudaSuccess;
}

}  // namespace cuda_on_cpu

// --- streams and events
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  *stream = handles<CUstream_st>().make();
  (*stream)->blocking = flags != cudaStreamNonBlocking;
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return valid(handles<CUstream_st>().destroy(stream));
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return wait_for_stream(stream);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return wait_for_stream(stream);
}
cudaError_t cudaDeviceSynchronize() {
  return wait_for([](CUstream_st&) { return true; });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = handles<CUevent_st>().make();
  (*event)->timing = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  finish_work();
  return valid(handles<CUevent_st>().destroy(event));
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (!handles<CUevent_st>().has(event) || !is_stream(stream)) return valid(false);
  event->in_capture = stream != nullptr ? stream->capture.get() : nullptr;
  event->recorded = false;
  do_or_queue([event] {
    event->recorded = true;
    event->when = std::chrono::steady_clock::now();
  });
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (!handles<CUevent_st>().has(event) || !is_stream(stream)) return valid(false);
  // Everything runs in the order of the calls; a capture cannot reach over to another stream here.
  const CUgraph_st* capture = stream != nullptr ? stream->capture.get() : nullptr;
  return report(event->in_capture == capture ? cudaSuccess : cudaErrorStreamCaptureUnsupported);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return wait_for_event(event);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return wait_for_event(event);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  for (cudaEvent_t event : {start, end})
    if (!handles<CUevent_st>().has(event) || !event->recorded || !event->timing) return valid(false);
  *milliseconds = std::chrono::duration<float, std::milli>(end->when - start->when).count();
  return cudaSuccess;
}

// --- captures and graphs
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr) return report(cudaErrorStreamCaptureUnsupported);
  if (!is_stream(stream)) return valid(false);
  if (stream->capture) return report(cudaErrorInvalidValue);
  stream->capture = std::make_unique<CUgraph_st>();
  stream->mode = mode;
  stream->invalid = false;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (stream == nullptr || !is_stream(stream)) return valid(false);
  if (!stream->capture) return report(cudaErrorInvalidValue);
  const std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
  if (stream->invalid) return report(cudaErrorStreamCaptureInvalidated);
  *graph = handles<CUgraph_st>().make();
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
  if (!handles<CUgraph_st>().has(graph)) return valid(false);
  *exec = handles<CUgraphExec_st>().make();
  (*exec)->nodes = graph->nodes;
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return valid(handles<CUgraphExec_st>().has(exec) && is_stream(stream));
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (!handles<CUgraphExec_st>().has(exec) || !is_stream(stream)) return valid(false);
  if (stream != nullptr && stream->capture) return report(cudaErrorNotSupported);
  ++totals.graph_launches;
  for (const auto& node : exec->nodes) do_or_queue([node] { node->work(); });
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  if (!handles<CUgraph_st>().has(graph)) return valid(false);
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
  return valid(handles<CUgraph_st>().destroy(graph));
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return valid(handles<CUgraphExec_st>().destroy(exec));
}
