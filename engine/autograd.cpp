#include <flatland/engine/op_inputs.h>
#include <flatland/engine/ops.h>

#include <algorithm>
#include <array>
#include <atomic>

namespace flatland {

namespace detail {

namespace {

bool shares_memory(const Tensor& t) {
  return t.impl().use_count() > 1 || t.impl()->storage.use_count() > 1;
}

// sum += grad, in place where nobody else sees `sum`.
void add_to(Tensor& sum, const Tensor& grad) {
  if (shares_memory(sum)) {
    sum = sum + grad;
    return;
  }
  dispatch_float("backward", sum.dtype(), [&]<class T>(std::type_identity<T>) {
    const auto n = static_cast<std::size_t>(sum.numel());
    kernels::axpby<T>(current_exec(sum.device()), T(1), {grad.data<T>(), n}, T(1),
                      {sum.mutable_data<T>(), n});
  });
}

void accumulate_into_leaf(TensorImpl& leaf, const Tensor& grad) {
  if (leaf.grad.defined()) {
    add_to(leaf.grad, grad);
  } else {
    leaf.grad = shares_memory(grad) ? grad.clone() : grad;
  }
}

void check_gradient(const Tensor& grad, const Shape& shape, Dtype dtype) {
  FLATLAND_CHECK(grad.defined() && grad.shape() == shape && grad.dtype() == dtype,
                 "backward: got a gradient ", grad, " for a tensor ", shape, " of ", name(dtype),
                 "; shape and type must be the tensor's");
}

// All nodes that lead to `root`, latest first. Error when one was freed, before anything is changed.
PoolVector<std::shared_ptr<Node>> history(const std::shared_ptr<Node>& root) {
  static std::atomic<std::uint64_t> visits{0};
  const std::uint64_t visit = ++visits;
  PoolVector<std::shared_ptr<Node>> nodes;
  const auto visit_node = [&](const std::shared_ptr<Node>& node) {
    FLATLAND_CHECK(!node->freed,
                   "backward: a part of this tensor's history was freed by an earlier backward; "
                   "compute the tensor again, or add the losses and call backward once");
    node->visit = visit;
    nodes.push_back(node);
  };
  visit_node(root);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = *nodes[i];
    for (const Node::Edge& input : node.inputs) {
      if (input.node && input.node->visit != visit) visit_node(input.node);
    }
  }
  std::sort(nodes.begin(), nodes.end(),
            [](const auto& a, const auto& b) { return a->sequence > b->sequence; });
  return nodes;
}

}  // namespace

const Tensor& unit_gradient(Dtype dtype, Device device) {
  thread_local std::array<Tensor, 4> kept;  // float32 and float64 on each device
  Tensor& one =
      kept[2 * static_cast<std::size_t>(device) + static_cast<std::size_t>(dtype == Dtype::float64)];
  if (!one.defined()) {
    one = Tensor::ones({}, dtype, device);
    one.impl()->storage->keep_ones();
  }
  return one;
}

}  // namespace detail

struct BackwardContext::State {
  detail::Node& node;
};

bool BackwardContext::wants(std::size_t input) const {
  const auto& edges = state_.node.inputs;
  FLATLAND_CHECK(input < edges.size(), "backward: input ", input, " of an op with ", edges.size(), " inputs");
  return edges[input].node || edges[input].leaf;
}

void BackwardContext::accumulate(std::size_t input, const Tensor& grad) {
  if (!wants(input)) return;
  const detail::Node::Edge& edge = state_.node.inputs[input];
  if (edge.leaf) {
    detail::check_gradient(grad, edge.leaf->shape, edge.leaf->dtype);
    detail::accumulate_into_leaf(*edge.leaf, grad);
    return;
  }
  detail::check_gradient(grad, edge.node->shape, edge.node->dtype);
  if (edge.node->grad.defined()) {
    detail::add_to(edge.node->grad, grad);
  } else {
    edge.node->grad = grad;
  }
}

namespace {

void run_backward(const std::shared_ptr<detail::Node>& root, const Tensor& upstream) {
  auto nodes = detail::history(root);
  struct ClearGradients {
    decltype(nodes)& all;
    ~ClearGradients() {
      for (auto& node : all) {
        if (node) node->grad = {};
      }
    }
  } clear{nodes};
  root->grad = upstream;
  for (auto& node : nodes) {
    if (node->grad.defined()) {
      const Tensor grad = std::move(node->grad);
      BackwardContext::State state{*node};
      BackwardContext context(grad, state);
      node->backward(context);
    }
    node->free_history();
    node.reset();
  }
}

}  // namespace

void Tensor::backward() const {
  FLATLAND_CHECK(defined(), "backward: the tensor is undefined");
  FLATLAND_CHECK(numel() == 1, "backward: a tensor ", shape(),
                 " is not a single value; reduce it with sum or mean, or give the gradient of the output");
  backward(detail::view_as(detail::unit_gradient(dtype(), device()), shape()));
}

void Tensor::backward(const Tensor& upstream) const {
  FLATLAND_CHECK(defined() && upstream.defined(), "backward: the tensor or its gradient is undefined");
  FLATLAND_CHECK(requires_grad(),
                 "backward: this tensor has no history; no input asks for a gradient (requires_grad(true)), "
                 "or it was computed under NoGrad");
  detail::check_gradient(upstream, shape(), dtype());
  const NoGrad no_grad;
  if (impl_->node) {
    run_backward(impl_->node, upstream);
  } else {
    detail::accumulate_into_leaf(*impl_, upstream);
  }
}

}  // namespace flatland
