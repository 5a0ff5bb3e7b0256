// For writers of ops: recording a backward function, and checking it.
#pragma once

#include <flatland/engine/tensor.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace flatland {

// Whether an op on these inputs has to be recorded.
bool needs_record(std::initializer_list<const Tensor*> inputs);
bool needs_record(std::span<const Tensor> inputs);

// What a backward function is given: the gradient of the output, and where the inputs' gradients go.
class BackwardContext {
 public:
  const Tensor& grad() const { return grad_; }             // of the output, its shape and type
  bool wants(std::size_t input) const;                     // does this input need a gradient
  void accumulate(std::size_t input, const Tensor& grad);  // adds; keeps `grad` itself when it is the first

  struct State;
  BackwardContext(const Tensor& grad, State& state) : grad_(grad), state_(state) {}

 private:
  const Tensor& grad_;
  State& state_;
};

// Gives `output` a history: `backward(ctx)` runs once, during backward. The closure holds what it needs but
// never `output` itself (hold output.detach()). Call it only when needs_record(inputs).
//   Tensor y = ...; if (needs_record({&x})) record(y, {x}, [=](BackwardContext& ctx) {
//     ctx.accumulate(0, ctx.grad() * 2.0); });
template <class Backward>
void record(Tensor& output, std::initializer_list<Tensor> inputs, Backward backward);
template <class Backward>
void record(Tensor& output, std::span<const Tensor> inputs, Backward backward);

// Compares the gradients of f with central differences, in float64.
struct GradcheckResult {
  bool ok = false;
  double worst = 0;     // largest |analytic - numeric| / max(1, |analytic|, |numeric|)
  std::string message;  // where the worst one is, with both values
};
struct GradcheckOptions {
  double step = 1e-6;  // relative to max(1, |x|)
  double tolerance = 1e-6;
};
// f maps the inputs (float64 leaves) to a tensor; outputs of several values are weighted with fixed numbers.
GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& f,
                          std::vector<Tensor> inputs, const GradcheckOptions& options = {});

}  // namespace flatland
