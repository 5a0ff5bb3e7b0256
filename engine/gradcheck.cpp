#include <flatland/engine/autograd.h>
#include <flatland/engine/ops.h>
#include <flatland/kernels/random.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace flatland {

namespace {

// Fixed weights in [0.5, 1.5) make one number of an output of several values.
double weighted(const Tensor& output) {
  const kernels::RandomStream weight{.seed = 1, .stream = 0};
  double total = 0;
  std::uint64_t i = 0;
  for (const double v : output.to_vector<double>()) total += v * (0.5 + weight.uniform(i++));
  return total;
}

Tensor weights_like(const Tensor& output) {
  const kernels::RandomStream weight{.seed = 1, .stream = 0};
  std::vector<double> values(static_cast<std::size_t>(output.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.5 + weight.uniform(i);
  return Tensor::from(values, output.shape()).to(output.device());
}

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

// Fourth-order central difference at one value of one input.
double numeric_gradient(const Function& f, const std::vector<Tensor>& inputs, double& x,
                        double relative_step) {
  const double centre = x;
  const double h = relative_step * std::max(1.0, std::abs(centre));
  const auto at = [&](double offset) {
    x = centre + offset;
    return weighted(f(inputs));
  };
  const double near = at(h) - at(-h);
  const double far = at(2 * h) - at(-2 * h);
  x = centre;
  return (8 * near - far) / (12 * h);
}

}  // namespace

GradcheckResult gradcheck(const Function& f, std::vector<Tensor> inputs, const GradcheckOptions& options) {
  for (Tensor& input : inputs) {
    if (!input.is_floating()) continue;
    FLATLAND_CHECK(input.dtype() == Dtype::float64 && input.device() == Device::cpu,
                   "gradcheck: an input is ", input, "; floating inputs must be float64 on the cpu");
    input = input.detach().clone().requires_grad(true);
  }
  const Tensor output = f(inputs);
  FLATLAND_CHECK(output.dtype() == Dtype::float64, "gradcheck: the function gave ", output,
                 "; it must give float64");
  if (output.requires_grad()) output.backward(weights_like(output));

  const NoGrad no_grad;
  GradcheckResult result;
  result.ok = true;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (!inputs[k].is_floating()) continue;
    const Tensor grad = inputs[k].grad();
    const auto values = inputs[k].mutable_values<double>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double analytic = grad.defined() ? grad.at(static_cast<std::int64_t>(i)) : 0;
      const double numeric = numeric_gradient(f, inputs, values[i], options.step);
      const double error =
          std::abs(analytic - numeric) / std::max({1.0, std::abs(analytic), std::abs(numeric)});
      if (error <= result.worst) continue;  // false for NaN too, which must not pass
      result.worst = error;
      std::ostringstream text;
      text.precision(15);
      text << "input " << k << " " << inputs[k].shape() << ", value " << i << ": analytic " << analytic
           << ", numeric " << numeric;
      result.message = text.str();
      if (!(error <= options.tolerance)) result.ok = false;
      if (std::isnan(error)) return result;
    }
  }
  return result;
}

}  // namespace flatland
