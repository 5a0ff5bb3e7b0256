// For writers of ops: recording a backward function, and checking it.
#pragma once

#include <flatland/engine/pool.h>
#include <flatland/engine/tensor.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace flatland {

// Whether an op on these inputs has to be recorded.
bool needs_record(std::initializer_list<const Tensor*> inputs);
bool needs_record(std::span<const Tensor> inputs);

// What a backward function is given: the gradient of the output, and where the inputs' gradients go.
class BackwardContext {
 public:
  const Tensor& grad() const { return grad_; }  // of the output, its shape and type
  bool wants(std::size_t input) const;          // does this input need a gradient
  // Adds to the input's gradient (of its shape and type); the first one is kept itself where nothing else
  // shares its memory. Ignored where no gradient is wanted.
  void accumulate(std::size_t input, const Tensor& grad);

  struct State;
  BackwardContext(const Tensor& grad, State& state) : grad_(grad), state_(state) {}

 private:
  const Tensor& grad_;
  State& state_;
};

namespace detail {

// An owned callable in pool memory.
class BackwardFunction {
 public:
  BackwardFunction() = default;
  template <class F>
  requires std::is_invocable_v<F&, BackwardContext&>
  explicit BackwardFunction(F f)
      : bytes_(sizeof(F)),
        call_([](void* object, BackwardContext& ctx) { (*static_cast<F*>(object))(ctx); }),
        destroy_([](void* object) { std::destroy_at(static_cast<F*>(object)); }) {
    static_assert(alignof(F) <= 64);
    object_ = pool_allocate(Device::cpu, bytes_);
    std::construct_at(static_cast<F*>(object_), std::move(f));
  }
  BackwardFunction(BackwardFunction&& other) noexcept { swap(other); }
  BackwardFunction& operator=(BackwardFunction&& other) noexcept {
    swap(other);
    return *this;
  }
  ~BackwardFunction() {
    if (!object_) return;
    destroy_(object_);
    pool_free(Device::cpu, object_, bytes_);
  }
  void operator()(BackwardContext& ctx) const { call_(object_, ctx); }

 private:
  void swap(BackwardFunction& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(bytes_, other.bytes_);
    std::swap(call_, other.call_);
    std::swap(destroy_, other.destroy_);
  }
  void* object_ = nullptr;
  std::size_t bytes_ = 0;
  void (*call_)(void*, BackwardContext&) = nullptr;
  void (*destroy_)(void*) = nullptr;
};

void record_function(Tensor& output, std::span<const Tensor> inputs, BackwardFunction backward);

}  // namespace detail

// Gives `output`, a new tensor, a history: `backward(ctx)` runs once, during backward, with nothing recorded.
// The closure holds what it needs but never `output` itself (hold output.detach()). Does nothing unless
// needs_record(inputs); ask that first where a closure is dear.
//   Tensor y = ...; if (needs_record({&x})) record(y, {x}, [=](BackwardContext& ctx) {
//     ctx.accumulate(0, ctx.grad() * 2.0); });
template <class Backward>
void record(Tensor& output, std::span<const Tensor> inputs, Backward backward) {
  if (needs_record(inputs)) {
    detail::record_function(output, inputs, detail::BackwardFunction(std::move(backward)));
  }
}
template <class Backward>
void record(Tensor& output, std::initializer_list<Tensor> inputs, Backward backward) {
  record(output, std::span<const Tensor>(inputs.begin(), inputs.size()), std::move(backward));
}

// Compares the gradients of f with central differences of fourth order, in float64.
struct GradcheckResult {
  bool ok = false;
  double worst = 0;     // largest |analytic - numeric| / max(1, |analytic|, |numeric|)
  std::string message;  // where the worst one is, with both values
};
struct GradcheckOptions {
  double step = 1e-4;  // relative to max(1, |x|)
  double tolerance = 1e-6;
};
// f maps the inputs (float64 leaves) to a tensor; outputs of several values are weighted with fixed numbers.
GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& f,
                          std::vector<Tensor> inputs, const GradcheckOptions& options = {});

}  // namespace flatland
