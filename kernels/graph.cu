#include <flatland/kernels/exec_cuda.h>
#include <flatland/kernels/graph_cuda.h>
#include <flatland/kernels/cuda.cuh>

#include <vector>

namespace flatland::kernels::cuda {

namespace {

struct GraphDeleter {
  void operator()(cudaGraph_t graph) const { static_cast<void>(cudaGraphDestroy(graph)); }
};
using GraphOwner = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, GraphDeleter>;

// While one lives, exec queues on a stream of its own, so that nothing else gets recorded.
class RecordingStream {
 public:
  explicit RecordingStream(Exec& exec) : context_(exec.cuda()), before_(context_.stream) {
    check(cudaStreamCreateWithFlags(&own_, cudaStreamNonBlocking), "making a stream");
    context_.use(own_);
  }
  ~RecordingStream() {
    try {
      context_.use(before_);
    } catch (const Error&) {  // the next product says so
    }
    static_cast<void>(cudaStreamDestroy(own_));
  }
  RecordingStream(const RecordingStream&) = delete;
  RecordingStream& operator=(const RecordingStream&) = delete;

  // Relaxed: memory may be allocated meanwhile.
  void begin() { check(cudaStreamBeginCapture(own_, cudaStreamCaptureModeRelaxed), "recording"); }
  GraphOwner end() {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(own_, &graph), "recording");
    return GraphOwner(graph);
  }
  void abandon() noexcept {
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(own_, &graph) == cudaSuccess && graph != nullptr) GraphDeleter()(graph);
    static_cast<void>(cudaGetLastError());
  }

 private:
  CudaContext& context_;
  cudaStream_t before_;
  cudaStream_t own_ = nullptr;
};

int kernels_of(cudaGraph_t graph) {
  std::size_t count = 0;
  check(cudaGraphGetNodes(graph, nullptr, &count), "reading a graph");
  std::vector<cudaGraphNode_t> nodes(count);
  check(cudaGraphGetNodes(graph, nodes.data(), &count), "reading a graph");
  int kernels = 0;
  for (cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type{};
    check(cudaGraphNodeGetType(node, &type), "reading a graph");
    kernels += type == cudaGraphNodeTypeKernel;
  }
  return kernels;
}

}  // namespace

RecordedGraph record(Exec& exec, const std::function<void()>& body) {
  wait(exec);
  RecordingStream stream(exec);
  stream.begin();
  try {
    body();
  } catch (...) {
    stream.abandon();
    throw;
  }
  const GraphOwner graph = stream.end();
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph.get(), 0), "preparing a graph");
  const auto destroy = [](void* p) {
    static_cast<void>(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(p)));
  };
  return {std::shared_ptr<void>(executable, destroy), kernels_of(graph.get())};
}

void launch(const Exec& exec, const RecordedGraph& graph) {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph.executable.get()), exec.cuda().stream),
        "replaying a graph");
}

}  // namespace flatland::kernels::cuda
