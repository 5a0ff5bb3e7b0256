// Layers: named parameters that train together.
#pragma once

#include <flatland/engine/ops.h>
#include <flatland/kernels/random.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace flatland {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// A module owns parameters, random states and children by name. Names join with dots: "layers.0.weight".
// Modules move but do not copy. A module that adds several children calls initialize(0) at the end of its
// constructor, so that each parameter starts from its own draws. A child that stands twice counts once.
class Module {
 public:
  virtual ~Module() = default;

  // In order of registration, own first, then children's.
  std::vector<NamedTensor> parameters() const;
  // Values of the parameters, then of the random states, by name; load_state checks that names, shapes and
  // types match (Error lists what does not).
  std::vector<NamedTensor> state() const;
  void load_state(const std::vector<NamedTensor>& state);
  std::int64_t parameter_count() const;

  void zero_grad();
  // Whether the parameters take gradients. Frozen ones, requires_grad(false), are left as they are by
  // backward and by optimizers that hold them.
  void requires_grad(bool on);
  // The parameters stay the same tensors and get other memory; gradients are forgotten.
  void to(Device device);
  void to(Dtype dtype);
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }
  // Draws all parameters anew from `seed`, but for kept ones; parameter i in the order of parameters() uses
  // stream i. The same bits for any number of threads and in float32 the rounded values of float64. Random
  // states begin anew.
  void initialize(std::uint64_t seed);
  // Whether initialize leaves the values as they are, which else are drawn: for layers with given ones.
  void keep(bool on = true);

 protected:
  Module() = default;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;

  // How a parameter starts: uniform in [-bound, bound], or normal with a deviation, or constant.
  struct Init {
    double bound = 0;
    double constant = 0;
    double deviation = 0;
    std::int64_t zero_row = -1;  // this row is 0
  };
  Tensor add_parameter(std::string name, Shape shape, Init init);
  // What a layer that draws random numbers knows of them: the int64 words of a kernels::DropoutState, each
  // state of a module with a stream of its own. It moves with the parameters and is part of state(), so that
  // training goes on with the same draws.
  Tensor add_random_state(std::string name);
  void add_child(std::string name, std::shared_ptr<Module> child);

 private:
  struct Parameter {
    std::string name;
    Tensor tensor;
    Init init;
    bool kept = false;
  };
  static void draw(Parameter& p, std::uint64_t seed, std::uint64_t stream);
  // This module and all below it, each once, with what their names begin with; a parent before its children.
  using Named = std::pair<std::string, Module*>;
  void list(const std::string& prefix, std::vector<Named>& all);
  // f(name, parameter) for all parameters, own first, then the children's; g(name, state) for random states.
  template <class F>
  void visit(F&& f);
  template <class G>
  void visit_random_states(G&& g);
  std::vector<NamedTensor> state_tensors() const;

  std::vector<Parameter> own_;
  std::vector<NamedTensor> random_states_;
  std::vector<std::pair<std::string, std::shared_ptr<Module>>> children_;
  bool training_ = true;
};

// A module that makes one tensor of another.
class Layer : public Module {
 public:
  virtual Tensor forward(const Tensor& x) const = 0;
};

// y = activation(x W^T + b). Weight (out, in) and bias (out) start uniform in +-1/sqrt(in), as in PyTorch.
class Linear : public Layer {
 public:
  struct Options {
    bool bias = true;
    Activation activation = {};
  };
  Linear(std::int64_t in, std::int64_t out) : Linear(in, out, Options{}) {}
  Linear(std::int64_t in, std::int64_t out, Options options);
  Tensor forward(const Tensor& x) const override;
  std::int64_t in() const { return in_; }
  std::int64_t out() const { return out_; }

  Tensor weight, bias;

 private:
  std::int64_t in_, out_;
  Activation activation_;
};

// Layers applied one after another: children "0", "1", ...
class Sequential : public Layer {
 public:
  // sizes {784, 100, 50, 2}: three linear layers; `hidden` after all but the last, `last` after the last.
  Sequential(const std::vector<std::int64_t>& sizes, Activation hidden, Activation last = {});
  // Any layers, see layers.h. Those that are as they were made get draws of their own; what was given, drawn
  // from another seed or trained stays.
  explicit Sequential(std::vector<std::shared_ptr<Layer>> layers);
  Tensor forward(const Tensor& x) const override;
  std::size_t size() const { return layers_.size(); }
  // Layer i, which is a Linear; Error where it is another one.
  Linear& operator[](std::size_t i);

 private:
  void add(std::shared_ptr<Layer> layer);

  std::vector<std::shared_ptr<Layer>> layers_;
};

}  // namespace flatland
