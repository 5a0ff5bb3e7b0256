#include <flatland/kernels/graph.h>
#include <flatland/kernels/graph_cuda.h>
#include <flatland/kernels/with_cuda.h>

namespace flatland::kernels {

struct Graph::Impl {
  cuda::RecordedGraph graph;
};

Graph Graph::record(Exec& exec, const std::function<void()>& body) {
  Graph graph;
  FLATLAND_ON_CUDA(exec) graph.impl_ = std::make_shared<Impl>(Impl{cuda::record(exec, body)});
  FLATLAND_CHECK(graph, "Graph: only device cuda records; the exec is on ", name(exec.device()));
  return graph;
}

void Graph::launch(const Exec& exec) const {
  if (!impl_) return;
  FLATLAND_ON_CUDA(exec) return cuda::launch(exec, impl_->graph);
  flatland::detail::fail("Graph: only device cuda replays; the exec is on ", name(exec.device()));
}

int Graph::kernels() const {
  return impl_ ? impl_->graph.kernels : 0;
}

}  // namespace flatland::kernels
