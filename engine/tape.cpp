#include <flatland/engine/tape.h>

#include <algorithm>
#include <atomic>

namespace flatland {

namespace {

thread_local bool t_grad_enabled = true;

bool wants_grad(const Tensor& t) {
  return t.defined() && t.requires_grad();
}

}  // namespace

NoGrad::NoGrad() : previous_(t_grad_enabled) {
  t_grad_enabled = false;
}
NoGrad::~NoGrad() {
  t_grad_enabled = previous_;
}
bool grad_enabled() {
  return t_grad_enabled;
}

bool needs_record(std::initializer_list<const Tensor*> inputs) {
  return t_grad_enabled && std::any_of(inputs.begin(), inputs.end(), [](auto* t) { return wants_grad(*t); });
}
bool needs_record(std::span<const Tensor> inputs) {
  return t_grad_enabled && std::any_of(inputs.begin(), inputs.end(), wants_grad);
}

namespace detail {

namespace {

// Destroys nodes one after another, however long the chain they hang on: a node that dies while another one
// is being destroyed only queues up.
struct NodeDeleter {
  static inline thread_local Node* waiting = nullptr;
  static inline thread_local bool running = false;

  void operator()(Node* node) const {
    node->next = waiting;
    waiting = node;
    if (running) return;
    running = true;
    while (Node* first = waiting) {
      waiting = first->next;
      std::destroy_at(first);
      pool_free(Device::cpu, first, sizeof(Node));
    }
    running = false;
  }
};

std::shared_ptr<Node> make_node() {
  Node* node = std::construct_at(static_cast<Node*>(pool_allocate(Device::cpu, sizeof(Node))));
  return std::shared_ptr<Node>(node, NodeDeleter{}, PoolAllocator<Node>{});
}

}  // namespace

void Node::free_history() {
  freed = true;
  grad = {};
  backward = {};
  inputs.clear();
}

void record_function(Tensor& output, std::span<const Tensor> inputs, BackwardFunction backward) {
  static std::atomic<std::uint64_t> sequence{0};
  FLATLAND_CHECK(output.defined() && !output.impl()->node && !output.impl()->requires_grad,
                 "record: the output must be a new tensor without history");
  std::shared_ptr<Node> node = make_node();
  node->shape = output.shape();
  node->dtype = output.dtype();
  node->device = output.device();
  node->sequence = ++sequence;
  node->inputs.reserve(inputs.size());
  for (const Tensor& input : inputs) {
    Node::Edge edge;
    if (wants_grad(input)) {
      if (input.impl()->node) {
        edge.node = input.impl()->node;
      } else {
        edge.leaf = input.impl();
      }
    }
    node->inputs.push_back(std::move(edge));
  }
  node->backward = std::move(backward);
  output.impl()->node = std::move(node);
}

}  // namespace detail

}  // namespace flatland
