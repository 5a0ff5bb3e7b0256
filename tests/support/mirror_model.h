// A model that changes nothing.
#pragma once

#include <flatland/models/model.h>

#include <string>

namespace flatland::test {

// Gives its input back, so that losses can be fed coordinates.
class MirrorModel : public Model {
 public:
  Tensor encode(const Tensor& x) const override { return x; }
  Tensor decode(const Tensor& z) const override { return z * 2.0; }
  std::string name() const override { return "MirrorModel"; }
  std::int64_t in_dim() const override { return -1; }
};

}  // namespace flatland::test
