// For the engine itself: what stands behind a Tensor, and the nodes of the tape.
#pragma once

#include <flatland/engine/autograd.h>
#include <flatland/engine/storage.h>

#include <cstdint>
#include <memory>

namespace flatland {

namespace detail {
struct Node;
}

struct TensorImpl {
  Shape shape;
  Dtype dtype = Dtype::float32;
  std::shared_ptr<detail::Storage> storage;
  bool requires_grad = false;          // of a leaf
  Tensor grad;                         // of a leaf
  std::shared_ptr<detail::Node> node;  // of a result with history
};

namespace detail {

// One recorded op. It leads to the nodes of its inputs, and owns the closure that leads the gradient there.
struct Node {
  struct Edge {
    std::shared_ptr<Node> node;        // the input is a result, or
    std::shared_ptr<TensorImpl> leaf;  // a leaf that asks for its gradient; neither: no gradient wanted
  };
  Shape shape;  // of the output
  Dtype dtype = Dtype::float32;
  Device device = Device::cpu;
  std::uint64_t sequence = 0;  // grows with every recorded op, so inputs have smaller numbers
  PoolVector<Edge> inputs;
  BackwardFunction backward;
  bool freed = false;  // backward has been here
  // While backward runs.
  Tensor grad;
  std::uint64_t visit = 0;
  // While it waits for its destruction.
  Node* next = nullptr;

  void free_history();
};

Tensor make_tensor(std::shared_ptr<Storage> storage, const Shape& shape, Dtype dtype);

}  // namespace detail
}  // namespace flatland
