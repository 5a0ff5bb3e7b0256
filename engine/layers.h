// More layers: what a Sequential may hold beside Linear, and lookup tables.
#pragma once

#include <flatland/engine/module.h>

#include <cstdint>

namespace flatland {

// An activation on its own, where it does not follow a Linear, which has one itself.
class ActivationLayer : public Layer {
 public:
  explicit ActivationLayer(Activation activation) : activation_(activation) {}
  Tensor forward(const Tensor& x) const override;

 private:
  Activation activation_;
};

// Leaves values out with probability p while training, and multiplies the others by 1 / (1 - p); elsewhere it
// gives back its input. The draws depend on the module's seed, on the layer's place in it and on how many
// were made before, on no device and no number of threads.
class Dropout : public Layer {
 public:
  explicit Dropout(double p = 0.5);
  Tensor forward(const Tensor& x) const override;

 private:
  double p_;
  Tensor state_;
};

// Rows of a trained table by number: int64 (B) -> (B, dim). Rows start normal with mean 0 and deviation 1.
// Numbers out of range: Error, but zeros on CUDA, see gather_rows.
class Embedding : public Layer {
 public:
  struct Options {
    std::int64_t padding_idx = -1;  // this row starts as 0 and gets no gradient; -1: none
    double max_norm = 0;  // longer rows are shortened to it, in place, before they are used; 0: none
  };
  Embedding(std::int64_t rows, std::int64_t dim) : Embedding(rows, dim, Options{}) {}
  Embedding(std::int64_t rows, std::int64_t dim, Options options);
  // With these values, which initialize keeps, and frozen unless `freeze` is false.
  static Embedding from(const Tensor& values, Options options, bool freeze = true);
  static Embedding from(const Tensor& values, bool freeze = true) { return from(values, Options{}, freeze); }
  Tensor forward(const Tensor& index) const override;

  Tensor weight;  // (rows, dim)

 private:
  Options options_;
};

}  // namespace flatland
