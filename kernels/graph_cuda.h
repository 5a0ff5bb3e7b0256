#pragma once

#include <flatland/kernels/exec.h>

#include <functional>
#include <memory>

namespace flatland::kernels::cuda {

// A cudaGraphExec_t behind a pointer without a type, and the number of its kernels.
struct RecordedGraph {
  std::shared_ptr<void> executable;
  int kernels = 0;
};
RecordedGraph record(Exec& exec, const std::function<void()>& body);
void launch(const Exec& exec, const RecordedGraph& graph);

}  // namespace flatland::kernels::cuda
