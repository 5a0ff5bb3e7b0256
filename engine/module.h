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

// A module owns parameters and children by name. Names join with dots: "layers.0.weight".
// Modules move but do not copy. A module that adds several children calls initialize(0) at the end of its
// constructor, so that each parameter starts from its own draws.
class Module {
 public:
  virtual ~Module() = default;

  // In order of registration, own first, then children's.
  std::vector<NamedTensor> parameters() const;
  // Values by name; load_state checks that names, shapes and types match (Error lists what does not).
  std::vector<NamedTensor> state() const;
  void load_state(const std::vector<NamedTensor>& state);
  std::int64_t parameter_count() const;

  void zero_grad();
  // The parameters stay the same tensors and get other memory; gradients are forgotten.
  void to(Device device);
  void to(Dtype dtype);
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }
  // Draws all parameters anew from `seed`; parameter i in the order of parameters() uses stream i. The same
  // bits for any number of threads and in float32 the rounded values of float64.
  void initialize(std::uint64_t seed);

 protected:
  Module() = default;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;

  // How a parameter starts: uniform in [-bound, bound], or constant.
  struct Init {
    double bound = 0;
    double constant = 0;
  };
  Tensor add_parameter(std::string name, Shape shape, Init init);
  void add_child(std::string name, std::shared_ptr<Module> child);

 private:
  struct Parameter {
    std::string name;
    Tensor tensor;
    Init init;
  };
  static void draw(Parameter& p, std::uint64_t seed, std::uint64_t stream);
  // f(name, parameter) for all parameters, own first, then the children's.
  template <class F>
  void visit(const std::string& prefix, F&& f);

  std::vector<Parameter> own_;
  std::vector<std::pair<std::string, std::shared_ptr<Module>>> children_;
  bool training_ = true;
};

// y = activation(x W^T + b). Weight (out, in) and bias (out) start uniform in +-1/sqrt(in), as in PyTorch.
class Linear : public Module {
 public:
  struct Options {
    bool bias = true;
    Activation activation = {};
  };
  Linear(std::int64_t in, std::int64_t out) : Linear(in, out, Options{}) {}
  Linear(std::int64_t in, std::int64_t out, Options options);
  Tensor forward(const Tensor& x) const;
  std::int64_t in() const { return in_; }
  std::int64_t out() const { return out_; }

  Tensor weight, bias;

 private:
  std::int64_t in_, out_;
  Activation activation_;
};

// Layers applied one after another.
class Sequential : public Module {
 public:
  // sizes {784, 100, 50, 2}: three linear layers; `hidden` after all but the last, `last` after the last.
  Sequential(const std::vector<std::int64_t>& sizes, Activation hidden, Activation last = {});
  Tensor forward(const Tensor& x) const;
  std::size_t size() const { return layers_.size(); }
  Linear& operator[](std::size_t i) { return *layers_[i]; }

 private:
  std::vector<std::shared_ptr<Linear>> layers_;
};

}  // namespace flatland
